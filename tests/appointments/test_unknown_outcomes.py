"""A create whose answer was lost is looked for: adopted where HighLevel did it, repeated only where it did not."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from appointments import bookings, claiming
from appointments.models import Booking
from sandbox import World
from tests.appointments.conftest import (
    beside,
    calls,
    finished,
    in_highlevel,
    killed_worker,
    order,
    settle,
    until,
)
from tests.fixtures import (
    ACME_CALENDAR,
    Persona,
    booking_body,
    hurry,
    only_booking,
    work_once,
)

DONE: dict[str, dict[str, Any]] = {
    "error_500_after": {},
    "cut_after": {},
    "hang_after": {"seconds": 0.6},
    "html_502": {"done": True},
    "half_body": {},
    "truncated_json": {},
    "dribble": {"seconds": 3},
}
NOT_DONE: dict[str, dict[str, Any]] = {
    "error_500_before": {},
    "cut_before": {},
    "hang_before": {"seconds": 0.6},
    "html_502": {},
}
SEATS = 5


@pytest.fixture(autouse=True)
def _short_calls(other_highlevel: Callable[..., None]) -> None:
    other_highlevel(timeout=0.4)


@pytest.mark.parametrize("kind", DONE)
def test_it_adopts_what_highlevel_did(acme: Persona, highlevel: World, kind: str) -> None:
    order(highlevel, kind, **DONE[kind])
    answer = acme.book()
    work_once()
    unsure = acme.api.get(answer.headers["Location"]).json()
    until(lambda: finished(highlevel))

    booking = hurry(only_booking())

    assert unsure["status"] == "pending"
    assert unsure["error"]["code"] == "outcome_unknown"
    assert unsure["nextAttemptAt"] is not None
    [appointment] = highlevel.diary.everything()
    assert booking.status == Booking.Status.BOOKED
    assert booking.appointment_id == appointment.id
    assert booking.in_sync
    assert booking.error is None
    assert not booking.intent_open
    assert calls(highlevel) == 1


@pytest.mark.parametrize("kind", NOT_DONE)
def test_it_repeats_what_highlevel_did_not_do_once_that_is_certain(
    acme: Persona, highlevel: World, kind: str
) -> None:
    order(highlevel, kind, **NOT_DONE[kind])
    acme.book()
    work_once()

    first_look = hurry(only_booking())
    assert first_look.status == Booking.Status.PENDING
    assert first_look.next_attempt_at is not None
    assert calls(highlevel) == 1

    booking = settle(only_booking())

    assert booking.status == Booking.Status.BOOKED
    assert calls(highlevel) == 2
    assert calls(highlevel, "list_events") == 2
    assert len(highlevel.diary.everything()) == 1


def test_it_waits_until_all_is_settled_before_it_repeats(
    acme: Persona, highlevel: World, settings: Any
) -> None:
    settings.GHL_SETTLE_SECONDS = 60
    order(highlevel, "error_500_before")
    acme.book()
    work_once()

    waits = []
    for given_up_ago in (1, 3, 9, 27, 50):
        given_up_at = Now() - timedelta(seconds=given_up_ago)
        Booking.objects.update(intent_at=given_up_at, call_deadline=given_up_at)
        booking = hurry(only_booking())
        waits.append(round((booking.next_attempt_at - booking.updated_at).total_seconds()))

    assert waits == [2, 6, 18, 33, 10]
    assert calls(highlevel) == 1
    Booking.objects.update(call_deadline=Now() - timedelta(seconds=61))
    assert hurry(only_booking()).status == Booking.Status.BOOKED


def test_it_believes_no_single_look(acme: Persona, highlevel: World) -> None:
    order(highlevel, "error_500_before")
    acme.book()
    work_once()

    assert settle(only_booking()).status == Booking.Status.PENDING
    assert calls(highlevel) == 1
    assert settle(only_booking()).status == Booking.Status.BOOKED


def test_it_finds_what_a_lagging_list_shows_late(acme: Persona, highlevel: World) -> None:
    highlevel.settings.list_lag_seconds = 0.3
    order(highlevel, "error_500_after")
    acme.book()
    work_once()

    assert hurry(only_booking()).status == Booking.Status.PENDING
    until(lambda: hurry(only_booking()).status == Booking.Status.BOOKED, 2)

    assert calls(highlevel) == 1


def test_it_looks_with_what_was_sent_and_not_with_what_is_wished_by_now(
    acme: Persona, highlevel: World
) -> None:
    order(highlevel, "error_500_after")
    acme.book()
    work_once()
    wish = only_booking().wish | {"start_time": "2027-06-25T03:30:00+05:30"}
    Booking.objects.update(wish=wish, wish_version=2, next_attempt_at=Now())

    claimed = claiming.claim(acme.location.pk, timedelta(seconds=10))
    assert claimed is not None
    bookings.converge(claimed)

    booking = only_booking()
    assert booking.status == Booking.Status.BOOKED
    assert booking.known_version == 1
    assert not booking.in_sync
    assert Booking.objects.due().exists()
    assert calls(highlevel) == 1


def test_it_adopts_a_series_as_a_whole(acme: Persona, highlevel: World) -> None:
    order(highlevel, "error_500_after")
    acme.book(
        booking_body(
            rrule="FREQ=DAILY;COUNT=3", ignoreFreeSlotValidation=True, assignedUserId="0007BWpSzSwfiuSl0tR2"
        )
    )
    work_once()

    booking = hurry(only_booking())

    assert {entry.master_event_id for entry in highlevel.diary.everything()} == {booking.appointment_id}


@pytest.mark.parametrize(
    "other",
    [
        {"contactId": "anotherContact"},
        {"startTime": "2027-06-23T03:00:00+05:30", "endTime": "2027-06-23T04:30:00+05:30"},
    ],
)
def test_it_adopts_no_other_appointment_of_the_hour(
    acme: Persona, highlevel: World, other: dict[str, str]
) -> None:
    # By the second it cannot be told whether it was moved since, and one too few is better than one too many.
    highlevel.forms.pin(dates="utc_milliseconds")
    highlevel.calendars[ACME_CALENDAR].seats = SEATS
    highlevel.add_contact(booking_body()["locationId"], id="anotherContact")
    acme.book(booking_body(**other))
    work_once()
    Booking.objects.all().delete()
    order(highlevel, "error_500_before")
    acme.book()
    work_once()

    assert hurry(only_booking()).status == Booking.Status.PENDING


def test_it_adopts_nothing_that_was_there_long_before(acme: Persona, highlevel: World) -> None:
    highlevel.calendars[ACME_CALENDAR].seats = SEATS
    acme.book()
    work_once()
    Booking.objects.all().delete()
    order(highlevel, "error_500_before")
    acme.book()
    work_once()
    Booking.objects.update(intent_at=Now() + timedelta(minutes=5))

    assert hurry(only_booking()).status == Booking.Status.PENDING


def test_it_never_adopts_another_bookings_appointment(acme: Persona, highlevel: World) -> None:
    highlevel.calendars[ACME_CALENDAR].seats = SEATS
    acme.book()
    work_once()
    first = only_booking()
    order(highlevel, "error_500_before")
    acme.book()
    work_once()
    second = Booking.objects.latest("id")

    assert hurry(second).status == Booking.Status.PENDING
    assert settle(second).status == Booking.Status.BOOKED

    assert second.appointment_id not in {None, first.appointment_id}
    assert len(highlevel.diary.everything()) == 2


def test_it_does_not_believe_an_id_that_belongs_to_another_booking(
    acme: Persona, highlevel: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.book()
    work_once()
    first = only_booking()
    later = booking_body(startTime="2027-06-24T03:30:00Z", endTime=None)
    monkeypatch.setattr("sandbox.appointments.new_id", lambda: first.appointment_id)
    acme.book(later)
    work_once()
    monkeypatch.undo()
    second = Booking.objects.latest("id")

    assert second.status == Booking.Status.PENDING
    assert second.intent_open
    assert second.appointment_id is None


@pytest.mark.django_db(transaction=True)
def test_it_keeps_looking_where_another_takes_what_it_has_just_found(
    acme: Persona, highlevel: World, other_highlevel: Callable[..., None]
) -> None:
    """That the appointment is another's says nothing about what became of its own create."""
    other_highlevel(timeout=2)
    acme.book(booking_body(startTime="2027-06-25T03:30:00Z", endTime=None))
    order(highlevel, "error_500_after")
    Booking.objects.update(next_attempt_at=None)
    other = only_booking()
    acme.book()
    work_once()
    booking = Booking.objects.latest("id")
    [entry] = highlevel.diary.everything()
    hour = timedelta(hours=1)
    in_highlevel(highlevel, entry.id, starts_at=entry.starts_at + hour, ends_at=entry.ends_at + hour)
    order(highlevel, "hang_after", "get_appointment", seconds=0.3)
    with beside(lambda: hurry(booking)):
        until(lambda: calls(highlevel, "get_appointment"))
        Booking.objects.filter(pk=other.pk).update(appointment_id=entry.id)

    booking.refresh_from_db()
    assert booking.status == Booking.Status.PENDING
    assert booking.intent_open
    assert booking.unresolved_slot is not None
    assert calls(highlevel) == 1


def test_it_adopts_what_highlevel_refused_and_did_all_the_same(acme: Persona, highlevel: World) -> None:
    order(highlevel, "refused_after")
    acme.book()
    work_once()

    [entry] = highlevel.diary.everything()
    assert (only_booking().status, only_booking().appointment_id) == (Booking.Status.BOOKED, entry.id)
    assert calls(highlevel) == 1


def test_it_adopts_it_also_where_the_look_fails_at_first(acme: Persona, highlevel: World) -> None:
    order(highlevel, "refused_after")
    order(highlevel, "error_500_before", "list_events")
    acme.book()
    work_once()
    assert only_booking().status == Booking.Status.PENDING

    hurry(only_booking())

    assert (only_booking().status, len(highlevel.diary.everything())) == (Booking.Status.BOOKED, 1)
    assert calls(highlevel) == 1


def test_it_adopts_it_also_where_lists_show_it_late(acme: Persona, highlevel: World) -> None:
    """It was rejected when no list showed it, and is looked for until that has settled."""
    highlevel.settings.list_lag_seconds = 60
    order(highlevel, "refused_after")
    acme.book()
    work_once()
    assert only_booking().status == Booking.Status.REJECTED
    highlevel.settings.list_lag_seconds = 0

    hurry(only_booking())

    [entry] = highlevel.diary.everything()
    assert (only_booking().status, only_booking().appointment_id) == (Booking.Status.BOOKED, entry.id)
    assert calls(highlevel) == 1


@pytest.mark.django_db(transaction=True)
def test_it_books_no_newer_wish_beside_what_was_refused_and_done(acme: Persona, highlevel: World) -> None:
    highlevel.settings.list_lag_seconds = 60
    highlevel.settings.latency_seconds = 0.2
    order(highlevel, "refused_after")
    path = acme.book().headers["Location"]
    with beside(work_once):
        until(lambda: calls(highlevel))
        acme.api.patch(path, {"title": "Other"}, format="json")
    highlevel.settings.list_lag_seconds = highlevel.settings.latency_seconds = 0

    for _ in range(3):
        hurry(only_booking())

    assert (calls(highlevel), len(highlevel.diary.everything())) == (1, 1)


def test_it_ends_the_looking_for_what_was_refused_and_not_done(acme: Persona, highlevel: World) -> None:
    acme.book(booking_body(assignedUserId="stranger"))
    work_once()
    assert only_booking().status == Booking.Status.REJECTED
    assert acme.api.get(f"/api/v1/bookings/{only_booking().pk}").json()["nextAttemptAt"] is None

    for _ in range(3):
        settle(only_booking())

    booking = only_booking()
    assert (booking.status, booking.next_attempt_at, booking.intent_open) == ("rejected", None, False)
    assert calls(highlevel) == 1


def test_it_believes_a_refusal_that_comes_before_anything_is_done(acme: Persona, highlevel: World) -> None:
    acme.book(booking_body(calendarId="unknownCalendar"))
    work_once()

    assert only_booking().status == Booking.Status.REJECTED
    assert (calls(highlevel), calls(highlevel, "list_events")) == (1, 0)


def test_it_takes_an_answer_without_an_id_for_no_answer(
    acme: Persona, highlevel: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.shapes.written", lambda *_: {"status": "ok"})
    acme.book()
    work_once()
    monkeypatch.undo()
    assert only_booking().error["code"] == "outcome_unknown"

    hurry(only_booking())

    assert only_booking().status == Booking.Status.BOOKED
    assert calls(highlevel) == 1


@pytest.mark.parametrize(
    "twins", [{}, {"startTime": "2027-06-22T22:00:00Z", "endTime": "2027-06-22T23:00:00Z"}]
)
def test_it_lets_a_twin_wait_for_an_unresolved_create_and_books_both(
    acme: Persona, highlevel: World, twins: dict[str, str]
) -> None:
    """The same calendar, contact and instant, in whatever zone it is written."""
    highlevel.calendars[ACME_CALENDAR].seats = SEATS
    order(highlevel, "error_500_after")
    acme.book()
    acme.book(booking_body(**twins))
    work_once()
    first, second = Booking.objects.order_by("id")
    assert calls(highlevel) == 1
    assert [each.status for each in (first, second)] == ["pending", "pending"]
    assert not second.intent_open
    assert second.attempts == 0

    hurry(second)
    assert calls(highlevel) == 1

    assert hurry(first).status == Booking.Status.BOOKED
    assert hurry(second).status == Booking.Status.BOOKED
    assert {each.id for each in highlevel.diary.everything()} == {first.appointment_id, second.appointment_id}
    assert first.appointment_id != second.appointment_id


def test_it_does_not_fail_at_its_expiry_before_a_look_has_answered(acme: Persona, highlevel: World) -> None:
    order(highlevel, "error_500_after")
    order(highlevel, "error_500_before", "list_events")
    acme.book()
    work_once()
    Booking.objects.update(expires_at=Now() - timedelta(minutes=1), failures=6)

    unanswered = hurry(only_booking())
    assert unanswered.status == Booking.Status.PENDING
    assert unanswered.error["code"] == "outcome_unknown"
    # Not at once: a look that failed is no reason to hammer.
    assert unanswered.next_attempt_at > unanswered.updated_at

    assert hurry(only_booking()).status == Booking.Status.BOOKED


def test_it_expires_once_looks_have_found_nothing(acme: Persona, highlevel: World) -> None:
    order(highlevel, "error_500_before")
    acme.book()
    work_once()
    Booking.objects.update(expires_at=Now() - timedelta(minutes=1))

    hurry(only_booking())
    booking = settle(only_booking())

    assert booking.status == Booking.Status.FAILED
    assert booking.error["code"] == "expired"
    assert not booking.intent_open
    assert booking.unresolved_slot is None
    assert calls(highlevel) == 1


def test_it_looks_soon_after_giving_a_call_up(acme: Persona, highlevel: World) -> None:
    order(highlevel, "error_500_after")
    acme.book()
    Booking.objects.update(failures=9)
    work_once()

    assert (only_booking().next_attempt_at - timezone.now()).total_seconds() <= 1


def test_it_counts_the_time_to_settle_from_the_deadline_though_it_was_given_up_before(
    acme: Persona, highlevel: World, other_highlevel: Callable[..., None]
) -> None:
    other_highlevel(timeout=30)
    order(highlevel, "cut_before")
    acme.book()
    work_once()

    booking = only_booking()
    assert booking.call_deadline - booking.intent_at == timedelta(seconds=30)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("kind", "creates"), [("hang_after", 1), ("hang_before", 2)])
def test_it_finishes_what_a_killed_worker_began(
    acme: Persona, highlevel: World, kind: str, creates: int
) -> None:
    order(highlevel, kind, seconds=1)
    acme.book()
    with killed_worker():
        until(lambda: calls(highlevel), 20)

    abandoned = only_booking()
    assert abandoned.intent_open
    work_once()
    assert calls(highlevel) == 1, "its lease still stands"
    until(lambda: finished(highlevel))
    for _ in range(2):
        settle(abandoned)

    assert abandoned.status == Booking.Status.BOOKED
    assert calls(highlevel) == creates
    assert [each.id for each in highlevel.diary.everything()] == [abandoned.appointment_id]
