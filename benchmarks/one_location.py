"""A thousand bookings of one location, HighLevel taking 200 ms: how much of its allowance is used, and none refused.
The yardstick is the whole allowance less the twentieth that is kept for tokens and look-ups."""

from datetime import datetime

from appointments.models import Booking
from benchmarks import accepted
from benchmarks.accounts import connect
from benchmarks.ratios import Ratio
from benchmarks.stack import Stack, wait_for
from oauth.models import Tenant

LATENCY_SECONDS = 0.2
LIMIT, RESERVE = 100, 0.05


def measure(stack: Stack) -> list[Ratio]:
    bookings, window_seconds = (350, 2.0) if stack.short else (1000, 10.0)
    with stack.sandbox() as desk:
        desk.set(latency_seconds=LATENCY_SECONDS, rate_limit_burst=LIMIT)
        desk.set(rate_limit_interval_seconds=window_seconds)
        [place] = desk.locations(1)
        connect([place["token"]])
        accepted.store(Tenant.objects.create(name="benchmark"), [place], bookings)
        with stack.workers(1):
            accepted.release()
            wait_for(lambda: not Booking.objects.filter(next_attempt_at__isnull=False).exists())
        calls = desk.creates()
    arrivals = [datetime.fromisoformat(call["at"]).timestamp() for call in calls]
    admitted = sum(call["outcome"] != "429" for call in calls)
    allowed = LIMIT * (1 - RESERVE)
    return [
        Ratio(
            "one location",
            f"calls in {window_seconds:g} s, from the second on",
            allowed,
            _a_window(arrivals, window_seconds),
            at_least=0.95,
        ),
        Ratio("one location", "calls not refused of all", len(calls), admitted, at_least=1, at_most=1),
    ]


def _a_window(arrivals: list[float], seconds: float) -> float:
    """How many arrive in one on average, from the second to the last whole one."""
    passed = [(each - arrivals[0]) / seconds for each in sorted(arrivals)]
    whole = int(passed[-1])
    return sum(1 <= each < whole for each in passed) / (whole - 1)
