"""Accepting and claiming with a million bookings of ten thousand locations stored, beside the same with none.
What is stored is as after a year: nearly all booked, some failed, some to be tried again later."""

import time
from typing import Any

from django.db import connection, models

from appointments import bookings, claiming
from appointments.attempts import lease_time
from appointments.models import Booking
from benchmarks import accepted
from benchmarks.ratios import Ratio
from benchmarks.stack import Stack
from oauth import keys
from oauth.models import ApiKey, Location, Tenant

ASKING = 100
PAIRS = 400

# What differs between the stored rows, by their number n; the other columns are as in the first one.
LOCATIONS = {"id": "'stored-' || n"}
BOOKINGS = {
    "id": "uuidv7(make_interval(secs => (n - {count}) * 30))",
    "location_id": "'stored-' || 1 + n %% {locations}",
    "created_at": "now() + (n - {count}) * interval '30 seconds'",
    "starts_at": "now() + (n - {count}) * interval '30 seconds'",
    "status": "CASE WHEN n %% 100 = 0 THEN 'failed' WHEN n %% 100 = 1 THEN 'pending' ELSE 'booked' END",
    "appointment_id": "CASE WHEN n %% 100 > 1 THEN 'appointment-' || n END",
    "next_attempt_at": "CASE WHEN n %% 100 = 1 THEN now() + interval '1 hour' END",
}
HISTORY = """
INSERT INTO appointments_timelineentry
    (booking_id, at, kind, from_status, to_status, reason, method, path, outcome, trace_id)
SELECT id, created_at, 'state', 'pending', status, '', '', '', '', ''
FROM appointments_booking WHERE location_id LIKE 'stored-%'
"""


def measure(stack: Stack) -> list[Ratio]:
    count, locations = (2_000, 100) if stack.short else (1_000_000, 10_000)
    tenant = Tenant.objects.create(name="benchmark")
    asking = [Location.objects.create(pk=f"asking-{number}") for number in range(ASKING)]
    key, _ = keys.issue(tenant, locations=asking)
    rounds = 2 if stack.short else 10
    with_none = _pairs_per_second(key, asking, rounds)
    _store(tenant, asking[0], count, locations)
    with_all = _pairs_per_second(key, asking, rounds)
    if not stack.short:
        _see_an_index_used(asking[0])
    return [Ratio("volume", "accepted and claimed/s, over empty tables", with_none, with_all, at_least=0.9)]


def _pairs_per_second(key: ApiKey, locations: list[Location], rounds: int) -> float:
    """The best of several rounds, after one that fills every cache and is not counted."""
    # What was stored before is written down now, not beside the commits that are waited for.
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
    return max([_round(key, locations) for _ in range(rounds + 1)][1:])


def _round(key: ApiKey, locations: list[Location]) -> float:
    Booking.objects.filter(location__in=locations).delete()
    began = time.monotonic()
    for number in range(PAIRS):
        location = locations[number % len(locations)]
        booking, _ = bookings.request(key, accepted.wanted(_place(location), number))
        claimed = claiming.claim(location.pk, lease_time())
        assert claimed is not None
        assert claimed.pk == booking.pk
    return PAIRS / (time.monotonic() - began)


def _place(location: Location) -> dict[str, Any]:
    return {"calendar_id": "calendar", "user_id": "user", "contact_id": "contact", "id": location.pk}


def _store(tenant: Tenant, like: Location, count: int, locations: int) -> None:
    """A line of history to each, and then what autovacuum would have done by itself."""
    accepted.store(tenant, [_place(like)], 1)
    first = Booking.objects.get(location=like, next_attempt_at__isnull=True)
    multiply(Location, like.pk, locations, LOCATIONS)
    columns = {name: sql.format(count=count, locations=locations) for name, sql in BOOKINGS.items()}
    multiply(Booking, first.pk, count, columns)
    with connection.cursor() as cursor:
        cursor.execute(HISTORY)
        cursor.execute("VACUUM ANALYZE")


def multiply(model: type[models.Model], like: Any, count: int, columns: dict[str, str]) -> None:
    """So many rows like that one, but for some columns."""
    table, names = model._meta.db_table, [str(field.column) for field in model._meta.concrete_fields]
    values = ", ".join(columns.get(name, f"stored.{name}") for name in names)
    rows = f"SELECT {values} FROM {table} AS stored, generate_series(1, %s) AS n WHERE stored.id = %s"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({', '.join(names)}) {rows}", [count, like])


def _see_an_index_used(location: Location) -> None:
    values: dict[str, Any] = {"location": location.pk, "lease": None, "lease_for": lease_time()}
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {claiming.CLAIM}", values)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Seq Scan on appointments_booking" not in plan, plan
