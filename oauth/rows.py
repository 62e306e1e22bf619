"""Model instances from the rows of statements written by hand, where each millisecond counts. Elsewhere
`Manager.raw` does it: that looks through all columns anew for each of them, a tenth of a booking's whole CPU."""

from collections.abc import Sequence
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, models

M = TypeVar("M", bound=models.Model)


def instance(model: type[M], names: Sequence[str], row: Sequence[Any]) -> M:
    """`names` are the fields that `row` holds, in the model's order and with `_id` for foreign keys; the others are
    read when asked for."""
    fields = [model._meta.get_field(name) for name in names]
    values = [_read(field, value) for field, value in zip(fields, row, strict=True)]
    return model.from_db(DEFAULT_DB_ALIAS, names, values)


def _read(field: Any, value: Any) -> Any:
    if not hasattr(field, "from_db_value"):
        return value
    return field.from_db_value(value, field.cached_col, connection)
