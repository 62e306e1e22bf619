"""The audit log: who was given, used or refused access, and what operators changed; one line of logger `audit` each.
Its fields are ids, names and reasons, never a key, a token or a password. Lines of a request carry its `request_id`.
"""

import getpass
import time
from threading import Lock
from typing import Any

import structlog

LOGGER = "audit"
# Of the events that a stranger can cause, so that nobody floods the log: a process writes this many lines a minute.
MAX_REFUSALS = 60
REFUSALS_WINDOW_SECONDS = 60.0

_log = structlog.stdlib.get_logger(LOGGER)


class LineLimit:
    """Admits so many lines per window, and counts those it did not admit."""

    def __init__(self, lines: int, seconds: float) -> None:
        self._lines, self._seconds = lines, seconds
        self._lock = Lock()
        self._window_ends = 0.0
        self._left = 0
        self._suppressed = 0

    def admit(self) -> int | None:
        """How many lines were suppressed since the last one admitted; None where this one is to be suppressed too."""
        with self._lock:
            if (now := time.monotonic()) >= self._window_ends:
                self._window_ends, self._left = now + self._seconds, self._lines
            if not self._left:
                self._suppressed += 1
                return None
            self._left -= 1
            suppressed, self._suppressed = self._suppressed, 0
            return suppressed


# One each, so that neither hides the other.
refusals = LineLimit(MAX_REFUSALS, REFUSALS_WINDOW_SECONDS)
sign_in_refusals = LineLimit(MAX_REFUSALS, REFUSALS_WINDOW_SECONDS)


def record(event: str, **fields: Any) -> None:
    """Write an audit line: `event` as `subject.happened`, such as `api_key.issued`."""
    _log.info(event, **fields)


def record_refusal(event: str, *, suppressed: int, **fields: Any) -> None:
    """Write the audit line of a refusal that `refusals` admitted, with the number of those it did not."""
    _log.warning(event, **fields, **({"suppressed": suppressed} if suppressed else {}))


def shell_user() -> str:
    """The operating system's user who runs a command."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (OSError, KeyError):
        return "command line"  # a container's user need not have a name
