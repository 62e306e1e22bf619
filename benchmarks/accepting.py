"""The web processes beside bare DRF views under the same command (bare_web.py): accepting a booking, reading one,
receiving HighLevel's webhook events. Then one location that must wait, with 100,000 bookings there instead of ten."""

import json
from base64 import b64encode
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

from django.db import connection
from django.db.models.functions import Now

from appointments import outcomes
from appointments.models import Booking
from benchmarks import accepted, bare, load
from benchmarks.accounts import connect
from benchmarks.load import Load
from benchmarks.ratios import Ratio
from benchmarks.stack import CLIENT_ID, SIGNING_KEY, Stack
from oauth import keys
from oauth.models import Location, Tenant

LOCATIONS = 100
MOST_A_SECOND = 3_000
FEW, MANY = 10, 100_000
JSON = "application/json"
# No two requests are the same: each booking has a key of its own, each event an id.
numbers = count()

Requests = Callable[[int], list[bytes]]


def measure(stack: Stack) -> list[Ratio]:
    rounds = Rounds(1, 0.5) if stack.short else Rounds(6, 4.0)
    with ExitStack() as running:
        desk = running.enter_context(stack.sandbox())
        desk.set(latency_seconds=0.2)
        with connection.cursor() as cursor:
            cursor.execute(bare.TABLES)
        places = desk.locations(LOCATIONS)
        connect([each["token"] for each in places])
        key = _key(places)
        theirs, ours = running.enter_context(stack.bare_web()), running.enter_context(stack.web())
        booking, kept = _first(ours, _bookings(places, key)(1)), _first(theirs, _bare_requests(places)(1))

        accept = ("accept a booking", (theirs, _bare_requests(places)), (ours, _bookings(places, key)))
        read = (
            "read a booking",
            (theirs, _reads(f"/requests/{kept}")),
            (ours, _reads(f"/api/v1/bookings/{booking}", key)),
        )
        events = ("receive an event", (theirs, _bare_events), (ours, _events))
        ratios = [
            *rounds.compare(*accept, rate=1.0, slowest=1.5),
            *rounds.compare(*read, rate=1.0),
            *rounds.compare(*events, rate=0.9),
        ]
        # They have all that was accepted so far before them.
        with stack.workers(1):
            name, *both = accept
            ratios += rounds.compare(f"{name}, workers busy", *both, rate=1.0, slowest=1.5)
        return [*ratios, *_one_that_waits(stack, ours, rounds)]


@dataclass(frozen=True)
class Rounds:
    count: int
    seconds: float

    def compare(
        self,
        what: str,
        yardstick: tuple[int, Requests],
        measured: tuple[int, Requests],
        *,
        rate: float,
        slowest: float | None = None,
    ) -> list[Ratio]:
        """In turns, so that whatever else the machine does is part of both; the first round does not count."""
        pairs = [(self.load(*yardstick), self.load(*measured)) for _ in range(self.count + 1)][1:]
        theirs, ours = zip(*pairs, strict=True)
        p99 = Ratio(
            "accepting",
            f"{what}, ms p99",
            _p99(theirs),
            _p99(ours),
            **({"at_most": slowest} if slowest else {}),
        )
        return [Ratio("accepting", f"{what}, 1/s", _rate(theirs), _rate(ours), at_least=rate), p99]

    def load(self, port: int, requests: Requests) -> Load:
        return load.put(port, requests(int(self.seconds * MOST_A_SECOND)), self.seconds).only(200, 201, 202)


def _rate(loads: tuple[Load, ...]) -> float:
    return sum(len(each.latencies) for each in loads) / sum(each.seconds for each in loads)


def _p99(loads: tuple[Load, ...]) -> float:
    latencies = sorted(latency for each in loads for latency in each.latencies)
    return 1000 * latencies[len(latencies) * 99 // 100]


# --- One location that waits --------------------------------------------------------------------------------


def _one_that_waits(stack: Stack, port: int, rounds: Rounds) -> list[Ratio]:
    """What tenants ask of a suspended location, with workers and beat about: with few bookings and with many."""
    many = 1_000 if stack.short else MANY
    stack.empty()
    place = {"id": "waiting", "calendar_id": "calendar", "user_id": "user", "contact_id": "contact"}
    location = Location.objects.create(pk=place["id"])
    location.brake(Location.Waiting.SUSPENDED, None, Location.Status.SUSPENDED)
    key = _key([place])
    with stack.workers(1):
        _wait_there(place, FEW)
        with_few = _asked(port, place, key, rounds)
        _wait_there(place, many)
        with_many = _asked(port, place, key, rounds)
    what = f"with {many:,} waiting, over {FEW}"
    return [
        Ratio("accepting", f"{name} {what}, 1/s", _rate(few), _rate(many_), at_least=0.9)
        for name, few, many_ in zip(("accept", "read", "list"), with_few, with_many, strict=True)
    ]


def _asked(port: int, place: dict[str, Any], key: str, rounds: Rounds) -> list[tuple[Load, ...]]:
    booking = _first(port, _bookings([place], key)(1))
    asked = (
        _bookings([place], key),
        _reads(f"/api/v1/bookings/{booking}", key),
        _reads(f"/api/v1/bookings?locationId={place['id']}&status=on_hold&limit=10", key),
    )
    return [tuple(rounds.load(port, each) for _ in range(rounds.count)) for each in asked]


def _wait_there(place: dict[str, Any], number: int) -> None:
    """Exactly so many bookings, as the sweep leaves them."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE appointments_booking CASCADE")
    accepted.store(Tenant.objects.get(), [place], number)
    error = outcomes.held(Location.Waiting.SUSPENDED)
    Booking.objects.update(status=Booking.Status.ON_HOLD, next_attempt_at=Now(), error=error)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE appointments_booking")
        cursor.execute("CHECKPOINT")


# --- Requests -----------------------------------------------------------------------------------------------


def _key(places: list[dict[str, Any]]) -> str:
    tenant, _ = Tenant.objects.get_or_create(name="benchmark")
    there = Location.objects.filter(pk__in=[place["id"] for place in places])
    _, key = keys.issue(tenant, locations=list(there))
    return key


def _body(place: dict[str, Any], number: int) -> dict[str, Any]:
    return {
        "calendarId": place["calendar_id"],
        "locationId": place["id"],
        "contactId": place["contact_id"],
        "startTime": f"2030-01-01T09:{number // 60 % 60:02}:{number % 60:02}Z",
        "endTime": f"2030-01-01T10:{number // 60 % 60:02}:{number % 60:02}Z",
        "title": f"Booking {number}",
        "assignedUserId": place["user_id"],
        "description": "Asked for by a benchmark",
        "ignoreFreeSlotValidation": True,
        "toNotify": False,
        "externalReference": f"order-{number}",
        "metadata": {"source": "benchmark", "campaign": "spring"},
    }


def _bookings(places: list[dict[str, Any]], key: str) -> Requests:
    def made(how_many: int) -> list[bytes]:
        return [
            _post("/api/v1/bookings", _body(places[n % len(places)], n), _with(key, n))
            for n in _next(how_many)
        ]

    return made


def _bare_requests(places: list[dict[str, Any]]) -> Requests:
    def made(how_many: int) -> list[bytes]:
        return [_post("/requests", _body(places[n % len(places)], n)) for n in _next(how_many)]

    return made


def _reads(path: str, key: str = "") -> Requests:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    one = load.request("GET", path, headers=headers)
    return lambda how_many: [one] * how_many


def _event(number: int) -> dict[str, Any]:
    """As HighLevel tells of an appointment."""
    return {
        "type": "AppointmentUpdate",
        "appId": CLIENT_ID.partition("-")[0],
        "webhookId": f"event-{number}",
        "timestamp": datetime.now(UTC).isoformat(),
        "locationId": "nobodys",
        "appointment": {
            "id": f"appointment-{number}",
            "title": "Booking",
            "address": "Somewhere 1",
            "calendarId": "calendar",
            "contactId": "contact",
            "groupId": "group",
            "appointmentStatus": "confirmed",
            "assignedUserId": "user",
            "notes": "",
            "source": "booking_widget",
            "startTime": "2030-01-01T09:00:00Z",
            "endTime": "2030-01-01T10:00:00Z",
            "dateAdded": "2026-01-01T09:00:00Z",
            "dateUpdated": "2026-01-01T09:00:00Z",
        },
    }


def _events(how_many: int) -> list[bytes]:
    return [_signed(json.dumps(_event(number)).encode()) for number in _next(how_many)]


def _signed(body: bytes) -> bytes:
    signature = b64encode(SIGNING_KEY.sign(body)).decode()
    return load.request(
        "POST", "/webhooks/highlevel", body, {"Content-Type": JSON, "X-GHL-Signature": signature}
    )


def _bare_events(how_many: int) -> list[bytes]:
    return [_post("/events", _event(number)) for number in _next(how_many)]


def _post(path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> bytes:
    return load.request("POST", path, json.dumps(body).encode(), {"Content-Type": JSON, **(headers or {})})


def _with(key: str, number: int) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "Idempotency-Key": f"key-{number}"}


def _next(how_many: int) -> list[int]:
    return [next(numbers) for _ in range(how_many)]


def _first(port: int, requests: list[bytes]) -> Any:
    """The id that is answered to the first request."""
    return load.answer(port, requests[0])["id"]
