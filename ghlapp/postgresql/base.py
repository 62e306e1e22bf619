"""Django's PostgreSQL backend, but for how a connection from the pool is found to be alive.

psycopg's own check is an empty query, a round trip for each request. A server that has closed a connection has said
so on its socket, which a system call sees; what no server says, such as a network that is gone, is asked at times.
"""

import select
import time
from collections.abc import Callable
from typing import Any, ClassVar

import psycopg
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg_pool import ConnectionPool

# A connection that was not asked for longer is asked, whatever its socket says.
ASK_EVERY_SECONDS = 5.0


class Connection(psycopg.Connection[Any]):
    """A pooled connection, and when it last answered."""

    answered_at = 0.0


def check(connection: Connection) -> None:
    """Return where the connection is alive. Raises OperationalError, upon which the pool takes another one."""
    now = time.monotonic()
    if now - connection.answered_at < ASK_EVERY_SECONDS and not _has_something_to_say(connection):
        return
    ConnectionPool.check_connection(connection)
    connection.answered_at = now


def _has_something_to_say(connection: Connection) -> bool:
    """An idle connection is silent: what can be read is its end, or a notice of what leads to it."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class DatabaseWrapper(base.DatabaseWrapper):
    # Of all wrappers of a process, by alias; Django's stubs leave it out, as they do what configures a connection.
    _connection_pools: ClassVar[dict[str, ConnectionPool[Connection]]]
    _configure_connection: Callable[[Any], Any]

    @property
    def pool(self) -> ConnectionPool[Connection] | None:
        """As Django makes it, with our check and without its choices that we do not make."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        if self.alias not in self._connection_pools:
            pool = ConnectionPool(
                connection_class=Connection,
                kwargs={**self.get_connection_params(), "autocommit": True},
                open=False,
                configure=self._configure_connection,
                check=check,
                **options,
            )
            # Of several threads that come first the pool of one is kept; none is open yet.
            self._connection_pools.setdefault(self.alias, pool)
        return self._connection_pools[self.alias]
