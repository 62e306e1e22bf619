"""A booking whose converging raises something unforeseen ends by itself and stops nobody else."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.db.models.functions import Now
from django.test import Client

from appointments.models import Booking
from appointments.outcomes import LONGEST_WAIT, MOST_CRASHES
from oauth.models import Token
from oauth.sealing import Sealed
from sandbox import World
from tests.appointments.conftest import calls, order
from tests.appointments.test_changing import booked, patch, shown
from tests.fixtures import Persona, booking_body, hurry, only_booking, work_once

CORRUPT = {"title": "It has no start"}


@pytest.fixture(autouse=True)
def _longest_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait of next to nothing would let one worker try twice in a row."""
    monkeypatch.setattr("random.random", lambda: 1.0)


def poisoned(acme: Persona) -> Booking:
    acme.book()
    Booking.objects.update(wish=CORRUPT)
    return only_booking()


def hurry_to_the_end(booking: Booking) -> Booking:
    for _ in range(MOST_CRASHES):
        if booking.is_ended:
            break
        hurry(booking)
    return booking


def test_it_is_tried_a_few_times(acme: Persona, highlevel: World) -> None:
    booking = poisoned(acme)

    for crashes in range(1, MOST_CRASHES):
        hurry(booking)
        assert (booking.status, booking.crashes) == (Booking.Status.PENDING, crashes)
        assert booking.error["code"] == "internal_error"
        assert booking.next_attempt_at is not None
    hurry(booking)

    assert booking.status == Booking.Status.FAILED
    assert booking.error["code"] == "internal_error"
    assert booking.next_attempt_at is None
    assert booking.lease is None
    assert calls(highlevel) == 0


def test_it_shows_the_trace_to_the_operator_and_not_to_the_tenant(acme: Persona) -> None:
    booking = hurry_to_the_end(poisoned(acme))
    assert "Traceback" in booking.trace
    assert "KeyError" in booking.trace
    Booking.objects.update(wish={**CORRUPT, "start_time": "2027-06-23T03:30:00Z"})

    answer = acme.api.get(f"/api/v1/bookings/{booking.pk}")
    timeline = acme.api.get(f"/api/v1/bookings/{booking.pk}/timeline")

    assert answer.json()["error"]["code"] == "internal_error"
    for each in (answer, timeline):
        assert "KeyError" not in each.content.decode()
        assert "Traceback" not in each.content.decode()
    operator = Client()
    operator.force_login(User.objects.create_superuser("operator"))
    page = operator.get(f"/admin/appointments/booking/{booking.pk}/change/")
    assert "KeyError" in page.content.decode()


def test_it_stops_no_other_booking(acme: Persona, highlevel: World) -> None:
    poison = poisoned(acme)
    acme.book(booking_body(title="Sound"))

    work_once()

    poison.refresh_from_db()
    assert (poison.status, poison.crashes) == (Booking.Status.PENDING, 1)
    assert Booking.objects.latest("id").status == Booking.Status.BOOKED


def test_it_can_be_retried_once_it_is_mended(acme: Persona) -> None:
    booking = poisoned(acme)
    wish = {"start_time": "2027-06-23T03:30:00Z", "calendar_id": booking.calendar_id}
    hurry_to_the_end(booking)
    Booking.objects.update(wish=wish)

    assert acme.api.post(f"/api/v1/bookings/{booking.pk}/retry").status_code == 202
    work_once()

    assert only_booking().status == Booking.Status.BOOKED
    assert only_booking().crashes == 0


def test_it_starts_to_count_anew_after_a_success(acme: Persona) -> None:
    acme.book()
    Booking.objects.update(crashes=MOST_CRASHES - 1)
    work_once()

    assert only_booking().crashes == 0


@pytest.mark.parametrize("length", [65, 500])
def test_it_repeats_no_create_whose_answer_could_not_be_kept(
    acme: Persona, highlevel: World, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """HighLevel made it, under an id that is longer than any it ever gave."""
    monkeypatch.setattr("sandbox.appointments.new_id", lambda: "x" * length)
    acme.book()

    booking = hurry_to_the_end(only_booking())

    assert booking.status == Booking.Status.FAILED
    assert booking.error["code"] == "internal_error"
    assert booking.intent_open, "a retry has to look"
    assert booking.unresolved_slot is None, "nobody waits for it"
    assert calls(highlevel) == 1


def test_it_looks_for_a_create_during_which_something_unforeseen_happened(
    acme: Persona, highlevel: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.appointments.new_id", lambda: "x" * 65)
    acme.book()
    work_once()
    monkeypatch.undo()
    # Its answer is readable the second time.
    [entry] = highlevel.diary.everything()
    highlevel.diary.remove(entry)
    highlevel.diary._versions.clear()
    highlevel.diary._by_contact.clear()
    highlevel.diary._by_day.clear()
    object.__setattr__(entry, "id", "short")
    highlevel.diary.keep(entry)

    hurry(only_booking())

    assert (only_booking().status, only_booking().appointment_id) == ("booked", "short")
    assert calls(highlevel) == 1


@pytest.mark.parametrize("wish", ["change", "cancel"])
def test_it_goes_on_slowly_with_what_highlevel_has(acme: Persona, wish: str) -> None:
    booking = booked(acme)
    if wish == "change":
        patch(acme, {"title": "Other"})
    else:
        acme.api.post(f"/api/v1/bookings/{booking.pk}/cancel")
    sound, known = only_booking().wish, only_booking().known
    Booking.objects.update(wish=[], known=[])
    for _ in range(MOST_CRASHES + 2):
        hurry(booking)

    assert booking.status == Booking.Status.BOOKED
    assert booking.error["code"] == "internal_error"
    assert booking.next_attempt_at - booking.updated_at == LONGEST_WAIT
    assert booking.crashes == MOST_CRASHES
    Booking.objects.update(wish=sound, known=known)
    hurry(booking)
    assert booking.status == ("booked" if wish == "change" else "cancelled")
    assert (booking.in_sync, booking.crashes) == (True, 0)


def test_it_tells_of_a_token_that_cannot_be_read_and_goes_on_once_it_can(
    acme: Persona, highlevel: World
) -> None:
    """The operator may have lost a key; the bookings of the location are not to be lost with it."""
    sealed = Token.objects.get().access_token
    Token.objects.update(access_token=Sealed("1.nonsense"))
    acme.book()
    for _ in range(MOST_CRASHES + 1):
        booking = hurry(only_booking())

    assert booking.status == Booking.Status.PENDING
    assert shown(acme)["error"]["code"] == "internal_error"
    assert (booking.crashes, calls(highlevel)) == (0, 0)
    Token.objects.update(access_token=sealed)
    assert hurry(booking).status == Booking.Status.BOOKED
    assert booking.error is None


def test_it_does_not_take_a_fault_of_the_database_for_the_bookings(
    acme: Persona, highlevel: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.book()
    # So it is read once more, in the middle of the step.
    Token.objects.update(expires_at=Now() - timedelta(hours=1))

    def gone(*_: Any, **__: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(Token.objects, "select_related", gone)
    with pytest.raises(OperationalError):
        work_once()
    monkeypatch.undo()

    assert only_booking().crashes == 0
    assert only_booking().lease is not None, "its lease ends by itself"


def test_it_forgets_no_unknown_outcome_over_a_crash(
    acme: Persona, highlevel: World, other_highlevel: Callable[..., None]
) -> None:
    order(highlevel, "error_500_after")
    acme.book()
    work_once()
    intent = only_booking().intent
    Booking.objects.update(intent={"title": "corrupt"})
    hurry(only_booking())
    assert only_booking().crashes == 1
    assert only_booking().intent_open
    Booking.objects.update(intent=intent)

    hurry(only_booking())

    assert only_booking().status == Booking.Status.BOOKED
    assert calls(highlevel) == 1
