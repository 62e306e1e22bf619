"""Periodic tasks: when beat sends them, on clocks that nobody sets. What is sent how often stands in settings.py.

Intervals are counted on the monotonic clock and kept in memory, so setting the machine's clock stops nothing. A
message carries no time of expiry, which the worker's clock would judge by the scheduler's. Instead each periodic
task has a queue of its own, and its next message is sent only once the last one was taken: a hundred hours without
a worker leave one message of each.
"""

import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from celery import beat
from celery.schedules import schedule

log = logging.getLogger(__name__)

# Any instant will do: the monotonic clock has no beginning.
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
# Between the first messages of a new scheduler, so that tasks of the same interval do not always start together.
STAGGER = timedelta(seconds=1)


def monotonic_now() -> datetime:
    """The monotonic clock in the form that Celery's schedules compute with."""
    return BEGINNING + timedelta(seconds=time.monotonic())


def queue_of(task: str) -> str:
    """The queue of a periodic task, in which one message waits at most."""
    return f"periodic.{task}"


def periodic(tasks: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Celery's `beat_schedule` for dotted task names and their intervals in seconds; each begins at once."""
    entries = {}
    for position, (task, seconds) in enumerate(tasks.items()):
        interval = timedelta(seconds=seconds)
        entries[task] = {
            "task": task,
            "schedule": schedule(interval, nowfun=monotonic_now),
            "options": {"queue": queue_of(task)},
            "last_run_at": monotonic_now() - interval + position * STAGGER,
        }
    return entries


class Scheduler(beat.Scheduler):
    """Celery's scheduler without its file. Touches `heartbeat` with each tick, for health checks."""

    max_interval = 5

    def __init__(self, *args: Any, schedule_filename: str = "", **kwargs: Any) -> None:
        self._heartbeat = Path(schedule_filename) if schedule_filename else None
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        if self._heartbeat:
            self._heartbeat.touch()
        return super().tick(*args, **kwargs)

    def apply_entry(self, entry: beat.ScheduleEntry, producer: Any = None) -> None:
        if not self._is_waiting(entry, producer or self.producer):
            super().apply_entry(entry, producer=producer)

    def _is_waiting(self, entry: beat.ScheduleEntry, producer: Any) -> bool:
        """Whether the entry's last message is still in its queue; False where the broker does not tell."""
        try:
            waiting: int = producer.channel.queue_declare(queue=queue_of(str(entry.task))).message_count
        except producer.connection.recoverable_connection_errors as error:
            log.warning("Whether %s waits already is unknown: %s", entry.task, type(error).__name__)
            return False
        if waiting:
            log.info("%s was not sent: no worker has taken its last message yet", entry.task)
        return bool(waiting)
