"""A key that a process has found lately is not looked up again, and whatever changes about it counts all the same."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from appointments.models import Booking
from oauth import keys
from oauth.models import Agency, ApiKey, Location
from oauth.scopes import BOOKINGS_READ, BOOKINGS_WRITE
from tests.fixtures import Persona, booking_body

Request = Callable[[Persona, str], Any]


@pytest.fixture
def path(acme: Persona) -> str:
    """Of a booking; the key is remembered for having made it."""
    location: str = acme.book().headers["Location"]
    return location


@pytest.fixture(params=["create", "create with a phone", "read"])
def request_(request: pytest.FixtureRequest) -> Request:
    def send(persona: Persona, path: str) -> Any:
        match request.param:
            case "create":
                return persona.book()
            case "create with a phone":
                contact = {"name": "Asha Rao", "phone": "+918123133382"}
                return persona.book(booking_body(contactId=None, contact=contact))
        return persona.api.get(path)

    return send


def refused(answer: Any, status: int, code: str) -> bool:
    return (answer.status_code, answer.json()["code"]) == (status, code) and Booking.objects.count() == 1


def test_it_refuses_a_key_from_its_revocation_on(acme: Persona, path: str, request_: Request) -> None:
    keys.revoke(acme.key)

    assert refused(request_(acme, path), 401, "unauthorized")


def test_it_refuses_a_key_that_expires_earlier_than_it_did(
    acme: Persona, path: str, request_: Request
) -> None:
    ApiKey.objects.filter(pk=acme.key.pk).update(expires_at=Now() - timedelta(seconds=1))

    assert refused(request_(acme, path), 401, "unauthorized")


def test_it_refuses_a_key_that_was_deleted(acme: Persona, path: str, request_: Request) -> None:
    acme.key.delete()

    assert refused(request_(acme, path), 401, "unauthorized")


def test_it_refuses_what_the_scope_was_taken_away_for(acme: Persona, path: str, request_: Request) -> None:
    ApiKey.objects.filter(pk=acme.key.pk).update(scopes=["webhooks:manage"])

    assert refused(request_(acme, path), 403, "insufficient_scope")


def test_it_goes_on_where_other_scopes_have_changed(acme: Persona, path: str, request_: Request) -> None:
    ApiKey.objects.filter(pk=acme.key.pk).update(scopes=[BOOKINGS_WRITE, BOOKINGS_READ])

    assert request_(acme, path).status_code in {200, 202}


def test_it_goes_on_where_an_agency_took_the_place_of_a_location(
    acme: Persona, path: str, request_: Request
) -> None:
    agency = Agency.objects.create(pk="agency")
    Location.objects.filter(pk=acme.location.pk).update(agency=agency)
    ApiKey.objects.filter(pk=acme.key.pk).update(agency=agency)
    acme.key.locations.clear()

    assert request_(acme, path).status_code in {200, 202}


def test_it_refuses_a_location_that_the_key_no_longer_covers(acme: Persona, path: str) -> None:
    acme.key.locations.clear()

    assert refused(acme.book(), 403, "location_not_allowed")
    assert acme.api.get(path).status_code == 404


def test_it_covers_a_location_from_when_it_is_added(acme: Persona, globex: Persona, path: str) -> None:
    acme.key.locations.add(Location.objects.get(pk=globex.location.pk))

    assert acme.book(booking_body(locationId=globex.location.pk)).status_code == 202


def test_it_takes_no_wrong_secret_for_a_remembered_key(acme: Persona, path: str, request_: Request) -> None:
    other = acme.text[:-4] + ("aaaa" if not acme.text.endswith("aaaa") else "bbbb")
    thief = Persona(acme.tenant, acme.location, acme.key, other)

    assert refused(request_(thief, path), 401, "unauthorized")
