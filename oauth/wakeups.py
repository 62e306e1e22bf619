"""Messages that wake a worker. Losing one loses nothing: PostgreSQL knows what is due, and a periodic sweep finds it.
What a woken worker does is each room's tasks.py."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import redis
from celery import current_app
from django.conf import settings
from kombu import Connection
from kombu.exceptions import OperationalError

from oauth import metrics, redis_clients
from oauth.coalescing import Coalescer

log = logging.getLogger(__name__)

# Accepting a booking must not wait for a broker that is gone or frozen.
SECONDS_PER_STEP = 0.1
SKIP_SECONDS = 5.0
# With no worker about messages only pile up. They carry no expiry, which would compare two machines' clocks.
MAX_WAITING = 1000

_skip_until = 0.0


@dataclass(frozen=True)
class WakeUp:
    """Has some worker run the task of this dotted name; with an argument where it is about one of many subjects."""

    task: str

    def send(self, subject: str = "") -> None:
        """Wake a worker unless a message for this subject is on its way. Never raises, never takes over 0.3 s."""
        _coalescer(self).add(subject)

    def send_all(self, *subjects: str) -> None:
        """The same for several, without waiting for others."""
        with unless_away(self) as there:
            for subject in subjects if there else ():
                self.count(self._send(subject))

    def clear(self, subject: str = "") -> None:
        """Let the next `send` send a message again. To be called before reading what is due (rule 13)."""
        try:
            _flags().delete(self._flag(subject))
        except redis.RedisError as error:
            # It ends by itself within the sweep's interval.
            log.warning("A wake-up flag could not be cleared: %s", type(error).__name__)

    def publish(self, *arguments: str) -> None:
        """Send a message, whatever is on its way. Raises as the broker's client does."""
        with _connection().Producer() as producer:
            current_app.send_task(self.task, args=arguments, producer=producer, retry=False)

    def count(self, outcome: str) -> None:
        metrics.wake_ups.labels(self.task, outcome).inc()

    def _send(self, subject: str) -> str:
        # The flag's life is the sweep's interval at most: a flag whose message was lost hides nothing for longer.
        with _flags().pipeline(transaction=False) as commands:
            commands.set(self._flag(subject), 1, nx=True, ex=settings.SWEEP_SECONDS)
            commands.llen(settings.CELERY_TASK_DEFAULT_QUEUE)
            is_first, waiting = commands.execute()
        if not is_first:
            return "already_on_its_way"
        if waiting >= MAX_WAITING:
            return "queue_full"
        self.publish(*([subject] if subject else []))
        return "sent"

    def _flag(self, subject: str) -> str:
        return f"wake-up:{self.task}:{subject}"


@contextmanager
def unless_away(wake_up: WakeUp) -> Iterator[bool]:
    """False inside while Redis is taken to be away. Its failing inside ends the block, and is remembered a while."""
    global _skip_until  # noqa: PLW0603  (one broker, one memory of its failure)
    if time.monotonic() < _skip_until:
        wake_up.count("skipped")
        yield False
        return
    try:
        yield True
    except (redis.RedisError, OperationalError, OSError) as error:
        _skip_until = time.monotonic() + SKIP_SECONDS
        wake_up.count("failed")
        log.warning("No wake-up could be sent (%s); the sweep will do", type(error).__name__)


@cache
def _coalescer(wake_up: WakeUp) -> Coalescer:
    return Coalescer(wake_up.send_all)


@cache
def _flags() -> redis.Redis:
    return redis_clients.client(SECONDS_PER_STEP)


@cache
def _connection() -> Connection:
    # Not Celery's own: the worker's blocking pop needs longer time-outs than a request can wait.
    options = {
        "socket_timeout": SECONDS_PER_STEP,
        "socket_connect_timeout": SECONDS_PER_STEP,
        # Else kombu goes on trying to connect for five seconds.
        "max_retries": 0,
    }
    return Connection(
        settings.CELERY_BROKER_URL, transport=settings.CELERY_BROKER_TRANSPORT, transport_options=options
    )
