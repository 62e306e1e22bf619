"""Several wake-ups of one process as one: the first is sent at once, those that follow it closely are sent together.
What a wake-up is, and what it may be lost for, is in wakeups.py."""

import threading
import time
from collections.abc import Callable

# The longest that a wake-up waits for others; under load Redis is asked once in so long, and not for each request.
PAUSE_SECONDS = 0.02


class Coalescer:
    """Calls `send` with names: of the first at once, of all that come within the pause after it at the pause's end.

    A name is sent after it was added, never before, so that a woken worker sees what was committed
    before `add` (rule 13). What a process takes with it when it dies, the sweep finds.
    """

    def __init__(self, send: Callable[..., None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._waiting: dict[str, None] = {}
        self._pause_ends_at = 0.0

    @property
    def is_idle(self) -> bool:
        """Nothing waits, and what is added next is sent at once."""
        with self._lock:
            return not self._waiting and time.monotonic() >= self._pause_ends_at

    def add(self, *names: str) -> None:
        """Have the names sent, now or within the pause. Raises what `send` raises where it is now."""
        with self._lock:
            left = self._pause_ends_at - time.monotonic()
            if left > 0 or self._waiting:
                if not self._waiting:
                    self._send_in(left)
                self._waiting.update(dict.fromkeys(names))
                return
            self._pause_ends_at = time.monotonic() + PAUSE_SECONDS
        self._send(*names)

    def _send_in(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._send_waiting)
        timer.daemon = True
        timer.start()

    def _send_waiting(self) -> None:
        with self._lock:
            names, self._waiting = list(self._waiting), {}
            self._pause_ends_at = time.monotonic() + PAUSE_SECONDS
        self._send(*names)
