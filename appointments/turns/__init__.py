"""Whose turn it is: the locations in which something is due, least recently served first.

Not here: what is due (PostgreSQL knows), and what a worker does about it (working.py).

A message wakes a thread and names no location: the thread takes the location that has waited longest for a turn, and
goes on until none is left. So a location with ten thousand bookings takes turns with the others, several threads
serve it where nobody else waits, and one that was idle is next, however long the queue. All of it is in Redis and may
be lost at any moment: the sweep puts in again what PostgreSQL says is due, and sends the messages that are missing.
"""

import logging
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from redis.commands.core import Script

from oauth import wakeups

log = logging.getLogger(__name__)

CONVERGE = wakeups.WakeUp("appointments.tasks.converge")
KEYS = ("turns:ready", "turns:later", "turns:served")


def wake(location_id: str) -> None:
    """Something is due for this location. Never raises, and never takes longer than 0.3 s."""
    with wakeups.unless_away(CONVERGE) as sent:
        if sent:
            CONVERGE.count("sent" if _message_for(location_id) else "already_on_its_way")


def _message_for(location_id: str) -> bool:
    wanted = bool(_ask("wake", location_id)[0])
    if wanted:
        CONVERGE.publish()
    return wanted


def later(location_id: str, wait: timedelta) -> None:
    """Something will be due for this location in `wait`; where that is lost, the sweep finds it. Never raises."""
    with wakeups.unless_away(CONVERGE) as there:
        if there:
            _ask("later", location_id, max(0, round(wait / timedelta(milliseconds=1))))


def next_location() -> tuple[str | None, timedelta | None]:
    """The location whose turn it is, taken out, or how long until there is one (None: nobody knows of any)."""
    with wakeups.unless_away(CONVERGE) as there:
        if there:
            location_id, *wait = _ask("next")
            if location_id:
                return location_id, None
            return None, None if wait[0] < 0 else timedelta(milliseconds=wait[0])
    return None, None


def go_on() -> None:
    """Have another thread take up what this one leaves. Never raises."""
    with wakeups.unless_away(CONVERGE) as there:
        if there:
            CONVERGE.publish()


def send_missing() -> None:
    """Send messages where there are fewer than locations that wait: each may have been lost. Never raises."""
    with wakeups.unless_away(CONVERGE) as there:
        if there:
            for _ in range(_ask("missing")[0]):
                CONVERGE.publish()


def _ask(command: str, *arguments: str | int) -> list[Any]:
    keys = (*KEYS, settings.CELERY_TASK_DEFAULT_QUEUE)
    answer: list[Any] = _script()(keys=keys, args=[command, *arguments])
    return answer


@cache
def _script() -> Script:
    client = redis.Redis.from_url(settings.REDIS_URL, decode_responses=True, **wakeups.TIME_OUTS)
    return client.register_script(Path(__file__).with_name("turns.lua").read_text())
