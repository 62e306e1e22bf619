"""A tenant can read whether bookings can be made in its locations, and what is to be done where they cannot."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from ghl.types import parse_token_grant
from oauth import installs, keys
from oauth.models import Agency, Location
from oauth.scopes import NEEDED
from sandbox import World
from sandbox.seed import COMPANY
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona, work_once

RECONNECT = "http://testserver/oauth/install"


def shown(persona: Persona, location_id: str = ACME_LOCATION) -> Any:
    answer = persona.api.get(f"/api/v1/locations/{location_id}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_it_shows_a_location_that_is_all_right(acme: Persona) -> None:
    Location.objects.filter(pk=ACME_LOCATION).update(name="Chai & Co.", timezone="Asia/Kolkata")

    assert shown(acme) == {
        "id": ACME_LOCATION,
        "name": "Chai & Co.",
        "agencyId": COMPANY,
        "timezone": "Asia/Kolkata",
        "status": "active",
        "scopesMissing": [],
        "waitingUntil": None,
        "waitingFor": None,
        "reconnectUrl": None,
    }


def test_it_shows_how_to_reconnect(acme: Persona) -> None:
    acme.location.brake(Location.Waiting.NEEDS_RECONNECT, None, Location.Status.NEEDS_RECONNECT)

    found = shown(acme)

    assert (found["status"], found["waitingFor"]) == ("needs_reconnect", "needs_reconnect")
    assert (found["waitingUntil"], found["reconnectUrl"]) == (None, RECONNECT)


def test_it_shows_until_when_a_location_waits(acme: Persona) -> None:
    acme.location.brake(Location.Waiting.DAILY_QUOTA, timedelta(hours=1))

    found = shown(acme)

    assert (found["status"], found["waitingFor"]) == ("active", "daily_quota")
    assert found["waitingUntil"] is not None
    Location.objects.update(not_before=Now() - timedelta(seconds=1))
    assert shown(acme)["waitingFor"] is None


def test_it_shows_the_scopes_that_an_install_lacks(acme: Persona, highlevel: World) -> None:
    narrow = highlevel.issue_location_token(ACME_LOCATION, scopes=("calendars.readonly", "contacts.write"))
    installs.complete(parse_token_grant(narrow))

    found = shown(acme)

    assert "calendars/events.write" in found["scopesMissing"]
    assert "oauth.write" not in found["scopesMissing"]
    assert found["reconnectUrl"] == RECONNECT


def test_it_shows_a_scope_that_a_call_was_refused_for(acme: Persona, highlevel: World) -> None:
    """The token said that it has the scope; HighLevel says otherwise."""
    highlevel.settings.granted_scopes = " ".join(set(NEEDED) - {"calendars/events.write"})
    token = highlevel.issue_location_token(ACME_LOCATION)
    installs.complete(parse_token_grant({**token, "scope": " ".join(NEEDED)}))
    acme.book()
    work_once()

    assert shown(acme)["scopesMissing"] == ["calendars/events.write"]
    assert Location.objects.get(pk=ACME_LOCATION).status == "active"
    highlevel.settings.granted_scopes = None
    installs.complete(parse_token_grant(highlevel.issue_location_token(ACME_LOCATION)))
    assert shown(acme)["scopesMissing"] == []


def test_it_lists_what_the_key_covers(acme: Persona, globex: Persona) -> None:
    [only] = acme.api.get("/api/v1/locations").json()["results"]
    assert only["id"] == ACME_LOCATION

    _, text = keys.issue(acme.tenant, agency=Agency.objects.get())
    acme.text = text

    listed = acme.api.get("/api/v1/locations").json()["results"]
    assert [each["id"] for each in listed] == sorted([ACME_LOCATION, GLOBEX_LOCATION])


def test_it_lists_with_two_queries(acme: Persona, globex: Persona) -> None:
    _, acme.text = keys.issue(acme.tenant, agency=Agency.objects.get())
    acme.api.get("/api/v1/locations")

    with CaptureQueriesContext(connection) as captured:
        acme.api.get("/api/v1/locations")

    assert len(captured) == 2


@pytest.mark.parametrize("location_id", [GLOBEX_LOCATION, "nobodys"])
def test_it_shows_no_strangers_location(acme: Persona, globex: Persona, location_id: str) -> None:
    answer = acme.api.get(f"/api/v1/locations/{location_id}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
