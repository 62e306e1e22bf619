"""A broker that delivers more than it was given: wake-ups and sweeps sent again and again.
What a message leads to is the product's affair."""

import threading
from random import Random
from typing import cast

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis, RedisError

QUEUE, READY = "wake-ups", "turns:ready"
CONVERGE, SWEEP, REFRESH, LETTERS = (
    "appointments.tasks.converge",
    "appointments.tasks.sweep",
    "oauth.tasks.refresh_due_tokens",
    "webhooks.tasks.process_letters",
)
COMPARISONS = "appointments.tasks.compare"
EVERY_SECONDS = 0.15
MOST_WAITING = 100


def send(redis_url: str, task: str) -> None:
    """One message, once."""
    with _sender(redis_url) as app:
        app.send_task(task, retry=False)


def _sender(redis_url: str) -> Celery:
    app = Celery("chaos", broker=redis_url, set_as_current=False)
    app.conf.task_default_queue = QUEUE
    app.conf.broker_transport_options = {"socket_timeout": 1, "socket_connect_timeout": 1}
    return app


class Messages:
    """A context manager: each of the locations has a turn several times a second, with two messages for each."""

    def __init__(self, redis_url: str, location_ids: list[str]) -> None:
        self._app = _sender(redis_url)
        self._redis = Redis.from_url(redis_url, socket_timeout=1)
        self._locations, self._random = location_ids, Random(0)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join(20)
        self._redis.close()
        self._app.close()

    def _run(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            try:
                # More than the workers can take would only pile up.
                if cast("int", self._redis.llen(QUEUE)) < MOST_WAITING:
                    self._send()
            except (OperationalError, RedisError, OSError):
                continue  # it is gone for the moment

    def _send(self) -> None:
        self._app.send_task(SWEEP, retry=False)
        if self._random.random() < 0.1:
            self._app.send_task(REFRESH, retry=False)
        self._app.send_task(LETTERS, retry=False)
        for location_id in self._random.sample(self._locations, min(4, len(self._locations))):
            self._redis.zadd(READY, {location_id: 0})
            for _ in range(2):
                self._app.send_task(CONVERGE, retry=False)
