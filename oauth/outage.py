"""When HighLevel as a whole does not answer: everybody waits, one call at a time asks whether it is back.

It is the brake beside each location's own (rule 14), in PostgreSQL like those. One location's calls may fail for
reasons of their own, so it takes several locations' to say that it is HighLevel. Any answer ends it.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from ghl import errors
from ghl.types import Call
from oauth.models import Upstream

log = logging.getLogger(__name__)

# What is no answer; a 500 that says no such route is one.
NO_ANSWER = {
    each.name for each in (errors.ConnectFailed, errors.TimedOut, errors.ConnectionLost, errors.ServerFailed)
}
ENOUGH_FAILURES, ENOUGH_LOCATIONS = 5, 3
LONGEST_WAIT_SECONDS = 30
# Each process looks so often; until then it goes by what it saw last.
LOOK_EVERY_SECONDS = 0.5


class Seen(NamedTuple):
    """What a process saw of the one row: when by its own clock, what was left of the wait, how many failures."""

    at: float
    left: timedelta | None
    failures: int


_seen = Seen(-LOOK_EVERY_SECONDS, None, 0)


@dataclass(frozen=True)
class Gate:
    """`wait`: how long nothing is to be sent by anybody. `is_probe`: who gets this asks whether HighLevel is back."""

    wait: timedelta | None = None
    is_probe: bool = False


class CircuitOpen(Exception):
    """Nothing may be sent to HighLevel for `wait`."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__(f"HighLevel does not answer; no call may leave for {wait.total_seconds():.1f} s")
        self.wait = wait


@dataclass
class Passage:
    """What the breaker let through. `has_called`: whether a call within it has ended, with or without an answer."""

    has_called: bool = False


_passage: ContextVar[Passage | None] = ContextVar("passage", default=None)


@contextmanager
def passage() -> Iterator[Passage]:
    """The breaker's permission for the calls made within; one passage within another is the same.

    While the breaker is open one passage at a time is the probe. Raises CircuitOpen.
    """
    if (outer := _passage.get()) is not None:
        yield outer
        return
    current = gate()
    if current.wait is not None:
        raise CircuitOpen(current.wait)
    within = Passage()
    reset = _passage.set(within)
    try:
        yield within
    finally:
        _passage.reset(reset)
        if current.is_probe and not within.has_called:
            passed()


def gate() -> Gate:
    """Whether a call may be sent to HighLevel now. A probe that sends none after all says so by `passed`."""
    seen_at, left, _ = _look()
    if left is None:
        return Gate()
    left -= timedelta(seconds=time.monotonic() - seen_at)
    if left > timedelta(0):
        return Gate(wait=left)
    return Gate(is_probe=True) if _may_probe() else Gate(wait=timedelta(seconds=1))


def _look() -> Seen:
    global _seen  # noqa: PLW0603  (what this process saw last)
    if time.monotonic() - _seen.at >= LOOK_EVERY_SECONDS:
        # By PostgreSQL's clock, as what is written.
        found = Upstream.objects.values_list(F("not_before") - Now(), "failures").first()
        _seen = Seen(time.monotonic(), *(found or (None, 0)))
    return _seen


def _may_probe() -> bool:
    """Nobody else asks until this one must have its answer."""
    probing = Upstream.objects.filter(not_before__lte=Now())
    forget()
    return probing.update(not_before=Now() + timedelta(seconds=settings.GHL_TIMEOUT_SECONDS)) == 1


def passed() -> None:
    """The probe had nothing to ask: the next one may."""
    Upstream.objects.filter(failures__gt=0).update(not_before=Now())
    forget()


def forget() -> None:
    global _seen  # noqa: PLW0603
    _seen = Seen(-LOOK_EVERY_SECONDS, None, 0)


def note(account_id: str, call: Call) -> None:
    """What a call with this account's token came to, for everybody's sake."""
    if (within := _passage.get()) is not None:
        within.has_called = True
    if call.outcome in NO_ANSWER:
        _note_failure(account_id)
    elif _look().failures:
        _note_answer()


def _note_failure(account_id: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(FAILED, {"one": Upstream.THE_ONE, "location": account_id})
        [(failures, is_braked)] = cursor.fetchall()
    forget()
    if is_braked:
        log.warning("HighLevel does not answer, %d times in a row; everybody waits", failures)


FAILED = f"""
INSERT INTO oauth_upstream AS upstream (id, failures, failed_locations)
VALUES (%(one)s, 1, ARRAY[%(location)s]::varchar[])
ON CONFLICT (id) DO UPDATE SET
    failures = upstream.failures + 1,
    failed_locations = (
        SELECT array_agg(failed)
        FROM (
            SELECT unnest(upstream.failed_locations || excluded.failed_locations) AS failed
            GROUP BY failed LIMIT {ENOUGH_LOCATIONS}
        ) AS several
    ),
    not_before = CASE
        WHEN upstream.failures + 1 >= {ENOUGH_FAILURES}
         AND cardinality(upstream.failed_locations) >= {ENOUGH_LOCATIONS}
        THEN statement_timestamp()
             + least({LONGEST_WAIT_SECONDS}, 2 ^ least(upstream.failures + 1 - {ENOUGH_FAILURES}, 10))
             * interval '1 second'
        ELSE upstream.not_before
    END
RETURNING failures, coalesce(not_before > statement_timestamp(), false)
"""  # noqa: S608  (the numbers are this module's own)


def _note_answer() -> None:
    if Upstream.objects.filter(failures__gt=0).update(failures=0, failed_locations=[], not_before=None):
        log.info("HighLevel answers")
    forget()
