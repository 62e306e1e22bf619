"""A cancel is accepted in every state, never lost and never given up; what is cancelled is so at both ends."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now

from appointments import bookings, claiming, sweeping
from appointments.models import Booking
from oauth.models import Location, Token
from sandbox import World
from tests.appointments.conftest import beside, calls, finished, order, sent, settle, until
from tests.appointments.test_changing import booked, patch, shown
from tests.fixtures import ACME_LOCATION, Persona, booking_body, hurry, only_booking, work_once

LEASE = timedelta(seconds=10)
PUT = "update_appointment"


def cancel(acme: Persona) -> dict[str, Any]:
    answer = acme.api.post(f"/api/v1/bookings/{only_booking().pk}/cancel")
    assert answer.status_code == 202, answer.content
    booking: dict[str, Any] = answer.json()
    assert booking["cancelRequestedAt"] is not None
    return booking


def is_cancelled(acme: Persona) -> None:
    booking = shown(acme)
    assert booking["status"] == "cancelled"
    assert booking["inSync"] is True
    assert booking["error"] is None
    assert booking["nextAttemptAt"] is None
    assert not only_booking().intent_open


def is_cancelled_at_both_ends(acme: Persona, highlevel: World) -> None:
    is_cancelled(acme)
    [entry] = highlevel.diary.everything()
    assert entry.status == "cancelled"
    assert shown(acme)["appointmentId"] == entry.id
    assert shown(acme)["appointmentStatus"] == "cancelled"


# --- At once where nothing can have been sent -----------------------------------------------------------------


def test_it_cancels_at_once_before_the_first_attempt(acme: Persona, highlevel: World) -> None:
    acme.book()

    answer = cancel(acme)

    assert answer["status"] == "cancelled"
    assert answer["appointmentStatus"] is None
    is_cancelled(acme)
    work_once()
    assert calls(highlevel) == 0


def test_it_cancels_at_once_on_hold(acme: Persona) -> None:
    acme.location.brake(Location.Waiting.SUSPENDED, None, Location.Status.SUSPENDED)
    acme.book()

    assert cancel(acme)["status"] == "cancelled"
    is_cancelled(acme)
    sweeping.sweep()
    is_cancelled(acme)


def test_it_cancels_at_once_after_an_attempt_that_surely_came_to_nothing(
    acme: Persona, highlevel: World
) -> None:
    order(highlevel, "too_many_requests")
    acme.book()
    work_once()

    assert cancel(acme)["status"] == "cancelled"
    is_cancelled(acme)


def test_it_lets_nothing_leave_once_it_is_cancelled(acme: Persona, highlevel: World) -> None:
    """A worker has claimed it and not yet sent anything: its intent can no longer be written."""
    acme.book()
    claimed = claiming.claim(ACME_LOCATION, LEASE)
    assert claimed is not None
    assert cancel(acme)["status"] == "cancelled"

    bookings.converge(claimed)

    assert calls(highlevel) == 0
    is_cancelled(acme)


@pytest.mark.django_db(transaction=True)
def test_it_lets_nothing_leave_while_its_worker_waits_for_a_token(acme: Persona, highlevel: World) -> None:
    Token.objects.update(expires_at=Now() - timedelta(hours=1))
    order(highlevel, "hang_after", "token", seconds=0.4)
    acme.book()
    with beside():
        until(lambda: calls(highlevel, "token"))
        assert cancel(acme)["status"] == "cancelled"

    assert calls(highlevel) == 0
    is_cancelled(acme)


@pytest.mark.django_db(transaction=True)
def test_it_lets_nothing_leave_while_its_worker_makes_the_contact(acme: Persona, highlevel: World) -> None:
    order(highlevel, "hang_after", "create_contact", seconds=0.4)
    acme.book(booking_body(contactId=None, contact={"email": "a@b.example"}))
    with beside():
        until(lambda: calls(highlevel, "create_contact"))
        cancel(acme)

    assert calls(highlevel) == 0
    is_cancelled(acme)


@pytest.mark.django_db(transaction=True)
def test_it_leaves_no_contact_behind_that_its_worker_was_searching_for(
    acme: Persona, highlevel: World
) -> None:
    order(highlevel, "hang_after", "search_duplicate", seconds=0.4)
    acme.book(booking_body(contactId=None, contact={"email": "a@b.example"}))
    with beside():
        until(lambda: calls(highlevel, "search_duplicate"))
        cancel(acme)

    assert (calls(highlevel, "create_contact"), calls(highlevel)) == (0, 0)
    is_cancelled(acme)


def test_it_tells_in_the_timeline(acme: Persona) -> None:
    acme.book()
    cancel(acme)

    [_, entry] = acme.api.get(f"/api/v1/bookings/{only_booking().pk}/timeline").json()["results"]
    assert (entry["from"], entry["to"]) == ("pending", "cancelled")
    assert entry["reason"] == "cancelled before it was booked"


# --- Where HighLevel has it, or may have it ---------------------------------------------------------------------


def test_it_cancels_what_is_booked_and_keeps_its_history(acme: Persona, highlevel: World) -> None:
    booked(acme)

    answer = cancel(acme)
    assert (answer["status"], answer["inSync"]) == ("booked", False)
    assert answer["nextAttemptAt"] is not None
    work_once()

    is_cancelled_at_both_ends(acme, highlevel)
    assert sent(highlevel) == [{"appointmentStatus": "cancelled"}]
    assert calls(highlevel, "delete_event") == 0


@pytest.mark.parametrize("more", [{}, {"metadata": {"why": "ill"}}])
def test_it_is_the_same_by_a_change_of_the_status(acme: Persona, highlevel: World, more: Any) -> None:
    booked(acme)

    answer = patch(acme, {"appointmentStatus": "cancelled", **more})

    assert answer.status_code == 202
    assert answer.json()["cancelRequestedAt"] is not None
    assert answer.json()["metadata"] == more.get("metadata", {})
    work_once()
    is_cancelled_at_both_ends(acme, highlevel)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["hang_after", "hang_before"])
def test_it_is_not_lost_while_a_create_is_in_flight(
    acme: Persona, highlevel: World, kind: str, other_highlevel: Callable[..., None]
) -> None:
    """The cancel sets the wish; the create's outcome must not write `booked` and nothing due."""
    order(highlevel, kind, seconds=0.4)
    acme.book()
    with beside():
        until(lambda: calls(highlevel))
        assert cancel(acme)["status"] == "pending"
    for _ in range(2):
        settle(only_booking())

    assert calls(highlevel) == 1
    if kind == "hang_after":
        is_cancelled_at_both_ends(acme, highlevel)
    else:
        is_cancelled(acme)
        assert highlevel.diary.everything() == []


@pytest.mark.django_db(transaction=True)
def test_it_is_not_lost_while_a_create_is_refused(acme: Persona, highlevel: World) -> None:
    order(highlevel, "hang_after", seconds=0.3)
    acme.book(booking_body(contactId="unknownContact"))
    with beside():
        until(lambda: calls(highlevel))
        cancel(acme)
    work_once()

    is_cancelled(acme)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("operation", [PUT, "get_appointment"])
def test_it_is_not_lost_while_a_change_is_in_flight(acme: Persona, highlevel: World, operation: str) -> None:
    booked(acme)
    patch(acme, {"title": "Other"})
    order(highlevel, "hang_after", operation, seconds=0.3)
    with beside():
        until(lambda: calls(highlevel, operation))
        cancel(acme)
    work_once()

    is_cancelled_at_both_ends(acme, highlevel)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["error_500_after", "error_500_before"])
def test_it_is_not_lost_while_it_is_looked_for(acme: Persona, highlevel: World, kind: str) -> None:
    order(highlevel, kind)
    acme.book()
    work_once()
    order(highlevel, "hang_after", "list_events", seconds=0.3)
    Booking.objects.update(next_attempt_at=Now())
    with beside():
        until(lambda: calls(highlevel, "list_events"))
        cancel(acme)
    for _ in range(2):
        settle(only_booking())

    assert calls(highlevel) == 1
    is_cancelled(acme)
    assert {each.status for each in highlevel.diary.everything()} <= {"cancelled"}


def test_it_cancels_what_a_look_finds(acme: Persona, highlevel: World) -> None:
    order(highlevel, "error_500_after")
    acme.book()
    work_once()
    assert cancel(acme)["status"] == "pending"

    hurry(only_booking())

    is_cancelled_at_both_ends(acme, highlevel)
    assert calls(highlevel) == 1


def test_it_ends_once_looks_have_found_nothing(acme: Persona, highlevel: World) -> None:
    order(highlevel, "error_500_before")
    acme.book()
    work_once()
    cancel(acme)

    hurry(only_booking())
    assert shown(acme)["status"] == "pending"
    settle(only_booking())

    is_cancelled(acme)
    assert calls(highlevel) == 1
    assert highlevel.diary.everything() == []


def test_it_cancels_a_series_as_a_whole(acme: Persona, highlevel: World) -> None:
    booked(
        acme,
        rrule="FREQ=DAILY;COUNT=3",
        ignoreFreeSlotValidation=True,
        assignedUserId="0007BWpSzSwfiuSl0tR2",
    )
    cancel(acme)
    work_once()

    assert [each.status for each in highlevel.diary.everything()] == ["cancelled"] * 3
    is_cancelled(acme)


def test_it_asks_for_nothing_where_it_was_deleted_in_highlevel(acme: Persona, highlevel: World) -> None:
    booked(acme)
    cancel(acme)
    highlevel.diary.remove(highlevel.diary.everything()[0])

    work_once()

    is_cancelled(acme)


# --- Never given up --------------------------------------------------------------------------------------------


def test_it_is_tried_for_ever(acme: Persona, highlevel: World) -> None:
    booked(acme)
    order(highlevel, "error_500_before", PUT, times=4)
    cancel(acme)
    far_back = Now() - timedelta(days=300)
    Booking.objects.update(expires_at=far_back, cancel_requested_at=far_back, change_requested_at=far_back)
    work_once()
    for _ in range(4):
        sweeping.sweep()
        assert shown(acme)["status"] == "booked"
        assert shown(acme)["error"]["code"] == "outcome_unknown"
        settle(only_booking())
        settle(only_booking())

    is_cancelled_at_both_ends(acme, highlevel)


def test_it_goes_on_after_a_refusal(acme: Persona, highlevel: World) -> None:
    booked(acme)
    highlevel.locations[ACME_LOCATION].installed_at = None
    cancel(acme)
    work_once()

    refused = shown(acme)
    assert (refused["status"], refused["inSync"]) == ("booked", False)
    assert refused["error"]["code"] == "location_forbidden"
    assert refused["nextAttemptAt"] is not None
    highlevel.locations[ACME_LOCATION].installed_at = highlevel.clock.now()
    hurry(only_booking())

    is_cancelled_at_both_ends(acme, highlevel)


# --- Again, and too late ----------------------------------------------------------------------------------------


def test_it_is_one_cancel_however_often_it_is_asked(acme: Persona, highlevel: World) -> None:
    booked(acme)

    first, second = cancel(acme), cancel(acme)

    assert first == second
    work_once()
    assert cancel(acme)["cancelRequestedAt"] == first["cancelRequestedAt"]
    work_once()
    assert calls(highlevel, PUT) == 1


@pytest.mark.parametrize("status", Booking.ENDED)
def test_it_leaves_what_has_ended_as_it_is(acme: Persona, status: str) -> None:
    path = acme.book().headers["Location"]
    Booking.objects.update(status=status, next_attempt_at=None)
    before = acme.api.get(path).json()

    answer = acme.api.post(f"{path}/cancel")

    assert (answer.status_code, answer.json()) == (202, before)
    assert patch(acme, {"appointmentStatus": "cancelled"}).json() == before
    assert not Booking.objects.due().exists()


@pytest.mark.django_db(transaction=True)
def test_it_does_not_wait_for_a_call_in_flight(acme: Persona, highlevel: World) -> None:
    booked(acme)
    order(highlevel, "hang_after", PUT, seconds=0.5)
    patch(acme, {"title": "Other"})
    with beside():
        until(lambda: calls(highlevel, PUT))
        cancel(acme)
        assert not finished(highlevel)
    connection.close()
