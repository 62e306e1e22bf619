"""From a booking's acceptance to its call's arrival at HighLevel, with nothing else to do: PostgreSQL has committed
it, a worker is to be woken. The yardstick, taken in turns with it, is Celery's way from `delay` to a task's start."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import connection

from appointments import bookings, turns
from benchmarks import accepted, bare
from benchmarks.accounts import connect
from benchmarks.desk import Desk
from benchmarks.ratios import Ratio
from benchmarks.stack import PATIENCE_SECONDS, Stack, wait_for
from oauth import keys
from oauth.models import ApiKey, Location, Tenant

LOCATIONS = 20
# Long enough for everybody to have gone to sleep again.
PAUSE_SECONDS = 0.05


def measure(stack: Stack) -> list[Ratio]:
    count = 10 if stack.short else 300
    with stack.sandbox() as desk:
        places = desk.locations(LOCATIONS)
        connect([each["token"] for each in places])
        with connection.cursor() as cursor:
            cursor.execute(bare.TABLES)
        tenant = Tenant.objects.create(name="benchmark")
        key, _ = keys.issue(tenant, locations=list(Location.objects.all()))
        with stack.bare_workers(1), stack.workers(1):
            accepted_at = []
            for number in range(count):
                _start_bare(number)
                accepted_at.append(_accept(key, places[number % LOCATIONS], number))
        ours = [_arrived_at(call) - at for call, at in zip(_calls(desk, count), accepted_at, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT seconds FROM bare_start")
        bares = [seconds for (seconds,) in cursor.fetchall()]
    return [
        Ratio("starting", "ms from acceptance to call, p50", _at(bares, 50), _at(ours, 50), at_most=3),
        Ratio("starting", "ms from acceptance to call, p99", _at(bares, 99), _at(ours, 99), at_most=5),
    ]


def _start_bare(number: int) -> None:
    bare.start.delay(number, time.time())
    wait_for(lambda: _started(number), 0.02)
    time.sleep(PAUSE_SECONDS)


def _started(number: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM bare_start WHERE number = %s", [number])
        return cursor.fetchone() is not None


def _accept(key: ApiKey, place: dict[str, Any], number: int) -> float:
    """Accept a booking, see it booked, and say when it was accepted."""
    wanted = accepted.wanted(place, number)
    with _wake_ups() as woken_at:
        booking, _ = bookings.request(key, wanted)
    if bookings.wait(booking, PATIENCE_SECONDS).appointment_id is None:
        raise AssertionError(f"{booking} was not booked")
    time.sleep(PAUSE_SECONDS)
    return woken_at[0]


@contextmanager
def _wake_ups() -> Iterator[list[float]]:
    """When somebody was to be woken, which is what follows the commit."""
    wake, at = turns.wake, list[float]()

    def noted(*location_ids: str) -> None:
        at.append(time.time())
        wake(*location_ids)

    turns.wake = noted
    try:
        yield at
    finally:
        turns.wake = wake


def _calls(desk: Desk, count: int) -> list[dict[str, Any]]:
    calls = desk.creates()
    assert len(calls) == count, f"{len(calls)} calls for {count} bookings"
    return calls


def _arrived_at(call: dict[str, Any]) -> float:
    return datetime.fromisoformat(call["at"]).timestamp()


def _at(seconds: list[float], percent: int) -> float:
    """Milliseconds within which so many of a hundred lie."""
    return 1000 * sorted(seconds)[len(seconds) * percent // 100]
