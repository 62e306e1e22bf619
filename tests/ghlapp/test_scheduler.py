"""Periodic tasks are sent at their intervals, whatever is done to the machine's clock."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis
import time_machine
from celery import Celery
from django.conf import settings
from django.utils import timezone

from ghlapp import scheduler
from ghlapp.celery import app

SWEEP, COMPARE = "appointments.tasks.sweep", "appointments.tasks.compare"
EVERY_SECONDS = 1
WAIT_SECONDS = 10


@pytest.fixture
def broker() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        yield client


@pytest.fixture
def beat(broker: redis.Redis) -> Iterator[scheduler.Scheduler]:
    """A scheduler that sends SWEEP each second and COMPARE each hour."""
    small = Celery("small", broker=settings.REDIS_URL, set_as_current=False)
    small.conf.beat_schedule = scheduler.periodic({SWEEP: EVERY_SECONDS, COMPARE: 3600})
    beat = scheduler.Scheduler(app=small)
    yield beat
    beat.connection.close()
    small.close()


def sent(broker: redis.Redis, task: str = SWEEP) -> int:
    return broker.llen(scheduler.queue_of(task))


def tick_until_sent(beat: scheduler.Scheduler, broker: redis.Redis, task: str = SWEEP) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not sent(broker, task):
        assert time.monotonic() < until, f"no {task} after {WAIT_SECONDS} s"
        time.sleep(max(0.0, min(beat.tick(), 0.1)))


def take(broker: redis.Redis, task: str = SWEEP) -> dict[str, dict[str, object]]:
    """As a worker does that takes the next message."""
    message = broker.rpop(scheduler.queue_of(task))
    assert isinstance(message, bytes)
    taken: dict[str, dict[str, object]] = json.loads(message)
    return taken


@pytest.mark.parametrize("hours", [-1, 1, -24])
def test_it_goes_on_when_the_clock_is_set(beat: scheduler.Scheduler, broker: redis.Redis, hours: int) -> None:
    tick_until_sent(beat, broker)
    take(broker)

    with time_machine.travel(timezone.now() + timedelta(hours=hours)):
        tick_until_sent(beat, broker)


def test_it_keeps_to_the_interval_when_the_clock_is_set_ahead(
    beat: scheduler.Scheduler, broker: redis.Redis
) -> None:
    tick_until_sent(beat, broker, COMPARE)
    take(broker, COMPARE)

    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        for _ in range(3):
            tick_until_sent(beat, broker)
            take(broker)
        assert sent(broker, COMPARE) == 0


def test_it_sends_each_task_soon_after_its_start(beat: scheduler.Scheduler, broker: redis.Redis) -> None:
    """Also one of each hour, which a scheduler that is restarted often would else never send."""
    tick_until_sent(beat, broker)
    tick_until_sent(beat, broker, COMPARE)


def test_it_sends_nothing_that_a_clock_lets_expire(beat: scheduler.Scheduler, broker: redis.Redis) -> None:
    tick_until_sent(beat, broker)

    assert take(broker)["headers"]["expires"] is None


def test_it_sends_no_second_message_before_the_first_is_taken(
    beat: scheduler.Scheduler, broker: redis.Redis
) -> None:
    tick_until_sent(beat, broker)

    until = time.monotonic() + 2.5 * EVERY_SECONDS
    while time.monotonic() < until:
        time.sleep(max(0.0, min(beat.tick(), 0.1)))
    assert sent(broker) == 1

    take(broker)
    tick_until_sent(beat, broker)


def test_it_shows_that_it_runs(broker: redis.Redis, tmp_path: Path) -> None:
    heartbeat = tmp_path / "heartbeat"
    beat = scheduler.Scheduler(app=app, schedule_filename=str(heartbeat))

    beat.tick()

    assert heartbeat.exists()
    beat.connection.close()


def test_it_names_tasks_that_exist_in_queues_that_workers_read(db: None) -> None:
    app.loader.import_default_modules()

    entries = app.conf.beat_schedule.values()

    assert {entry["task"] for entry in entries} <= app.tasks.keys()
    assert {entry["options"]["queue"] for entry in entries} <= app.amqp.queues.consume_from.keys()
