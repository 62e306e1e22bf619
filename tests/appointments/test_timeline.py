"""What happened to a booking, oldest first: each change of state and each call to HighLevel."""

from datetime import datetime
from typing import Any

from appointments.models import Booking
from sandbox import World
from sandbox.faults import Fault
from tests.appointments.conftest import settle
from tests.fixtures import ACME_CONTACT, Persona, booking_body, hurry, only_booking, work_once

CREATE = {"method": "POST", "path": "/calendars/events/appointments"}
LOOK = {"method": "GET", "path": "/calendars/events"}
LOOK_ELSEWHERE = {"method": "GET", "path": f"/contacts/{ACME_CONTACT}/appointments"}


def timeline(acme: Persona) -> list[dict[str, Any]]:
    answer = acme.api.get(f"/api/v1/bookings/{only_booking().pk}/timeline")
    assert answer.status_code == 200
    assert answer.json().keys() == {"next", "previous", "results"}
    entries: list[dict[str, Any]] = answer.json()["results"]
    return entries


def state(old: str | None, new: str, reason: str) -> dict[str, Any]:
    return {"kind": "state", "from": old, "to": new, "reason": reason, "call": None}


def call(which: dict[str, str], status: int | None, outcome: str) -> dict[str, Any]:
    called = {**which, "status": status, "outcome": outcome}
    return {"kind": "call", "from": None, "to": None, "reason": None, "call": called}


def without_chance(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without instants, durations and traces, which differ each time."""
    plain = [{name: value for name, value in entry.items() if name != "at"} for entry in entries]
    for entry in plain:
        if entry["call"]:
            entry["call"] = {
                name: value for name, value in entry["call"].items() if name not in {"durationMs", "traceId"}
            }
    return plain


def test_it_begins_with_the_acceptance(acme: Persona) -> None:
    acme.book()

    [entry] = timeline(acme)

    assert entry.keys() == {"at", "kind", "from", "to", "reason", "call"}
    assert without_chance([entry]) == [state(None, "pending", "accepted")]


def test_it_shows_the_call_that_booked_it(acme: Persona, highlevel: World) -> None:
    highlevel.forms.pin(success_status="200", trace="there", created_answer="full")
    acme.book()
    work_once()

    _, called, booked = entries = timeline(acme)

    assert without_chance(entries)[1:] == [call(CREATE, 200, "ok"), state("pending", "booked", "created")]
    assert called["call"].keys() == {"method", "path", "status", "durationMs", "outcome", "traceId"}
    assert 0 <= called["call"]["durationMs"] < 2000
    assert len(called["call"]["traceId"]) == 36
    instants = [datetime.fromisoformat(entry["at"]) for entry in entries]
    assert instants == sorted(instants)
    assert booked["at"].endswith("Z")


def test_it_tells_the_whole_story_in_order(acme: Persona, highlevel: World) -> None:
    highlevel.forms.pin(success_status="200")
    for kind in ("too_many_requests", "token_revoked", "error_500_before", "cut_before"):
        highlevel.faults.add(Fault(kind, "create_appointment"))
    acme.book()
    work_once()
    hurry(only_booking())  # the token is refused, the replay answered by a 500
    settle(only_booking())
    settle(only_booking())
    settle(only_booking())
    settle(only_booking())

    assert only_booking().status == Booking.Status.BOOKED
    assert without_chance(timeline(acme)) == [
        state(None, "pending", "accepted"),
        call(CREATE, 429, "rate_limited"),
        call(CREATE, 401, "token_rejected"),
        call(CREATE, 500, "server_failed"),
        *[call(LOOK, 200, "ok"), call(LOOK_ELSEWHERE, 200, "ok")] * 2,
        call(CREATE, None, "connection_lost"),
        *[call(LOOK, 200, "ok"), call(LOOK_ELSEWHERE, 200, "ok")] * 2,
        call(CREATE, 200, "ok"),
        state("pending", "booked", "created"),
    ]
    assert only_booking().attempts == 5


def test_it_says_that_a_booking_was_found(acme: Persona, highlevel: World) -> None:
    highlevel.faults.add(Fault("error_500_after", "create_appointment"))
    acme.book()
    work_once()
    hurry(only_booking())

    assert without_chance(timeline(acme))[-2:] == [
        call(LOOK, 200, "ok"),
        state("pending", "booked", "found"),
    ]


def test_it_shows_how_the_contact_was_found(acme: Persona, highlevel: World) -> None:
    highlevel.forms.pin(success_status="200")
    acme.book(booking_body(contactId=None, contact={"email": "a@b.example"}))
    work_once()

    shown = without_chance(timeline(acme))

    search = {"method": "GET", "path": "/contacts/search/duplicate"}
    create = {"method": "POST", "path": "/contacts/"}
    assert shown[1:4] == [call(search, 200, "ok"), call(create, 201, "ok"), call(CREATE, 200, "ok")]


def test_it_ends_with_the_refusal(acme: Persona, highlevel: World) -> None:
    highlevel.forms.pin(not_found_status="as_seen")
    acme.book(booking_body(contactId="unknownContact"))
    work_once()

    assert without_chance(timeline(acme))[1:] == [
        call(CREATE, 400, "contact_not_found"),
        state("pending", "rejected", "contact_not_found"),
    ]


def test_it_shows_no_secret_and_nothing_of_the_contact(acme: Persona) -> None:
    acme.book(booking_body(contactId=None, contact={"email": "secret@b.example"}))
    work_once()

    text = acme.api.get(f"/api/v1/bookings/{only_booking().pk}/timeline").content.decode()

    assert "secret@b.example" not in text
    assert "eyJ" not in text
