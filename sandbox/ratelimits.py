"""HighLevel's two limits per location or company: a burst in any ten seconds, and a number a day.

Not here: which calls count (gates.py).
"""

from collections import Counter, defaultdict, deque
from datetime import date

from sandbox.clock import Clock
from sandbox.settings import Settings


class RateLimits:
    def __init__(self, clock: Clock, settings: Settings) -> None:
        self._clock = clock
        self._settings = settings
        self._recent: defaultdict[str, deque[float]] = defaultdict(deque)
        self._today: Counter[tuple[str, date]] = Counter()

    def admit(self, resource: str) -> bool:
        """Count one call, or say no; a refused call is not counted."""
        burst, daily = self._remaining(resource)
        if burst <= 0 or daily <= 0:
            return False
        self._recent[resource].append(self._clock.epoch())
        self._today[resource, self._clock.now().date()] += 1
        return True

    def headers(self, resource: str) -> dict[str, str]:
        burst, daily = self._remaining(resource)
        settings = self._settings
        return {
            # Sic: "Limit-Daily", but "Daily-Remaining".
            "X-RateLimit-Limit-Daily": str(settings.rate_limit_daily),
            "X-RateLimit-Daily-Remaining": str(max(daily, 0)),
            "X-RateLimit-Interval-Milliseconds": str(int(settings.rate_limit_interval_seconds * 1000)),
            "X-RateLimit-Max": str(settings.rate_limit_burst),
            "X-RateLimit-Remaining": str(max(burst, 0)),
        }

    def _remaining(self, resource: str) -> tuple[int, int]:
        recent = self._recent[resource]
        horizon = self._clock.epoch() - self._settings.rate_limit_interval_seconds
        while recent and recent[0] <= horizon:
            recent.popleft()
        used_today = self._today[resource, self._clock.now().date()]
        return self._settings.rate_limit_burst - len(recent), self._settings.rate_limit_daily - used_today
