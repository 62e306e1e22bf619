"""A step's row and its history as one statement: that is a transaction by itself, and spares three round trips and
most of the ORM's work. When and what is written is said in states.py."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, transaction
from django.db.models.sql import UpdateQuery

from appointments.models import Booking, TimelineEntry

# One line of history, and how long ago that was: only PostgreSQL's clock counts.
Line = tuple[timedelta, TimelineEntry]

# The columns of a line, with the types that PostgreSQL cannot see from values alone.
COLUMNS = {
    "booking_id": "%s::uuid",
    "at": "statement_timestamp() - %s::interval",
    "kind": "%s",
    "from_status": "%s",
    "to_status": "%s",
    "reason": "%s",
    "method": "%s",
    "path": "%s",
    "http_status": "%s::smallint",
    "duration_ms": "%s::integer",
    "outcome": "%s",
    "trace_id": "%s",
}
LINE = f"({', '.join(COLUMNS.values())})"
INSERT = f"INSERT INTO {TimelineEntry._meta.db_table} ({', '.join(COLUMNS)})"
# News from HighLevel since the claim makes it due at once; without an interval it rests.
RELEASE = """
, lease = NULL, lease_until = NULL, updated_at = statement_timestamp(), next_attempt_at =
    CASE WHEN news > %s THEN statement_timestamp() ELSE statement_timestamp() + %s::interval END
"""
# An intent stretches a lease past its call's deadline: no later write may shorten it.
STRETCH = """
, updated_at = statement_timestamp(), lease_until =
    greatest(coalesce(lease_until, statement_timestamp()), statement_timestamp() + %s::interval)
"""
# The sweep has none: it works under a lock of the row.
MINE = "WHERE id = %s AND lease IS NOT DISTINCT FROM %s"
WISH_STANDS = "AND wish_version = %s"


def by_itself() -> AbstractContextManager[None]:
    """Around one statement that may collide: only within a transaction it needs a savepoint to be undone."""
    return transaction.atomic() if connection.in_atomic_block else nullcontext()


def moved(
    booking: Booking,
    changes: dict[str, Any],
    history: Sequence[Line],
    again_in: timedelta | None,
    *,
    if_wish_is: int | None = None,
) -> bool:
    """Change the row, give its lease back and tell its history, if the lease is held and the wish that version."""
    sql, values = _update(changes)
    sql, values = f"{sql} {RELEASE} {MINE}", [*values, booking.news, again_in, booking.pk, booking.lease]
    if if_wish_is is not None:
        sql, values = f"{sql} {WISH_STANDS}", [*values, if_wish_is]
    if history:
        sql = f"WITH moved AS ({sql} RETURNING id) {_insert(len(history))}"
        values += [value for line in history for value in _values(line)]
    return _has_changed(sql, values)


def kept(booking: Booking, changes: dict[str, Any], lease_for: timedelta) -> bool:
    """Change the row and stretch its lease, if that is held and the wish the one that was read."""
    sql, values = _update(changes)
    sql = f"{sql} {STRETCH} {MINE} AND lease_until > statement_timestamp() {WISH_STANDS}"
    return _has_changed(sql, [*values, lease_for, booking.pk, booking.lease, booking.wish_version])


def _update(changes: dict[str, Any]) -> tuple[str, list[Any]]:
    assigned, values = list[str](), list[Any]()
    for name, value in changes.items():
        field: Any = Booking._meta.get_field(name)
        is_expression = hasattr(value, "resolve_expression")
        sql, these = (
            _compiled(value) if is_expression else ("%s", [field.get_db_prep_save(value, connection)])
        )
        assigned.append(f"{field.column} = {sql}")
        values += these
    return f"UPDATE {Booking._meta.db_table} SET {', '.join(assigned)}", values  # noqa: S608  (no value is in it)


@lru_cache(maxsize=100)
def _compiled(expression: Any) -> tuple[str, tuple[Any, ...]]:
    """Most are the same in each step, and the ORM takes as long for one as for all that is no expression."""
    query = UpdateQuery(Booking)
    compiler = query.get_compiler(DEFAULT_DB_ALIAS)
    sql, values = compiler.compile(expression.resolve_expression(query, allow_joins=False, for_save=True))
    return sql, tuple(values)


def _insert(count: int) -> str:
    lines = ", ".join([LINE] * count)
    return f"{INSERT} SELECT line.* FROM moved, (VALUES {lines}) AS line"  # noqa: S608  (no value is in it)


def _values(line: Line) -> list[Any]:
    ago, entry = line
    return [ago if name == "at" else getattr(entry, name) for name in COLUMNS]


def _has_changed(sql: str, values: list[Any]) -> bool:
    with by_itself(), connection.cursor() as cursor:
        cursor.execute(sql, values)
        return bool(cursor.rowcount)
