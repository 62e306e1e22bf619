"""Messages wake workers, one for each location at a time; accepting does without them where Redis is away."""

import json
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.db import connection

from appointments import sweeping, tasks, turns, working
from appointments.models import Booking
from ghlapp.celery import app
from oauth import wakeups
from oauth.models import Location
from sandbox import World
from sandbox.faults import Fault
from tests.appointments.conftest import calls, forget_the_broker, until
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona, booking_body, only_booking, work_once

QUEUE = "wake-ups"


def sent(broker: redis.Redis) -> list[dict[str, Any]]:
    """The messages that wake workers for bookings, newest first. Others look after installs."""
    messages = [json.loads(message) for message in broker.lrange(QUEUE, 0, -1)]
    return [message for message in messages if message["headers"]["task"] == tasks.converge.name]


@pytest.fixture
def broker() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(django_settings.REDIS_URL) as client:
        yield client


def test_it_wakes_a_worker_for_what_was_accepted(acme: Persona, broker: redis.Redis) -> None:
    acme.book()

    assert len(sent(broker)) == 1


def test_it_sends_one_message_for_many_bookings_of_a_location(acme: Persona, broker: redis.Redis) -> None:
    for _ in range(3):
        acme.book()

    assert len(sent(broker)) == 1


def test_it_wakes_each_location_for_itself(acme: Persona, globex: Persona, broker: redis.Redis) -> None:
    acme.book()
    globex.book(booking_body(locationId=GLOBEX_LOCATION))

    assert len(sent(broker)) == 2


def test_it_wakes_nobody_for_a_refused_request(acme: Persona, broker: redis.Redis) -> None:
    acme.book(booking_body(startTime="soon"))

    assert len(sent(broker)) == 0


def test_it_wakes_nobody_for_a_location_that_must_wait(acme: Persona, broker: redis.Redis) -> None:
    acme.location.brake(Location.Waiting.RATE_LIMITED, timedelta(hours=1))
    broker.flushdb()

    acme.book()

    assert broker.llen(QUEUE) == 0
    assert broker.zcard("turns:ready") == 0


@pytest.mark.django_db(transaction=True)
def test_it_wakes_again_for_what_comes_in_while_a_worker_is_busy(
    acme: Persona, highlevel: World, broker: redis.Redis
) -> None:
    """The worker takes the location's turn before it reads what is due, not after."""
    highlevel.faults.add(Fault("hang_after", "create_appointment", seconds=0.5))
    acme.book()
    broker.delete(QUEUE)
    worker = Thread(target=_work)
    worker.start()
    until(lambda: calls(highlevel))

    acme.book(booking_body(startTime="2027-06-24T03:30:00Z", endTime=None))

    assert len(sent(broker)) == 1
    worker.join()


def test_it_gives_messages_no_expiry(acme: Persona, broker: redis.Redis) -> None:
    """Nobody's clock is to be right: a worker a minute ahead of the web process would discard them all."""
    acme.book()

    message = sent(broker)[0]
    assert message["headers"]["expires"] is None


def test_it_names_a_task_that_exists(acme: Persona, broker: redis.Redis) -> None:
    acme.book()
    app.loader.import_default_modules()

    message = sent(broker)[0]
    assert message["headers"]["task"] == tasks.converge.name in app.tasks


def test_it_books_when_its_message_is_carried_out(acme: Persona, broker: redis.Redis) -> None:
    acme.book()

    tasks.converge()

    assert only_booking().status == Booking.Status.BOOKED


@pytest.fixture(params=["stopped", "frozen"])
def broken_redis(request: pytest.FixtureRequest, settings: Any) -> Iterator[None]:
    """Nobody listens; or somebody takes the connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if request.param == "stopped":
            silent.close()
        settings.REDIS_URL = f"redis://:secret@127.0.0.1:{port}/0"
        forget_the_broker()
        yield
    forget_the_broker()


@pytest.mark.usefixtures("broken_redis")
def test_it_accepts_within_a_second_without_redis(acme: Persona) -> None:
    started = time.monotonic()

    answer = acme.book()

    assert answer.status_code == 202
    assert time.monotonic() - started < 0.8


@pytest.mark.usefixtures("broken_redis")
def test_it_gives_up_at_once_where_redis_goes_away_before_the_message() -> None:
    started = time.monotonic()

    turns.go_on()

    assert wakeups._skip_until > started
    assert time.monotonic() - started < 3


@pytest.mark.usefixtures("broken_redis")
def test_it_does_not_ask_redis_again_for_five_seconds(acme: Persona) -> None:
    acme.book()
    assert 4 < wakeups._skip_until - time.monotonic() <= 5

    started = time.monotonic()
    for _ in range(10):
        turns.wake(ACME_LOCATION)
    assert time.monotonic() - started < 0.05

    wakeups._skip_until = time.monotonic() - 0.001
    turns.wake(ACME_LOCATION)
    assert wakeups._skip_until > time.monotonic()


def test_it_starts_nothing_without_redis_and_goes_on_when_it_is_back(acme: Persona, settings: Any) -> None:
    """Nobody knows how many calls have left: those in hand finish, no other begins."""
    there = settings.REDIS_URL
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    forget_the_broker()
    acme.book()
    work_once()
    assert (only_booking().status, only_booking().attempts) == (Booking.Status.PENDING, 0)

    settings.REDIS_URL = there
    forget_the_broker()
    work_once()

    assert only_booking().status == Booking.Status.BOOKED


def test_it_finds_in_the_sweep_what_no_message_woke(acme: Persona, broker: redis.Redis) -> None:
    acme.book()
    broker.flushdb()

    sweeping.sweep()

    assert len(sent(broker)) == 1


def test_it_sweeps_up_each_location_once_and_only_what_is_due(
    acme: Persona, globex: Persona, broker: redis.Redis
) -> None:
    acme.book()
    acme.book()
    globex.book(booking_body(locationId=GLOBEX_LOCATION))
    Booking.objects.filter(location=globex.location).update(next_attempt_at=None)
    broker.flushdb()

    tasks.sweep()

    assert len(sent(broker)) == 1


def test_it_sends_the_messages_that_were_lost(acme: Persona, globex: Persona, broker: redis.Redis) -> None:
    acme.book()
    globex.book(booking_body(locationId=GLOBEX_LOCATION))
    broker.delete(QUEUE)

    sweeping.sweep()

    assert len(sent(broker)) == 2


def _work() -> None:
    try:
        working.work()
    finally:
        connection.close()
