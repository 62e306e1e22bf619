"""Locations take turns: whoever was served longest ago is next, and nobody calls more often than HighLevel allows."""

import time
from datetime import timedelta
from threading import BoundedSemaphore
from typing import Any

import pytest
import redis
from celery.worker import state
from django.conf import settings
from django.db import OperationalError, connection

from appointments import sweeping, tasks, turns, working
from appointments.models import Booking
from oauth import pace
from sandbox import World
from tests.appointments.conftest import calls, order, until
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona, booking_body, only_booking, turn_of

HOUR = timedelta(hours=1)


@pytest.fixture
def broker() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, decode_responses=True)


def book_several(persona: Persona, count: int) -> None:
    for day in range(1, count + 1):
        persona.book(booking_body(startTime=f"2027-05-{day:02}T00:00:00Z", endTime=None))


def next_one() -> str | None:
    turn, _ = turns.take()
    return turn and turn.location_id


def next_ones(count: int) -> list[str | None]:
    return [next_one() for _ in range(count)]


def test_it_serves_whoever_was_served_longest_ago() -> None:
    for name in ("a", "b"):
        turns.wake(name)
    first, second = next_ones(2)
    for name in ("b", "a"):
        turns.wake(name)

    assert next_ones(3) == [first, second, None]


def test_it_serves_an_idle_location_before_all_that_are_busy() -> None:
    busy = [f"busy {number}" for number in range(200)]
    for name in busy:
        turns.wake(name)
    next_ones(200)
    for name in busy:
        turns.wake(name)

    turns.wake("idle")

    assert next_ones(1) == ["idle"]


def test_it_gives_a_location_one_turn_however_often_it_is_woken() -> None:
    for _ in range(3):
        turns.wake("a")

    assert next_ones(2) == ["a", None]


def test_it_gives_a_turn_later_and_says_when() -> None:
    turns.later("a", timedelta(milliseconds=150))
    turns.later("a", HOUR)

    turn, wait = turns.take()

    assert turn is None
    assert wait is not None
    assert timedelta(0) < wait <= timedelta(milliseconds=150)
    assert until(next_one, 5) == "a"


def test_it_knows_of_no_turn_where_there_is_none() -> None:
    assert turns.take() == (None, None)


def test_it_sends_no_more_messages_than_there_may_be_threads(broker: redis.Redis) -> None:
    for number in range(150):
        turns.wake(f"location {number}")

    assert broker.llen("wake-ups") == 40
    assert broker.zcard("turns:ready") == 150


def test_it_works_until_nothing_is_due(acme: Persona, globex: Persona) -> None:
    book_several(acme, 5)
    globex.book(booking_body(locationId=GLOBEX_LOCATION, contactId=None, contact={"email": "b@example.com"}))

    working.work()

    assert not Booking.objects.filter(status="pending").exists()


def test_it_leaves_the_rest_of_a_location_to_other_threads(acme: Persona) -> None:
    book_several(acme, 3)
    turns.take()

    working.serve(turn_of(ACME_LOCATION))

    assert next_ones(2) == [ACME_LOCATION, None]
    working.serve(turn_of(ACME_LOCATION))
    turns.take()
    working.serve(turn_of(ACME_LOCATION))
    assert next_ones(1) == [None]


def test_it_takes_the_next_step_when_its_time_has_come(acme: Persona, highlevel: World) -> None:
    """Not when the sweep happens to come by."""
    order(highlevel, "error_500_before")
    acme.book()

    working.work()

    assert only_booking().status == "booked"
    assert calls(highlevel) == 2


def test_it_claims_nothing_while_the_allowance_is_used_up(acme: Persona, highlevel: World) -> None:
    pace.back_off(pace.location(ACME_LOCATION), HOUR)
    acme.book()

    assert not working.serve(turn_of(ACME_LOCATION))

    assert only_booking().lease is None
    assert calls(highlevel) == 0


def test_a_turn_brings_a_slot_of_its_locations_allowance() -> None:
    turns.wake("a")

    turn, _ = turns.take()

    assert turn is not None
    assert turn.slot is not None
    assert turn.slot.resource == pace.location("a")
    assert pace.take(pace.location("a"), pace.Use.BOOKING).taken == 2


def test_a_turn_says_how_long_none_of_its_calls_may_leave() -> None:
    pace.back_off(pace.location("a"), HOUR)
    turns.wake("a")

    turn, _ = turns.take()

    assert turn is not None
    assert turn.slot is None
    assert HOUR - timedelta(minutes=1) < turn.wait <= HOUR


def test_it_gives_the_slot_back_where_the_database_fails(acme: Persona) -> None:
    acme.book()

    def gone(*_: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with connection.execute_wrapper(gone), pytest.raises(OperationalError):
        working.serve(turn_of(ACME_LOCATION))

    assert pace.take(pace.location(ACME_LOCATION), pace.Use.BOOKING).taken == 1


def test_it_keeps_to_the_limit(acme: Persona, highlevel: World) -> None:
    highlevel.settings.rate_limit_burst = 20
    highlevel.settings.rate_limit_interval_seconds = 1.0
    book_several(acme, 30)

    until(lambda: working.work() or not Booking.objects.filter(status="pending").exists(), 30)

    assert Booking.objects.filter(status="booked").count() == 30
    assert {record.outcome for record in highlevel.calls.records} <= {"200", "201"}


def test_it_counts_no_call_that_was_not_made(acme: Persona, broker: redis.Redis) -> None:
    """A booking that was cancelled meanwhile costs nothing."""
    for _ in range(40):
        assert not working.serve(turn_of(ACME_LOCATION))

    assert broker.zcard(f"pace:location:{ACME_LOCATION}:slots") == 0


def test_it_parks_a_location_whose_daily_quota_is_used_up(acme: Persona, highlevel: World) -> None:
    highlevel.settings.rate_limit_daily = 2
    book_several(acme, 3)

    working.work()

    shown = [each["status"] for each in acme.api.get("/api/v1/bookings").json()["results"]]
    assert sorted(shown) == ["booked", "booked", "pending"]
    location = acme.api.get(f"/api/v1/locations/{ACME_LOCATION}").json()
    assert location["waitingFor"] == "daily_quota"
    assert calls(highlevel) == 2


def test_it_spares_a_new_installation_the_first_wait(acme: Persona, broker: redis.Redis) -> None:
    broker.flushdb()
    with pytest.raises(pace.MustWait):
        take_ten()

    working.begin()

    take_ten()


def test_it_does_not_where_calls_may_have_left_lately(acme: Persona, broker: redis.Redis) -> None:
    acme.book()
    working.serve(turn_of(ACME_LOCATION))
    broker.flushdb()

    working.begin()

    with pytest.raises(pace.MustWait):
        take_ten()


def take_ten() -> None:
    for _ in range(10):
        pace.take(pace.location("another"), pace.Use.BOOKING)


def test_it_leaves_the_rest_to_others_when_it_is_told_to_stop(acme: Persona, broker: redis.Redis) -> None:
    book_several(acme, 3)
    broker.delete("wake-ups")
    asked: list[bool] = []

    working.work(is_stopping=lambda: bool(asked.append(True)) or len(asked) > 1)

    assert Booking.objects.filter(status="booked").count() == 1
    assert broker.llen("wake-ups") > 0


def test_it_does_not_sit_out_what_the_sweep_will_find(acme: Persona) -> None:
    turns.later(ACME_LOCATION, HOUR)

    working.work()

    assert turns.take()[1] is not None


def test_it_serves_idle_locations_first_come_first_served(broker: redis.Redis) -> None:
    turns.wake("zzz")
    broker.zadd("turns:ready", {"zzz": -1}, incr=True)
    for number in range(5):
        turns.wake(f"a{number}")

    assert next_ones(1) == ["zzz"]


def test_it_remembers_each_of_a_locations_moments() -> None:
    turns.later("a", timedelta(milliseconds=50))
    turns.later("a", timedelta(milliseconds=600))

    assert until(next_one, 5) == "a"
    assert until(next_one, 5) == "a"
    assert turns.take() == (None, None)


def test_it_wakes_others_for_what_became_ready_by_the_clock(broker: redis.Redis) -> None:
    for number in range(3):
        turns.later(f"location {number}", timedelta(0))

    turns.take()

    assert broker.llen("wake-ups") == 1


def test_it_calls_others_where_a_seat_is_free_else_now_and_then(
    acme: Persona, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    book_several(acme, 4)
    monkeypatch.setattr(working, "seats", BoundedSemaphore(1))

    def messages_of_one_turn() -> int:
        broker.delete("wake-ups")
        turn, _ = turns.take(working._may_others_have_room)
        assert turn is not None
        assert working.serve(turn)
        return broker.llen("wake-ups")

    assert messages_of_one_turn() == 1
    working.seats.acquire()
    monkeypatch.setattr(working, "CALL_EVERY_SECONDS", HOUR.total_seconds())
    assert messages_of_one_turn() == 0
    # Nobody else waits for a turn: the one call that it may make is left for what it shares.
    monkeypatch.setattr(working, "_called_at", -2 * HOUR.total_seconds())
    assert messages_of_one_turn() == 1


def test_it_leaves_threads_for_what_else_comes_up(acme: Persona, monkeypatch: pytest.MonkeyPatch) -> None:
    acme.book()
    monkeypatch.setattr(working, "seats", BoundedSemaphore(1))
    working.seats.acquire()

    working.work()
    assert only_booking().status == "pending"

    working.seats.release()
    working.work()
    assert only_booking().status == "booked"


def test_it_outlasts_a_moment_without_redis(acme: Persona, monkeypatch: pytest.MonkeyPatch) -> None:
    """One late answer of a busy Redis does not end the work."""
    monkeypatch.setattr(turns, "_skip_until", time.monotonic() + 0.2)
    acme.book()

    working.work()

    assert only_booking().status == "booked"


@pytest.mark.parametrize(("should_stop", "expected"), [(None, False), (False, False), (0, True), (1, True)])
def test_it_knows_that_it_is_told_to_stop(
    monkeypatch: pytest.MonkeyPatch, should_stop: Any, expected: bool
) -> None:
    monkeypatch.setattr(state, "should_stop", should_stop)

    assert tasks._is_stopping() == expected


def test_it_sweeps_up_however_many_locations_there_are(
    acme: Persona, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch, globex: Persona
) -> None:
    monkeypatch.setattr(sweeping, "SWEPT_AT_ONCE", 1)
    acme.book()
    globex.book(booking_body(locationId=GLOBEX_LOCATION))
    broker.flushdb()

    sweeping.sweep()

    assert broker.zcard("turns:ready") == 2
