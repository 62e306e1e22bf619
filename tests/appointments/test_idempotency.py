"""The same request with the same Idempotency-Key is one booking, however often and at how many places it is sent."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.db.models.functions import Now

from appointments.models import Booking
from oauth import keys
from oauth.models import ApiKey, Location
from sandbox import World
from tests.appointments.conftest import at_once, beside, until
from tests.fixtures import GLOBEX_CALENDAR, GLOBEX_LOCATION, Persona, booking_body, work_once

KEY = {"Idempotency-Key": "order 1/2 ~"}


def replayed(answer: Any) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


def test_it_returns_the_old_booking_for_the_same_key(acme: Persona) -> None:
    first = acme.book(booking_body(), **KEY)
    again = acme.book(booking_body(), **KEY)

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"]
    assert first.headers["Location"] == again.headers["Location"]
    assert (replayed(first), replayed(again)) == (False, True)
    assert Booking.objects.count() == 1


def test_it_shows_the_old_booking_as_it_stands_now(acme: Persona) -> None:
    acme.book(booking_body(), **KEY)
    work_once()

    again = acme.book(booking_body(), **KEY)

    assert again.status_code == 202
    assert again.json()["status"] == "booked"


def test_it_compares_bodies_as_parsed_json(acme: Persona) -> None:
    body = booking_body(metadata={"a": "é", "b": "2"})
    acme.book(body, **KEY)
    backwards = dict(reversed(body.items())) | {"metadata": {"b": "2", "a": "é"}}

    again = acme.api.generic(
        "POST",
        "/api/v1/bookings",
        json.dumps(backwards, indent=3, ensure_ascii=True),
        "application/json",
        headers=KEY,
    )

    assert replayed(again)


@pytest.mark.parametrize(
    "changes",
    [{"title": "Other"}, {"title": None}, {"metadata": {}}, {"endTime": "2027-06-23T04:30:01+05:30"}],
)
def test_it_refuses_the_key_with_another_body(acme: Persona, changes: dict[str, Any]) -> None:
    acme.book(booking_body(), **KEY)

    answer = acme.book({**booking_body(**dict.fromkeys(changes)), **changes}, **KEY)

    assert answer.status_code == 422
    assert answer.json()["code"] == "idempotency_key_reused"
    assert answer.json()["requestId"] == answer.headers["X-Request-Id"]
    assert Booking.objects.count() == 1


def test_it_does_not_use_a_key_up_for_a_refused_request(acme: Persona) -> None:
    assert acme.book(booking_body(startTime="soon"), **KEY).status_code == 400
    assert acme.book(booking_body(locationId="nobodyHasThis"), **KEY).status_code == 403

    answer = acme.book(booking_body(), **KEY)

    assert answer.status_code == 202
    assert not replayed(answer)


def test_it_books_twice_without_a_key(acme: Persona) -> None:
    assert acme.book().json()["id"] != acme.book().json()["id"]


def test_it_keeps_the_keys_of_two_tenants_apart(acme: Persona, globex: Persona) -> None:
    ours = acme.book(booking_body(), **KEY)
    theirs = globex.book(booking_body(locationId=GLOBEX_LOCATION, calendarId=GLOBEX_CALENDAR), **KEY)

    assert theirs.status_code == 202
    assert not replayed(theirs)
    assert ours.json()["id"] != theirs.json()["id"]


def test_it_knows_a_tenants_key_whatever_api_key_it_comes_with(acme: Persona) -> None:
    first = acme.book(booking_body(), **KEY)
    key, text = keys.issue(acme.tenant, locations=[acme.location])

    again = Persona(acme.tenant, acme.location, key, text).book(booking_body(), **KEY)

    assert replayed(again)
    assert again.json()["id"] == first.json()["id"]


def test_it_shows_no_booking_of_a_location_that_the_api_key_does_not_cover(
    acme: Persona, connect: Callable[[str], Location]
) -> None:
    body = booking_body(locationId=None)
    acme.book(body, **KEY)
    elsewhere = connect(GLOBEX_LOCATION)
    key, text = keys.issue(acme.tenant, locations=[elsewhere])

    answer = Persona(acme.tenant, elsewhere, key, text).book(body, **KEY)

    assert answer.status_code == 422


def test_it_still_knows_a_request_whose_expiry_has_passed(acme: Persona) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=1)
    body = booking_body(expiresAt=soon.isoformat())
    first = acme.book(body, **KEY)

    with time_machine.travel(soon + timedelta(minutes=1)):
        again = acme.book(body, **KEY)
        without_the_key = acme.book(body)

    assert again.status_code == 202
    assert again.json()["id"] == first.json()["id"]
    assert without_the_key.status_code == 400


def test_it_still_knows_a_request_whose_location_was_uninstalled(acme: Persona) -> None:
    first = acme.book(booking_body(), **KEY)
    Location.objects.update(status=Location.Status.UNINSTALLED)

    again = acme.book(booking_body(), **KEY)

    assert again.json()["id"] == first.json()["id"]
    assert acme.book().status_code == 403


@pytest.mark.django_db(transaction=True)
def test_it_makes_one_booking_of_fifty_simultaneous_requests(acme: Persona, highlevel: World) -> None:
    answers = at_once(*[lambda: acme.book(booking_body(), **KEY)] * 50)

    assert [answer.status_code for answer in answers] == [202] * 50
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert [replayed(answer) for answer in answers].count(True) == 49
    work_once()
    assert len(highlevel.diary.everything()) == 1


@pytest.mark.django_db(transaction=True)
def test_it_takes_one_of_many_bodies_under_one_key_at_the_same_moment(acme: Persona) -> None:
    bodies = [booking_body(title=f"Title {number}") for number in range(10)]

    answers = at_once(*[lambda body=body: acme.book(body, **KEY) for body in bodies])

    assert sorted(answer.status_code for answer in answers) == [202] + [422] * 9
    assert Booking.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_committed", [True, False])
def test_it_waits_for_what_another_request_with_its_key_is_writing(acme: Persona, is_committed: bool) -> None:
    """The second statement began before the first one's commit, and does not see what it left."""
    ApiKey.objects.update(last_used_at=Now())  # which else the first one would be writing too
    answers: list[Any] = []
    with ExitStack() as second, transaction.atomic():
        first = acme.book(booking_body(), **KEY)
        second.enter_context(beside(lambda: answers.append(acme.book(booking_body(), **KEY))))
        until(_is_anybody_waiting)
        transaction.set_rollback(not is_committed)

    assert answers[0].status_code == 202
    assert replayed(answers[0]) == is_committed
    assert (answers[0].json()["id"] == first.json()["id"]) == is_committed
    assert Booking.objects.count() == 1


def _is_anybody_waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        [(waits,)] = cursor.fetchall()
    return bool(waits)


@pytest.mark.django_db(transaction=True)
def test_it_takes_one_of_several_locations_under_one_key_at_the_same_moment(
    acme: Persona, connect: Callable[[str], Location]
) -> None:
    elsewhere = connect(GLOBEX_LOCATION)
    key, text = keys.issue(acme.tenant, locations=[elsewhere])
    other = Persona(acme.tenant, elsewhere, key, text)
    body = booking_body(locationId=None)

    answers = at_once(*[lambda: acme.book(body, **KEY), lambda: other.book(body, **KEY)] * 5)

    assert sorted(answer.status_code for answer in answers) == [202] * 5 + [422] * 5
    assert sorted(replayed(answer) for answer in answers if answer.status_code == 202) == [False] + [True] * 4
    assert Booking.objects.count() == 1
