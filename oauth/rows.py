"""Statements written by hand and model instances from their rows, where each millisecond counts.

Elsewhere the ORM does it. `Manager.raw` looks through all columns anew for each of them, a tenth of a booking's whole
CPU; planning a statement takes PostgreSQL several times as long as executing it.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.backends.utils import CursorWrapper

M = TypeVar("M", bound=models.Model)


def prepared() -> CursorWrapper:
    """A cursor whose statements each connection plans once, if they differ in their values alone.

    Behind a connection pooler that hands the connection on between statements and knows of no prepared ones,
    `DATABASE_PREPARE=false` turns that off.
    """
    database = connections[DEFAULT_DB_ALIAS]
    if database.queries_logged:  # which shows what is executed, and not what was prepared
        return database.cursor()
    database.ensure_connection()
    with database.wrap_database_errors:
        cursor: Any = ServerBindingCursor(database.connection)  # type: ignore[call-arg]
    return database.make_cursor(cursor)


def instance(model: type[M], names: Sequence[str], row: Sequence[Any]) -> M:
    """`names` are the fields that `row` holds, in the model's order and with `_id` for foreign keys; the others are
    read when asked for."""
    values = list(row)
    for index, field in _to_be_read(model, tuple(names)):
        values[index] = field.from_db_value(values[index], field.cached_col, connection)
    return model.from_db(DEFAULT_DB_ALIAS, names, values)


@cache
def _to_be_read(model: type[models.Model], names: tuple[str, ...]) -> list[tuple[int, Any]]:
    """The fields whose values are others in PostgreSQL, and their places."""
    fields = enumerate(model._meta.get_field(name) for name in names)
    return [(index, field) for index, field in fields if hasattr(field, "from_db_value")]
