"""Five hundred locations with ten bookings each, HighLevel taking 200 ms: bookings a second, and what each costs.
The yardstick is a task for each booking, with one reused HTTP client and two transactions, in the same pool."""

import json
from typing import Any

from django.db import connection
from django.db.models import Max, Min

from appointments.models import Booking
from benchmarks import accepted, bare
from benchmarks.accounts import connect
from benchmarks.processor import seconds_used
from benchmarks.ratios import Ratio
from benchmarks.stack import Stack, wait_for
from ghl.types import appointment_body
from oauth.models import Tenant

LATENCY_SECONDS = 0.2
WORKERS = 1


def measure(stack: Stack) -> list[Ratio]:
    locations, of_each, runs = (20, 3, 1) if stack.short else (500, 10, 2)
    with stack.sandbox() as desk:
        desk.set(latency_seconds=LATENCY_SECONDS)
        places = desk.locations(locations)
        connect([each["token"] for each in places])
        tenant = Tenant.objects.create(name="benchmark")
        # In turns, so that whatever else the machine does is part of both.
        figures = [
            (_bare(stack, places, of_each), _ours(stack, tenant, places, of_each)) for _ in range(runs)
        ]
    yardsticks, ours = zip(*figures, strict=True)
    return [
        Ratio("many locations", "bookings/s", max(yardsticks)[0], max(ours)[0], at_least=0.9),
        Ratio("many locations", "CPU ms of the worker a booking", max(yardsticks)[1], max(ours)[1]),
    ]


def _ours(stack: Stack, tenant: Tenant, places: list[dict[str, Any]], of_each: int) -> tuple[float, float]:
    Booking.objects.all().delete()
    accepted.store(tenant, places, of_each)
    accepted.release()
    with stack.workers(WORKERS) as processes:
        used_before = seconds_used(processes)
        wait_for(lambda: not Booking.objects.filter(next_attempt_at__isnull=False).exists())
        used = seconds_used(processes) - used_before
    booked = Booking.objects.filter(status=Booking.Status.BOOKED).count()
    assert booked == len(places) * of_each, f"only {booked} booked"
    ends = Booking.objects.aggregate(seconds=Max("updated_at") - Min("updated_at"))
    return _rate(booked, ends["seconds"].total_seconds()), 1000 * used / booked


def _bare(stack: Stack, places: list[dict[str, Any]], of_each: int) -> tuple[float, float]:
    _prepare(places, of_each)
    count = len(places) * of_each
    with stack.bare_workers(WORKERS) as processes:
        used_before = seconds_used(processes)
        wait_for(lambda: _done()[0] == count)
        used = seconds_used(processes) - used_before
    return _rate(count, _done()[1]), 1000 * used / count


def _rate(count: int, seconds: float) -> float:
    return (count - 1) / seconds


def _done() -> tuple[int, float]:
    """How many the yardstick's worker has done, and the seconds from the first to the last."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), extract(epoch FROM max(at) - min(at)) FROM bare_history")
        [(count, seconds)] = cursor.fetchall()
    return count, float(seconds or 0)


def _prepare(places: list[dict[str, Any]], of_each: int) -> None:
    """Rows and messages for the yardstick, all there before its worker begins."""
    bodies = [
        (place["token"]["access_token"], _body(place, number))
        for number in range(of_each)
        for place in places
    ]
    with connection.cursor() as cursor:
        cursor.execute(bare.TABLES)
        rows = [(number, json.dumps(body)) for number, (_, body) in enumerate(bodies)]
        cursor.executemany("INSERT INTO bare_booking (id, body, status) VALUES (%s, %s, 'pending')", rows)
    for number, (token, body) in enumerate(bodies):
        bare.book.delay(number, token, body)


def _body(place: dict[str, Any], number: int) -> dict[str, Any]:
    wish = accepted.wish(place, number)
    return appointment_body({**wish, "location_id": place["id"], "contact_id": place["contact_id"]})
