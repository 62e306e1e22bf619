"""A worker books what was accepted, and of several workers each takes its own."""

from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from appointments import bookings, claiming
from appointments.models import Booking
from oauth.models import Location, Token
from sandbox import World
from sandbox.faults import Fault
from tests.appointments.conftest import at_once, calls, until
from tests.fixtures import ACME_LOCATION, Persona, booking_body, from_now, hurry, only_booking, work_once

LEASE = timedelta(seconds=10)


def claim() -> Booking | None:
    return claiming.claim(ACME_LOCATION, LEASE)


def test_it_books_an_accepted_request(acme: Persona, highlevel: World) -> None:
    answer = acme.book()

    assert answer.status_code == 202, answer.json()
    work_once()

    booking = acme.api.get(answer.headers["Location"]).json()
    [appointment] = highlevel.diary.everything()
    assert booking["status"] == "booked"
    assert booking["appointmentId"] == appointment.id
    assert booking["inSync"] is True
    assert booking["attempts"] == 1
    assert booking["nextAttemptAt"] is None
    assert booking["error"] is None


def test_it_has_nothing_left_to_do_afterwards(acme: Persona, highlevel: World) -> None:
    acme.book()
    work_once()
    work_once()

    hurry(only_booking())

    assert calls(highlevel) == 1
    assert only_booking().status == Booking.Status.BOOKED
    assert only_booking().next_attempt_at is None


def test_it_books_with_a_token_that_has_run_out(acme: Persona, highlevel: World) -> None:
    Token.objects.update(expires_at=Now() - timedelta(hours=1))
    acme.book()

    work_once()

    assert only_booking().status == Booking.Status.BOOKED
    assert highlevel.tokens.issued["refresh_token"] == 1
    assert calls(highlevel) == 1


def test_it_books_with_a_token_that_highlevel_has_revoked(acme: Persona, highlevel: World) -> None:
    highlevel.revoke_tokens(ACME_LOCATION)
    acme.book()

    work_once()

    assert only_booking().status == Booking.Status.BOOKED
    assert highlevel.tokens.issued["refresh_token"] == 1
    assert calls(highlevel) == 2
    assert only_booking().attempts == 2


def test_it_refreshes_once_for_a_call_and_then_comes_back(acme: Persona, highlevel: World) -> None:
    highlevel.faults.add(Fault("token_revoked", "create_appointment", times=2))
    acme.book()

    work_once()

    assert only_booking().status == Booking.Status.PENDING
    assert highlevel.tokens.issued["refresh_token"] == 1
    assert not only_booking().intent_open
    assert hurry(only_booking()).status == Booking.Status.BOOKED


def test_it_works_in_order_of_acceptance(acme: Persona, highlevel: World) -> None:
    titles = [f"number {number}" for number in range(5)]
    for title in titles:
        acme.book(booking_body(title=title, startTime="2027-06-23T03:30:00Z", endTime=None))
    highlevel.calendars[booking_body()["calendarId"]].seats = 9

    work_once()

    sent = [each.body["title"] for each in highlevel.calls.records if each.operation == "create_appointment"]
    assert sent == titles


@pytest.mark.django_db(transaction=True)
def test_it_gives_each_booking_to_one_worker(acme: Persona) -> None:
    accepted = [acme.book().json()["id"] for _ in range(24)]

    def take_all() -> list[str]:
        return [str(booking.pk) for booking in iter(claim, None)]

    taken = at_once(*[take_all] * 6)

    assert sorted(each for worker in taken for each in worker) == sorted(accepted)
    assert all(worker == sorted(worker) for worker in taken)


@pytest.mark.django_db(transaction=True)
def test_it_passes_over_a_booking_that_another_worker_is_claiming(acme: Persona) -> None:
    oldest, next_one = (acme.book().json()["id"] for _ in range(2))

    with transaction.atomic():
        Booking.objects.select_for_update().get(pk=oldest)
        [taken] = at_once(claim)

    assert str(taken.pk) == next_one


def test_it_claims_nothing_before_its_time(acme: Persona) -> None:
    acme.book()
    Booking.objects.update(next_attempt_at=Now() + timedelta(seconds=1))

    assert claim() is None


def test_it_claims_nothing_while_the_location_waits(acme: Persona) -> None:
    acme.book()
    acme.location.brake(acme.location.Waiting.RATE_LIMITED, timedelta(seconds=30))

    assert claim() is None


def test_it_claims_with_the_locations_token(acme: Persona) -> None:
    acme.book()

    claimed = claim()

    assert claimed is not None
    assert claimed.token is not None
    assert claimed.token.access_token == Token.objects.get().access_token
    assert claimed.wish == only_booking().wish


@pytest.mark.parametrize("status", Location.DISCONNECTED)
def test_it_claims_without_the_token_of_a_disconnected_location(
    acme: Persona, status: Location.Status
) -> None:
    acme.book()
    Location.objects.update(status=status)

    claimed = claim()

    assert claimed is not None
    assert claimed.token is None


def test_it_takes_over_a_lease_that_has_ended(acme: Persona) -> None:
    acme.book()
    first = claim()
    assert claim() is None
    Booking.objects.update(lease_until=Now() - timedelta(seconds=1))

    second = claim()

    assert first is not None
    assert second is not None
    assert first.pk == second.pk
    assert first.lease != second.lease


@pytest.mark.parametrize("taken_over", [False, True])
def test_it_creates_nothing_once_its_lease_has_ended(
    acme: Persona, highlevel: World, taken_over: bool
) -> None:
    acme.book()
    slow = claim()
    assert slow is not None
    Booking.objects.update(lease_until=Now() - timedelta(seconds=1))
    if taken_over:
        assert claim() is not None

    bookings.converge(slow)

    assert calls(highlevel) == 0
    assert only_booking().intent is None


def test_it_writes_no_outcome_over_a_lease_that_is_anothers(acme: Persona, highlevel: World) -> None:
    acme.book(booking_body(expiresAt=from_now(days=30)))
    slow = claim()
    assert slow is not None
    Booking.objects.update(lease_until=Now() - timedelta(seconds=1))
    other = claim()
    assert other is not None
    slow.expires_at = slow.claimed_at

    bookings.converge(slow)

    assert only_booking().status == Booking.Status.PENDING
    assert only_booking().lease == other.lease


@pytest.mark.django_db(transaction=True)
def test_it_creates_nothing_after_losing_its_lease_while_it_waited(acme: Persona, highlevel: World) -> None:
    """A claims and waits for a token, its lease ends; B claims, sees no earlier call, creates; A wakes."""
    acme.book()
    Token.objects.update(expires_at=Now() - timedelta(hours=1))
    highlevel.faults.add(Fault("hang_after", "token", seconds=0.8))
    slow = Thread(target=_work_in_thread)
    slow.start()
    until(lambda: calls(highlevel, "token"))
    Booking.objects.update(lease_until=Now() - timedelta(seconds=1))
    Token.objects.update(expires_at=Now() + timedelta(hours=1))

    work_once()
    assert only_booking().status == Booking.Status.BOOKED
    assert slow.is_alive()
    slow.join()

    assert calls(highlevel) == 1
    assert only_booking().status == Booking.Status.BOOKED


@pytest.mark.django_db(transaction=True)
def test_it_goes_on_at_once_where_the_wish_changed_during_the_call(acme: Persona, highlevel: World) -> None:
    acme.book()
    highlevel.faults.add(Fault("hang_after", "create_appointment", seconds=0.5))
    worker = Thread(target=_take_one_step)
    worker.start()
    until(lambda: calls(highlevel))
    Booking.objects.update(wish_version=F("wish_version") + 1, next_attempt_at=Now())
    worker.join()

    booking = acme.api.get(f"/api/v1/bookings/{only_booking().pk}").json()
    assert booking["status"] == "booked"
    assert booking["inSync"] is False
    assert Booking.objects.due().count() == 1


@pytest.mark.django_db(transaction=True)
def test_it_commits_the_intent_before_the_call_leaves(acme: Persona, highlevel: World) -> None:
    acme.book()
    highlevel.faults.add(Fault("hang_after", "create_appointment", seconds=0.5))
    worker = Thread(target=_work_in_thread)
    worker.start()
    until(lambda: calls(highlevel))

    booking = only_booking()
    worker.join()
    assert booking.intent_open
    assert booking.intent["start_time"] == booking_body()["startTime"]
    assert booking.intent_version == 1
    assert booking.lease_until > booking.call_deadline
    assert not only_booking().intent_open


def _work_in_thread() -> Any:
    try:
        work_once()
    finally:
        connection.close()


def _take_one_step() -> None:
    try:
        if booking := claim():
            bookings.converge(booking)
    finally:
        connection.close()
