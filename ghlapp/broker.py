"""Redis as Celery's broker, with one more reason to come back later. How it is configured is in settings.py."""

from kombu.transport import redis
from redis.exceptions import OutOfMemoryError, ReadOnlyError


class Transport(redis.Transport):
    """A Redis that is full, or has just become a replica, is as good as gone: workers wait for it to come back.

    kombu takes both for a programmer's mistake, for which a worker that reconnects ends.
    """

    connection_errors = (*redis.Transport.connection_errors, OutOfMemoryError, ReadOnlyError)
