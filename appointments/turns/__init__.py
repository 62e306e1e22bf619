"""Whose turn it is: the locations in which something is due, least recently served first.

Not here: what is due (PostgreSQL knows), and what a worker does about it (working.py).

A message wakes a thread and names no location: the thread takes the location that has waited longest for a turn, and
goes on until none is left. So a location with ten thousand bookings takes turns with the others, several threads
serve it where nobody else waits, and one that was idle is next, however long the queue. A turn brings a slot of the
pace with it (oauth/pace), which spares each booking a question. All of it is in Redis and may
be lost at any moment: the sweep puts in again what PostgreSQL says is due, and sends the messages that are missing.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import redis
from django.conf import settings
from redis.commands.core import Script

from oauth import pace, redis_clients, wakeups
from oauth.coalescing import Coalescer

log = logging.getLogger(__name__)

CONVERGE = wakeups.WakeUp("appointments.tasks.converge")
KEYS = ("turns:ready", "turns:later", "turns:served")
# For workers, as for the pace: a busy machine alone makes one step take 0.1 s.
SECONDS_PER_STEP = 0.25
SKIP_SECONDS = 1.0

_skip_until = 0.0


class Away(Exception):
    """Redis does not answer: nobody knows whose turn it is."""


def wake(*location_ids: str) -> None:
    """Something is due for these locations. Never raises, and never takes longer than 0.3 s."""
    if location_ids:
        _coalescer.add(*location_ids)


def _wake(*location_ids: str) -> None:
    with wakeups.unless_away(CONVERGE) as there:
        if there:
            CONVERGE.count("sent" if _message_for(location_ids) else "already_on_its_way")


_coalescer = Coalescer(_wake)


def _message_for(location_ids: Sequence[str]) -> bool:
    wanted = bool(_script()(keys=_keys(), args=["wake", *location_ids])[0])
    if wanted:
        CONVERGE.publish()
    return wanted


def later(location_id: str, wait: timedelta) -> None:
    """Something will be due for this location in `wait`; where that is lost, the sweep finds it. Never raises."""
    with suppress(Away):
        _ask("later", location_id, max(0, round(wait / timedelta(milliseconds=1))))


class Turn(NamedTuple):
    """Of a location, which is taken out, with a slot for its booking's call; or none may leave for `wait`."""

    location_id: str
    slot: pace.Slot | None
    wait: timedelta = timedelta(0)


def take(call_others: Callable[[], bool] = lambda: True) -> tuple[Turn | None, timedelta | None]:
    """The next turn, or how long until there is one (None: nobody knows of any). Raises Away.

    `call_others`: whether to have another thread come where more locations wait and no message is on its way.
    """
    location_id, number, *answer = _ask("next")
    if not location_id:
        return None, None if number < 0 else timedelta(milliseconds=number)
    if number and call_others():
        go_on()
    try:
        return Turn(location_id, pace.taken(pace.location(location_id), pace.Use.BOOKING, *answer)), None
    except pace.MustWait as error:
        return Turn(location_id, None, error.retry_after), None


def share(location_id: str, call_others: Callable[[], bool] = lambda: True) -> None:
    """Whoever has this location's turn leaves more of it to others; where that is lost, the sweep finds it.
    Never raises."""
    with suppress(Away):
        if not _ask("wake", location_id)[0]:
            CONVERGE.count("already_on_its_way")
        elif call_others():
            CONVERGE.count("sent")
            go_on()


def go_on() -> None:
    """Have another thread take up what this one leaves. Never raises."""
    with wakeups.unless_away(CONVERGE) as there:
        if there:
            CONVERGE.publish()


def send_missing() -> None:
    """Send messages where there are fewer than locations that wait: each may have been lost. Never raises."""
    with suppress(Away):
        for _ in range(_ask("missing")[0]):
            go_on()


def _ask(command: str, *arguments: str | int) -> list[Any]:
    """What turns.lua answers a worker, which has more patience than a web request. Raises Away."""
    global _skip_until  # noqa: PLW0603  (one Redis, one memory of its failure)
    if time.monotonic() < _skip_until:
        raise Away
    try:
        answer: list[Any] = _patient_script()(keys=_keys(), args=[command, *arguments])
    except redis.RedisError as error:
        _skip_until = time.monotonic() + SKIP_SECONDS
        log.warning("Whose turn it is is unknown: %s", type(error).__name__)
        raise Away from error
    return answer


def _keys() -> tuple[str, ...]:
    return (*KEYS, settings.CELERY_TASK_DEFAULT_QUEUE)


@cache
def _script() -> Script:
    return _registered(wakeups.SECONDS_PER_STEP)


@cache
def _patient_script() -> Script:
    return _registered(SECONDS_PER_STEP)


def _registered(seconds: float) -> Script:
    client = redis_clients.client(seconds, decode_responses=True)
    # One question instead of two for each turn.
    return client.register_script(pace.memory.function() + Path(__file__).with_name("turns.lua").read_text())
