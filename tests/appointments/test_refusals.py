"""What HighLevel refuses for good ends rejected, with a code that says why."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from appointments.models import Booking
from ghl import line
from ghl.types import parse_token_grant
from oauth import installs
from sandbox import World
from sandbox.faults import Fault
from sandbox.seed import COMPANY
from tests.appointments.conftest import calls
from tests.fixtures import (
    ACME_CALENDAR,
    ACME_LOCATION,
    GLOBEX_CONTACT,
    Persona,
    booking_body,
    end_brake,
    hurry,
    only_booking,
    work_once,
)


def ended(acme: Persona) -> dict[str, Any]:
    work_once()
    booking: dict[str, Any] = acme.api.get(f"/api/v1/bookings/{Booking.objects.latest('id').pk}").json()
    assert booking["nextAttemptAt"] is None
    assert booking["inSync"] is False
    assert booking["appointmentId"] is None
    return booking


@pytest.mark.parametrize(
    ("changes", "code", "status"),
    [
        ({"contactId": "unknownContact"}, "contact_not_found", 400),
        ({"contactId": GLOBEX_CONTACT}, "contact_not_found", 400),
        ({"calendarId": "unknownCalendar"}, "calendar_not_found", 404),
        ({"ignoreFreeSlotValidation": True}, "assigned_user_required", 422),
        ({"assignedUserId": "stranger"}, "assigned_user_invalid", 422),
        (
            {
                "ignoreFreeSlotValidation": True,
                "assignedUserId": "0007BWpSzSwfiuSl0tR2",
                "rrule": "FREQ=DAILY;UNTIL=20200101T000000Z",
            },
            "invalid_request",
            422,
        ),
    ],
)
def test_it_rejects_with_the_reason(
    acme: Persona, highlevel: World, changes: dict[str, Any], code: str, status: int
) -> None:
    highlevel.forms.pin(refusal_trace="absent", not_found_status="as_seen")
    acme.book(booking_body(**changes))

    booking = ended(acme)

    assert booking["status"] == "rejected"
    assert booking["error"] == {
        "code": code,
        "detail": booking["error"]["detail"],
        "upstreamStatus": status,
        "traceId": None,
    }
    assert booking["error"]["detail"]


def test_it_rejects_a_slot_that_is_taken_with_highlevels_trace(acme: Persona, highlevel: World) -> None:
    acme.book()
    work_once()
    acme.book()

    booking = ended(acme)

    assert booking["status"] == "rejected"
    assert booking["error"]["code"] == "slot_unavailable"
    assert booking["error"]["detail"] == "The slot you have selected is no longer available."
    assert booking["error"]["upstreamStatus"] == 400
    assert len(booking["error"]["traceId"]) == 36
    assert len(highlevel.diary.everything()) == 1


def test_it_rejects_for_an_inactive_calendar(acme: Persona, highlevel: World) -> None:
    highlevel.calendars[ACME_CALENDAR].active = False
    acme.book()

    assert ended(acme)["error"]["code"] == "calendar_not_found"


def test_it_rejects_without_the_scope_it_needs(acme: Persona, highlevel: World) -> None:
    narrow = highlevel.issue_location_token(ACME_LOCATION, scopes=("calendars.readonly",))
    installs.complete(parse_token_grant(narrow))
    acme.book()

    booking = ended(acme)

    assert booking["status"] == "rejected"
    assert booking["error"]["code"] == "scope_missing"
    assert booking["error"]["upstreamStatus"] == 401
    assert highlevel.tokens.issued["refresh_token"] == 0


def test_it_rejects_where_the_app_was_removed(acme: Persona, highlevel: World) -> None:
    highlevel.locations[ACME_LOCATION].installed_at = None
    acme.book()

    booking = ended(acme)

    assert booking["error"]["code"] == "location_forbidden"
    assert booking["error"]["upstreamStatus"] == 403


def test_it_rejects_with_the_wrong_kind_of_token(acme: Persona, highlevel: World) -> None:
    agencys = parse_token_grant(highlevel.issue_company_token(COMPANY))
    installs.complete(replace(agencys, location_id=ACME_LOCATION))
    acme.book()

    assert ended(acme)["error"]["code"] == "location_forbidden"
    assert highlevel.tokens.issued["refresh_token"] == 0


def test_it_fails_where_highlevel_does_not_like_our_client(
    acme: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(line.HEADERS, "User-Agent", "Python-urllib/3.11")
    acme.book()

    booking = ended(acme)

    assert booking["status"] == "failed"
    assert booking["error"]["code"] == "internal_error"
    assert booking["error"]["upstreamStatus"] == 403


def test_it_fails_where_highlevel_knows_no_such_route(
    acme: Persona, highlevel: World, other_highlevel: Callable[..., None], settings: Any
) -> None:
    other_highlevel(url=settings.GHL_API_BASE_URL + "/moved")
    acme.book()

    booking = ended(acme)

    assert (booking["status"], booking["error"]["code"]) == ("failed", "internal_error")
    assert calls(highlevel) == 0


def test_it_leaves_an_ended_booking_alone(acme: Persona, highlevel: World) -> None:
    acme.book(booking_body(contactId="unknownContact"))
    work_once()

    work_once()

    assert calls(highlevel) == 1


def test_it_knows_a_slot_that_it_has_taken_itself(acme: Persona, highlevel: World) -> None:
    """The first call was done although nothing showed it; the second one then finds the slot taken."""
    acme.book()
    work_once()
    booking = only_booking()
    appointment_id = booking.appointment_id
    Booking.objects.update(status="pending", appointment_id=None, known={}, known_version=0)

    assert hurry(booking).status == Booking.Status.BOOKED

    assert booking.appointment_id == appointment_id
    assert calls(highlevel) == 2
    assert len(highlevel.diary.everything()) == 1


def test_it_looks_again_where_the_look_for_its_own_slot_fails(acme: Persona, highlevel: World) -> None:
    acme.book()
    work_once()
    booking = only_booking()
    Booking.objects.update(status="pending", appointment_id=None)
    highlevel.faults.add(Fault("error_500_before", "list_events"))

    assert hurry(booking).status == Booking.Status.PENDING
    assert hurry(booking).status == Booking.Status.BOOKED
    assert len(highlevel.diary.everything()) == 1


def test_it_rejects_on_a_second_call_where_a_stranger_took_the_slot(acme: Persona, highlevel: World) -> None:
    highlevel.faults.add(Fault("too_many_requests", "create_appointment"))
    acme.book()
    work_once()
    ours = only_booking()
    Booking.objects.update(next_attempt_at=None)
    end_brake()
    stranger = highlevel.add_contact(ACME_LOCATION, firstName="Stranger")
    acme.book(booking_body(contactId=stranger.id))
    work_once()

    assert hurry(ours).status == Booking.Status.REJECTED

    assert ours.error["code"] == "slot_unavailable"
    assert calls(highlevel, "list_events") == 1
