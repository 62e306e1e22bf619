"""One booking of a location that was idle, while two hundred others fill every thread, HighLevel taking two seconds.
The yardstick is what nobody can spare it, the time until a thread is free, and three times what it takes alone."""

import statistics
import time
from datetime import datetime
from typing import Any

from django.conf import settings

from appointments import bookings
from benchmarks import accepted
from benchmarks.accounts import connect
from benchmarks.desk import Desk
from benchmarks.ratios import Ratio
from benchmarks.stack import Stack, wait_for
from oauth import keys
from oauth.models import ApiKey, Location, Tenant

LATENCY_SECONDS = 2.0


def measure(stack: Stack) -> list[Ratio]:
    others, of_each, strangers = (40, 4, 2) if stack.short else (200, 4, 20)
    with stack.sandbox() as desk:
        desk.set(latency_seconds=LATENCY_SECONDS)
        places = desk.locations(others + 2 * strangers)
        connect([each["token"] for each in places])
        tenant = Tenant.objects.create(name="benchmark")
        key, _ = keys.issue(tenant, locations=list(Location.objects.all()))
        with stack.workers(1):
            alone = [_accept(desk, key, place) for place in places[:strangers]]
            wait_for(lambda: not desk.in_flight())
            accepted.store(tenant, places[2 * strangers :], of_each)
            accepted.release()
            # Once each has had its turn none of them is idle any more; those who are take turns as they come.
            wait_for(lambda: len(desk.creates()) >= strangers + others + _threads())
            among = [_accept(desk, key, place) for place in places[strangers : 2 * strangers]]
            calls = desk.creates()
    took_alone = statistics.median(_waited(calls, *each) for each in alone)
    pairs = [
        (_until_free(calls, at) + 3 * took_alone, _waited(calls, location, at)) for location, at in among
    ]
    pairs.sort(key=lambda pair: pair[1] / pair[0])
    what = "ms until its call, over a free thread's and three times alone"
    return [_ratio(f"{what}, p50", pairs[len(pairs) // 2]), _ratio(f"{what}, the worst", pairs[-1])]


def _ratio(unit: str, pair: tuple[float, float]) -> Ratio:
    return Ratio("a stranger", unit, 1000 * pair[0], 1000 * pair[1], at_most=1)


def _threads() -> int:
    """Of the one worker."""
    threads: int = settings.CONVERGING_THREADS
    return threads


def _accept(desk: Desk, key: ApiKey, place: dict[str, Any]) -> tuple[str, float]:
    """Accept one booking and see its call arrive: the location, and when it was accepted."""
    wanted = accepted.wanted(place, 0)
    came_at = time.time()
    bookings.request(key, wanted)
    wait_for(lambda: bool(desk.creates(location_id=place["id"])), 0.05)
    return place["id"], came_at


def _waited(calls: list[dict[str, Any]], location_id: str, since: float) -> float:
    return next(_began(call) for call in calls if call["location_id"] == location_id) - since


def _until_free(calls: list[dict[str, Any]], since: float) -> float:
    """Until the first of the calls that were in flight then had its answer."""
    ends = [_began(call) + LATENCY_SECONDS for call in calls if _began(call) <= since]
    return min(end for end in ends if end > since) - since


def _began(call: dict[str, Any]) -> float:
    return datetime.fromisoformat(call["at"]).timestamp()
