"""The world's clock, which tests may set forward instead of sleeping.

Not here: how times are written on the wire (times.py).
"""

import time
from datetime import UTC, datetime


class Clock:
    def __init__(self) -> None:
        self._ahead_seconds = 0.0

    def epoch(self) -> float:
        return time.time() + self._ahead_seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.epoch(), UTC)

    def advance(self, seconds: float) -> None:
        self._ahead_seconds += seconds
