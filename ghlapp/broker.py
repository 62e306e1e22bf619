"""Redis as Celery's broker, reached as every other client reaches it, with one more reason to come back later.
How it is configured is in settings.py."""

from typing import Any

from kombu.transport import redis
from redis.exceptions import OutOfMemoryError, ReadOnlyError

from oauth import redis_clients


class Channel(redis.Channel):
    """Connects as REDIS_URL says.

    kombu reads URLs in its own way: options that it does not know fail, and TLS is used only by a transport that is
    called `rediss`, without verifying the server unless the URL asks for it.
    """

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        options = redis_clients.connection_options()
        self.connection_class = options.pop("connection_class", self.connection_class)
        return {**super()._connparams(asynchronous), **options}  # type: ignore[misc]


class Transport(redis.Transport):
    """A Redis that is full, or has just become a replica, is as good as gone: workers wait for it to come back.

    kombu takes both for a programmer's mistake, for which a worker that reconnects ends.
    """

    Channel = Channel
    connection_errors = (*redis.Transport.connection_errors, OutOfMemoryError, ReadOnlyError)
