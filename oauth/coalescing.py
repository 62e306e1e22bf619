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
        self._has_waiting = threading.Event()
        self._sender: threading.Thread | None = None

    @property
    def is_idle(self) -> bool:
        """Nothing waits, and what is added next is sent at once."""
        with self._lock:
            return not self._waiting and time.monotonic() >= self._pause_ends_at

    def add(self, *names: str) -> None:
        """Have the names sent, now or within the pause. Raises what `send` raises where it is now."""
        with self._lock:
            is_first = not self._waiting and time.monotonic() >= self._pause_ends_at
            if is_first:
                self._pause_ends_at = time.monotonic() + PAUSE_SECONDS
            else:
                self._waiting.update(dict.fromkeys(names))
        if is_first:
            self._send(*names)
        else:
            self._have_them_sent()

    def _have_them_sent(self) -> None:
        self._has_waiting.set()
        # It is started once, for starting a thread takes longer than all else; a fork leaves it behind.
        if self._sender is None or not self._sender.is_alive():
            self._sender = threading.Thread(target=self._send_waiting, daemon=True)
            self._sender.start()

    def _send_waiting(self) -> None:
        while self._has_waiting.wait():
            time.sleep(max(0.0, self._pause_ends_at - time.monotonic()))
            with self._lock:
                self._has_waiting.clear()
                names, self._waiting = list(self._waiting), {}
                self._pause_ends_at = time.monotonic() + PAUSE_SECONDS
            if names:
                self._send(*names)
