"""`Prefer: wait=N`: a caller who would rather wait is told how it ended, if it ends in time."""

import time
from contextlib import ExitStack

import pytest

from appointments.api import waiting_places
from appointments.models import Booking
from oauth.models import Location
from sandbox import World
from tests.appointments.conftest import working
from tests.fixtures import (
    ACME_CONTACT,
    GLOBEX_CALENDAR,
    GLOBEX_CONTACT,
    GLOBEX_LOCATION,
    Persona,
    booking_body,
    only_booking,
)


def prefer(text: str) -> dict[str, str]:
    return {"Prefer": text}


@pytest.mark.django_db(transaction=True)
def test_it_answers_201_once_it_is_booked(acme: Persona) -> None:
    with working():
        answer = acme.book(booking_body(), **prefer("wait=10"))

    assert answer.status_code == 201, answer.json()
    assert answer.headers["Preference-Applied"] == "wait=10"
    assert answer.headers["Location"] == f"/api/v1/bookings/{answer.json()['id']}"
    assert answer.json()["status"] == "booked"
    assert answer.json()["appointmentId"] == only_booking().appointment_id is not None
    assert answer.json()["inSync"] is True


@pytest.mark.django_db(transaction=True)
def test_it_answers_409_once_it_is_rejected(acme: Persona) -> None:
    with working():
        answer = acme.book(booking_body(contactId="unknownContact"), **prefer("wait=10"))

    problem = answer.json()
    assert answer.status_code == 409
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["code"] == "contact_not_found" == problem["booking"]["error"]["code"]
    assert problem["detail"] == problem["booking"]["error"]["detail"]
    assert problem["requestId"] == answer.headers["X-Request-Id"]
    assert problem["booking"] == acme.api.get(answer.headers["Location"]).json()


@pytest.mark.django_db(transaction=True)
def test_it_answers_the_same_request_again_as_it_would_now(acme: Persona) -> None:
    key = {"Idempotency-Key": "k"}
    with working():
        acme.book(booking_body(contactId="unknownContact"), **key, **prefer("wait=10"))

    waiting = acme.book(booking_body(contactId="unknownContact"), **key, **prefer("wait=10"))
    not_waiting = acme.book(booking_body(contactId="unknownContact"), **key)

    assert (waiting.status_code, not_waiting.status_code) == (409, 202)
    assert waiting.headers["Idempotent-Replayed"] == not_waiting.headers["Idempotent-Replayed"] == "true"
    assert not_waiting.json()["status"] == "rejected"


def test_it_answers_202_when_the_time_is_over(acme: Persona) -> None:
    started = time.monotonic()

    answer = acme.book(booking_body(), **prefer("wait=1"))

    assert answer.status_code == 202
    assert answer.json()["status"] == "pending"
    assert 1 <= time.monotonic() - started < 2


def test_it_does_not_wait_for_a_location_that_is_on_hold(acme: Persona) -> None:
    acme.location.brake(Location.Waiting.SUSPENDED, None, Location.Status.SUSPENDED)
    started = time.monotonic()

    answer = acme.book(booking_body(), **prefer("wait=30"))

    assert answer.status_code == 202
    assert answer.json()["status"] == "on_hold"
    assert time.monotonic() - started < 1


@pytest.mark.django_db(transaction=True)
def test_it_answers_202_when_it_has_failed(acme: Persona, highlevel: World) -> None:
    with working():
        answer = acme.book(booking_body(contactId=ACME_CONTACT), **prefer("wait=10"))
        assert answer.status_code == 201
    Booking.objects.update(status="failed", idempotency_key="k")

    answer = acme.book(booking_body(), **{"Idempotency-Key": "k"}, **prefer("wait=10"))

    assert answer.status_code == 202
    assert answer.json()["status"] == "failed"


@pytest.mark.parametrize(
    ("text", "applied"),
    [
        ("wait=0", "wait=0"),
        ("WAIT = 0", "wait=0"),
        ('wait="0"', "wait=0"),
        ("respond-async, wait=0", "wait=0"),
        ("respond-async; foo=bar, wait=0;x", "wait=0"),
        ("wait=" + "0" * 5000, "wait=0"),
        ("wait=soon", None),
        ("wait=", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("await=1", None),
        ("wait=1s", None),
        ("respond-async", None),
        ("", None),
    ],
)
def test_it_reads_preferences_as_the_rfc_writes_them(acme: Persona, text: str, applied: str | None) -> None:
    answer = acme.book(booking_body(), **prefer(text))

    assert answer.status_code == 202
    assert answer.headers.get("Preference-Applied") == applied


@pytest.mark.parametrize("text", ["wait=31", "wait=100", "wait=0031", "wait=" + "9" * 5000])
def test_it_waits_for_thirty_seconds_at_most(acme: Persona, text: str) -> None:
    # On hold, or this would take half a minute.
    acme.location.brake(Location.Waiting.DAILY_QUOTA, None)

    answer = acme.book(booking_body(), **prefer(text))

    assert answer.headers["Preference-Applied"] == "wait=30"


def test_it_answers_at_once_while_half_of_the_threads_wait(acme: Persona) -> None:
    with ExitStack() as waiting:
        for number in range(8):
            waiting.enter_context(waiting_places.place(f"another key {number}"))
        answer = acme.book(booking_body(), **prefer("wait=30"))

    assert answer.status_code == 202
    assert "Preference-Applied" not in answer.headers


def test_it_keeps_places_free_for_other_keys(acme: Persona, globex: Persona) -> None:
    globex.location.brake(Location.Waiting.DAILY_QUOTA, None)
    body = booking_body(
        locationId=GLOBEX_LOCATION, calendarId=GLOBEX_CALENDAR, contactId=GLOBEX_CONTACT, endTime=None
    )
    with ExitStack() as waiting:
        for _ in range(4):
            assert waiting.enter_context(waiting_places.place(acme.key.pk))
        one_more = acme.book(booking_body(), **prefer("wait=30"))
        of_another = globex.book(body, **prefer("wait=30"))

    assert "Preference-Applied" not in one_more.headers
    assert of_another.headers["Preference-Applied"] == "wait=30"


def test_it_lets_others_wait_afterwards(acme: Persona) -> None:
    for _ in range(9):
        assert "Preference-Applied" in acme.book(booking_body(), **prefer("wait=0")).headers
