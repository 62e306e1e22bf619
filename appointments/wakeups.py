"""Messages that wake a worker for a location, at most one at a time on its way. Losing one loses nothing: the
sweep finds what is due. What a woken worker does is in bookings.py."""

import logging
import time
from functools import cache

import redis
from celery import current_app
from django.conf import settings
from kombu import Connection
from kombu.exceptions import OperationalError

from appointments import metrics

log = logging.getLogger(__name__)

# Accepting a booking must not wait for a broker that is gone or frozen.
SECONDS_PER_STEP = 0.1
SKIP_SECONDS = 5.0
# With no worker about, each sweep sends one for each location; whoever comes back needs only the last few.
OLD_AFTER_SECONDS = 60
TASK = "appointments.tasks.converge_location"
TIME_OUTS = {"socket_timeout": SECONDS_PER_STEP, "socket_connect_timeout": SECONDS_PER_STEP}

_skip_until = 0.0


def wake(location_id: str) -> None:
    """Have some worker look at what is due for this location. Never raises, and never takes longer than 0.3 s."""
    global _skip_until  # noqa: PLW0603  (one broker, one memory of its failure)
    if time.monotonic() < _skip_until:
        metrics.wake_ups.labels("skipped").inc()
        return
    try:
        metrics.wake_ups.labels(_send(location_id)).inc()
    except (redis.RedisError, OperationalError, OSError) as error:
        _skip_until = time.monotonic() + SKIP_SECONDS
        metrics.wake_ups.labels("failed").inc()
        log.warning("No wake-up could be sent (%s); the sweep will do", type(error).__name__)


def clear(location_id: str) -> None:
    """Let the next `wake` send a message again. To be called before reading what is due (rule 13)."""
    try:
        _flags().delete(_flag(location_id))
    except redis.RedisError as error:
        # It ends by itself within the sweep's interval.
        log.warning("A wake-up flag could not be cleared: %s", type(error).__name__)


def _send(location_id: str) -> str:
    # The flag's life is the sweep's interval at most: a flag whose message was lost hides nothing for longer.
    if not _flags().set(_flag(location_id), 1, nx=True, ex=settings.SWEEP_SECONDS):
        return "already_on_its_way"
    with _connection().Producer() as producer:
        current_app.send_task(
            TASK, args=[location_id], producer=producer, retry=False, expires=OLD_AFTER_SECONDS
        )
    return "sent"


def _flag(location_id: str) -> str:
    return f"wake-up:{location_id}"


@cache
def _flags() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, **TIME_OUTS)


@cache
def _connection() -> Connection:
    # Not Celery's own: the worker's blocking pop needs longer time-outs than a request can wait.
    return Connection(settings.REDIS_URL, transport_options=TIME_OUTS)
