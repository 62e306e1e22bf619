"""How many requests of one process may wait for their booking (`Prefer: wait`): in all, and for each API key."""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from threading import Lock


class WaitingPlaces:
    """Counts who waits; safe to use from several threads."""

    def __init__(self, *, in_all: int, for_each: int) -> None:
        self._in_all, self._for_each = in_all, for_each
        self._taken: Counter[Hashable] = Counter()
        self._lock = Lock()

    @contextmanager
    def place(self, key: Hashable) -> Iterator[bool]:
        """True inside while the key has one of the places; False where none is left for it."""
        has_one = self._take(key)
        try:
            yield has_one
        finally:
            if has_one:
                with self._lock:
                    self._taken[key] -= 1
                    self._taken += Counter()  # drops those that are zero

    def _take(self, key: Hashable) -> bool:
        with self._lock:
            if self._taken.total() >= self._in_all or self._taken[key] >= self._for_each:
                return False
            self._taken[key] += 1
            return True
