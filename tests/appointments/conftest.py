"""What the desk's tests share: a Redis without yesterday's wake-ups, and workers beside the test.
Tenants, locations and HighLevel's world are in tests/fixtures.py."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection
from django.db.models import F

from appointments import turns
from appointments.models import Booking
from oauth import outage, pace, upstream, wakeups
from oauth.pace import memory
from sandbox import World
from sandbox.faults import Fault
from tests.fixtures import ACME_LOCATION, hurry, work_once

LONG = timedelta(minutes=10)
PROCESS = {"DJANGO_SETTINGS_MODULE": "ghlapp.settings", "GHL_TIMEOUT_SECONDS": "30"}


def forget_the_broker() -> None:
    """As in a new process: no connections yet, no memory of a failure."""
    wakeups._flags.cache_clear()
    wakeups._connection.cache_clear()
    wakeups._skip_until = memory._skip_until = 0.0
    turns._script.cache_clear()
    turns._patient_script.cache_clear()
    turns._skip_until = 0.0
    memory._script.cache_clear()


@pytest.fixture(autouse=True)
def _empty_redis() -> Iterator[None]:
    forget_the_broker()
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()
    pace.nothing_sent_before()
    outage.forget()
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


@pytest.fixture
def other_highlevel(settings: Any) -> Iterator[Callable[..., None]]:
    """`other_highlevel(url=…, timeout=…)`: what this process calls from now on, and for how long."""

    def change(*, url: str | None = None, timeout: float | None = None) -> None:
        settings.GHL_API_BASE_URL = url or settings.GHL_API_BASE_URL
        settings.GHL_TIMEOUT_SECONDS = timeout or settings.GHL_TIMEOUT_SECONDS
        upstream.client().close()
        upstream._made.cache_clear()

    yield change
    upstream.client().close()
    upstream._made.cache_clear()


def until(condition: Callable[[], Any], seconds: float = 10) -> Any:
    """What the condition gives once it is true; an AssertionError where it never is."""
    end = time.monotonic() + seconds
    while not (given := condition()):
        assert time.monotonic() < end, "this never came true"
        time.sleep(0.01)
    return given


def settle(booking: Booking) -> Booking:
    """Let so much time pass since an unanswered call that HighLevel must be done with it."""
    Booking.objects.filter(pk=booking.pk).update(
        call_deadline=F("call_deadline") - LONG, lease_until=F("lease_until") - LONG
    )
    return hurry(booking)


def calls(highlevel: World, operation: str = "create_appointment") -> int:
    """How many such calls HighLevel has got, whatever became of them."""
    return sum(each.operation == operation for each in list(highlevel.calls.records))


def order(highlevel: World, kind: Any, operation: str = "create_appointment", **options: Any) -> None:
    """Let something go wrong with the next such call."""
    highlevel.faults.add(Fault(kind, operation, **options))


def finished(highlevel: World) -> bool:
    """HighLevel is at work on nothing any more."""
    return all(each.outcome != "in_flight" for each in list(highlevel.calls.records))


@contextmanager
def beside(work: Callable[[], Any] = work_once) -> Iterator[Thread]:
    """Some work in a thread with a connection of its own, waited for in the end. Needs real transactions."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


@contextmanager
def killed_worker(location_id: str = ACME_LOCATION) -> Iterator[None]:
    """A worker in a process of its own that dies by SIGKILL when the block ends."""
    url = os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{connection.settings_dict['NAME']}"
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER.format(location=location_id)],
        env={**os.environ, **PROCESS, "DATABASE_URL": url},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()


WORKER = """
import django
django.setup()
from appointments import turns, working
from oauth import pace
working.serve(turns.Turn({location!r}, pace.take(pace.location({location!r}), pace.Use.BOOKING)))
"""


def in_highlevel(highlevel: World, appointment_id: str | None, **changes: Any) -> None:
    """Somebody changes an appointment in HighLevel's own pages."""
    with highlevel.lock:
        entry = highlevel.diary.get(str(appointment_id))
        assert entry is not None
        highlevel.diary.keep(replace(entry, updated_at=highlevel.clock.now(), **changes))


def sent(highlevel: World, operation: str = "update_appointment") -> list[dict[str, Any]]:
    """The bodies of all such calls, without the ids of their paths."""
    bodies = [each.body for each in list(highlevel.calls.records) if each.operation == operation]
    return [{name: body[name] for name in body if name != "event_id"} for body in bodies]
