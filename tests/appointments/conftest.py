"""What the desk's tests share: a Redis without yesterday's wake-ups, and workers beside the test.
Tenants, locations and HighLevel's world are in tests/fixtures.py."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection

from appointments import wakeups
from tests.fixtures import ACME_LOCATION, work_once

Worker = Callable[[], Any]


def forget_the_broker() -> None:
    """As in a new process: no connections yet, no memory of a failure."""
    wakeups._flags.cache_clear()
    wakeups._connection.cache_clear()
    wakeups._skip_until = 0.0


@pytest.fixture(autouse=True)
def _empty_redis() -> Iterator[None]:
    forget_the_broker()
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()
    yield
    wakeups._skip_until = 0.0


@contextmanager
def working(location_id: str = ACME_LOCATION) -> Iterator[None]:
    """A worker that looks again and again, in a thread with a connection of its own. Needs real transactions."""
    over = Event()
    thread = Thread(target=_work_until, args=(over, location_id))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _work_until(over: Event, location_id: str) -> None:
    try:
        while not over.wait(0.02):
            work_once(location_id)
    finally:
        connection.close()


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each answers, all called at the same moment from threads with connections of their own."""
    start, answers = Event(), [None] * len(calls)

    def run(number: int) -> None:
        try:
            start.wait()
            answers[number] = calls[number]()
        finally:
            connection.close()

    threads = [Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    start.set()
    for thread in threads:
        thread.join()
    return answers
