"""Appointments that turn up once nobody looks for them any more (rule 11): HighLevel was slower than it promised."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.test import Client
from prometheus_client import REGISTRY

from appointments import reconciling, sweeping
from appointments.models import Booking, Comparison, LostCreate
from appointments.times import instant
from oauth.models import Location
from sandbox import World
from sandbox.letters import PUBLIC_KEY_PEM
from sandbox.records import Appointment
from tests.appointments.conftest import LONG, calls, order, sent, settle
from tests.appointments.post import deliver, letters, process
from tests.appointments.test_changing import shown
from tests.appointments.test_letters_of_appointments import noted
from tests.fixtures import (
    ACME_CALENDAR,
    ACME_CONTACT,
    ACME_LOCATION,
    Persona,
    booking_body,
    end_brake,
    hurry,
    only_booking,
    work_once,
)
from webhooks.models import Letter

START = instant(booking_body()["startTime"])


@pytest.fixture(autouse=True)
def _sandboxs_key(settings: Any) -> None:
    settings.GHL_WEBHOOK_PUBLIC_KEYS = PUBLIC_KEY_PEM


def by_letter(highlevel: World) -> None:
    deliver(letters(highlevel))
    work_once()


def by_comparing(highlevel: World) -> None:
    Comparison.objects.update(due_at=Now())
    reconciling._plan_new()
    Comparison.objects.update(due_at=Now())
    reconciling.compare_due()
    work_once()


ways = pytest.mark.parametrize("tell", [by_letter, by_comparing])
Tell = Callable[[World], None]


def lose(acme: Persona, highlevel: World) -> None:
    """A create without an answer, which the next look will take not to have happened."""
    order(highlevel, "error_500_before")
    acme.book()
    work_once()
    settle(only_booking())


def fail_for_good(acme: Persona, highlevel: World) -> None:
    lose(acme, highlevel)
    Booking.objects.update(expires_at=Now())
    assert hurry(only_booking()).error["code"] == "expired"


def cancel(acme: Persona, highlevel: World) -> None:
    lose(acme, highlevel)
    acme.api.post(f"/api/v1/bookings/{only_booking().pk}/cancel")
    work_once()
    assert only_booking().status == Booking.Status.CANCELLED


def book_again(acme: Persona, highlevel: World) -> None:
    lose(acme, highlevel)
    assert hurry(only_booking()).status == Booking.Status.BOOKED


def turn_up(highlevel: World, **changes: Any) -> Appointment:
    """HighLevel gets round to what it was asked for."""
    highlevel.calendars[ACME_CALENDAR].seats = 5
    entry = highlevel.staff_book(ACME_CALENDAR, ACME_CONTACT, START, title="Test Event", source="third_party")
    if changes:
        entry = replace(entry, **changes)
        highlevel.diary.keep(entry)
    return entry


@ways
def test_it_cancels_what_a_cancelled_booking_made(acme: Persona, highlevel: World, tell: Tell) -> None:
    cancel(acme, highlevel)
    entry = turn_up(highlevel)

    tell(highlevel)

    assert [each.status for each in highlevel.diary.everything()] == ["cancelled"]
    ended = shown(acme)
    assert (ended["status"], ended["appointmentId"], ended["inSync"]) == ("cancelled", entry.id, True)
    assert noted()[-1] == f"{entry.id} turned up in HighLevel, to be cancelled too"
    assert not only_booking().is_orphaned


def test_it_cancels_it_until_it_is_done(acme: Persona, highlevel: World) -> None:
    cancel(acme, highlevel)
    turn_up(highlevel)
    order(highlevel, "error_500_after", "update_appointment")
    by_letter(highlevel)
    waiting = shown(acme)
    assert (waiting["status"], waiting["inSync"]) == ("cancelled", False)
    assert waiting["error"]["code"] == "outcome_unknown"

    hurry(only_booking())

    assert (shown(acme)["inSync"], shown(acme)["error"]) == (True, None)
    assert [each.status for each in highlevel.diary.everything()] == ["cancelled"]


@ways
def test_it_adopts_what_a_failed_booking_made(acme: Persona, highlevel: World, tell: Tell) -> None:
    fail_for_good(acme, highlevel)
    entry = turn_up(highlevel)

    tell(highlevel)

    booked = shown(acme)
    assert (booked["status"], booked["appointmentId"], booked["error"]) == ("booked", entry.id, None)
    assert (booked["inSync"], booked["nextAttemptAt"]) == (True, None)
    assert "turned up in HighLevel" in noted()


@ways
def test_it_suspects_a_second_one_and_removes_nothing(acme: Persona, highlevel: World, tell: Tell) -> None:
    book_again(acme, highlevel)
    mine, before = only_booking().appointment_id, _suspected()
    entry = turn_up(highlevel)

    tell(highlevel)
    tell(highlevel)

    booking = only_booking()
    assert (booking.status, booking.appointment_id) == (Booking.Status.BOOKED, mine)
    assert booking.duplicate_suspected
    assert noted().count(f"duplicate suspected: {entry.id} stands in HighLevel too") == 1
    assert _suspected() == before + 1
    assert {each.status for each in highlevel.diary.everything()} == {"confirmed"}
    assert len(highlevel.diary.everything()) == 2
    assert sent(highlevel) == []


def _suspected() -> float:
    return REGISTRY.get_sample_value("bookings_duplicate_suspected_total") or 0.0


def test_its_operator_finds_suspected_duplicates(acme: Persona, highlevel: World) -> None:
    book_again(acme, highlevel)
    turn_up(highlevel)
    by_letter(highlevel)
    operator = Client()
    operator.force_login(User.objects.create_superuser("operator"))

    listed = [
        str(only_booking().pk)
        in operator.get(f"/admin/appointments/booking/?duplicate_suspected__exact={value}").content.decode()
        for value in (1, 0)
    ]

    assert listed == [True, False]


def test_it_does_not_create_again_what_turns_up_in_time(acme: Persona, highlevel: World) -> None:
    order(highlevel, "error_500_before")
    order(highlevel, "too_many_requests", retry_after=60)
    acme.book()
    work_once()
    settle(only_booking())
    settle(only_booking())
    assert (only_booking().status, only_booking().intent_open) == (Booking.Status.PENDING, False)
    entry = turn_up(highlevel)
    Location.objects.update(not_before=None)

    # Nobody may ask HighLevel about it yet, and it is not made anew before somebody has.
    by_letter(highlevel)
    end_brake()
    work_once()
    assert shown(acme)["status"] == "pending"
    process()
    work_once()

    assert (shown(acme)["status"], shown(acme)["appointmentId"]) == ("booked", entry.id)
    assert len(highlevel.diary.everything()) == 1


def test_it_comes_back_while_somebody_works_on_the_booking(acme: Persona, highlevel: World) -> None:
    cancel(acme, highlevel)
    turn_up(highlevel)
    Booking.objects.update(lease="019d0000-0000-7000-8000-000000000000", lease_until=Now() + LONG)
    by_letter(highlevel)
    assert Letter.objects.exclude(error="").get().status == Letter.Status.RECEIVED
    assert only_booking().appointment_id is None

    Booking.objects.update(lease=None, lease_until=None)
    process()
    work_once()

    assert [each.status for each in highlevel.diary.everything()] == ["cancelled"]


@ways
def test_it_leaves_alone_what_people_book_where_nothing_was_lost(
    acme: Persona, highlevel: World, tell: Tell
) -> None:
    """The same calendar, contact and start as a booking that was cancelled before it was made."""
    acme.book()
    acme.api.post(f"/api/v1/bookings/{only_booking().pk}/cancel")
    highlevel.staff_book(ACME_CALENDAR, ACME_CONTACT, START)

    tell(highlevel)

    assert [each.status for each in highlevel.diary.everything()] == ["confirmed"]
    assert only_booking().appointment_id is None


@pytest.mark.parametrize(
    "other",
    [
        {"starts_at": START + timedelta(hours=1), "ends_at": START + timedelta(hours=2)},
        {"contact_id": "somebody else"},
        {"added_at": "later"},
        {"added_at": "before"},
    ],
)
def test_it_leaves_alone_what_its_create_cannot_have_made(
    acme: Persona, highlevel: World, other: dict[str, Any]
) -> None:
    cancel(acme, highlevel)
    [lost] = LostCreate.objects.all()
    hours = {"later": timedelta(hours=2), "before": -timedelta(hours=2)}
    moments: dict[str, datetime] = {name: lost.sent_at + hours[name] for name in hours}
    entry = turn_up(highlevel)
    highlevel.diary.keep(replace(entry, **{k: moments.get(v, v) for k, v in other.items()}))
    by_comparing(highlevel)

    assert only_booking().appointment_id is None
    assert [each.status for each in highlevel.diary.everything()] == ["confirmed"]


def test_it_leaves_alone_what_is_cancelled_already(acme: Persona, highlevel: World) -> None:
    fail_for_good(acme, highlevel)
    turn_up(highlevel, status="cancelled")
    by_comparing(highlevel)

    assert only_booking().status == Booking.Status.FAILED


def test_it_cancels_for_the_second_time_what_was_made_twice(acme: Persona, highlevel: World) -> None:
    book_again(acme, highlevel)
    acme.api.post(f"/api/v1/bookings/{only_booking().pk}/cancel")
    work_once()
    turn_up(highlevel)

    by_letter(highlevel)

    assert [each.status for each in highlevel.diary.everything()] == ["cancelled", "cancelled"]
    assert shown(acme)["status"] == "cancelled"


def test_it_adopts_what_was_made_before_the_app_was_uninstalled(
    acme: Persona, highlevel: World, connect: Callable[[str], Any]
) -> None:
    order(highlevel, "error_500_after")
    acme.book()
    work_once()
    acme.location.disconnect()
    assert hurry(only_booking()).error["code"] == "outcome_unknown"
    connect(ACME_LOCATION)

    by_letter(highlevel)

    assert shown(acme)["status"] == "booked"
    assert shown(acme)["appointmentId"] == highlevel.diary.everything()[0].id
    assert calls(highlevel) == 1


def test_it_gives_an_appointment_to_one_booking_only(acme: Persona, highlevel: World) -> None:
    """Two creates for the same place were lost, and one of them turns up."""
    for _ in range(2):
        order(highlevel, "error_500_before")
        acme.book()
        work_once()
        newest = Booking.objects.latest("id")
        for _ in range(2):
            settle(newest)
            order(highlevel, "error_500_before")
        Booking.objects.filter(pk=newest.pk).update(expires_at=Now(), status="failed", intent_open=False)
        Booking.objects.filter(pk=newest.pk).update(unresolved_slot=None, next_attempt_at=None)
    highlevel.faults.clear()
    assert LostCreate.objects.count() >= 2
    entry = turn_up(highlevel)

    by_letter(highlevel)
    by_letter(highlevel)

    assert Booking.objects.filter(appointment_id=entry.id).count() == 1
    assert sorted(Booking.objects.values_list("status", flat=True)) == ["booked", "failed"]


def test_it_cancels_it_once_the_app_is_installed_again(
    acme: Persona, highlevel: World, connect: Callable[[str], Any]
) -> None:
    cancel(acme, highlevel)
    turn_up(highlevel)
    deliver(letters(highlevel))
    acme.location.disconnect()
    sweeping.sweep()
    work_once()
    assert only_booking().is_orphaned
    assert [each.status for each in highlevel.diary.everything()] == ["confirmed"]
    connect(ACME_LOCATION)

    sweeping.sweep()
    work_once()

    assert [each.status for each in highlevel.diary.everything()] == ["cancelled"]


@pytest.mark.parametrize("end", [cancel, fail_for_good])
def test_it_takes_no_appointment_from_an_event_alone(acme: Persona, highlevel: World, end: Any) -> None:
    end(acme, highlevel)
    entry = turn_up(highlevel)
    [letter] = letters(highlevel)
    made = letter.content["appointment"]
    # It is another's by HighLevel's own word, whatever the event says; and one that HighLevel does not have.
    highlevel.diary.keep(replace(entry, contact_id="somebody-else"))
    unknown = {**letter.content, "webhookId": "forged", "appointment": {**made, "id": "nowhere"}}

    deliver([letter, highlevel.letters.post(unknown)])
    work_once()

    assert only_booking().appointment_id is None
    assert [each.status for each in highlevel.diary.everything()] == ["confirmed"]


def test_it_asks_again_where_highlevel_does_not_answer_an_event(acme: Persona, highlevel: World) -> None:
    cancel(acme, highlevel)
    turn_up(highlevel)
    order(highlevel, "error_500_before", "get_appointment")
    deliver(letters(highlevel))
    assert only_booking().appointment_id is None

    process()
    work_once()

    assert [each.status for each in highlevel.diary.everything()] == ["cancelled"]
