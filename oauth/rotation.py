"""Sealing what is kept anew with the first key of TOKEN_ENCRYPTION_KEYS, while the service goes on using it.
How a value is sealed is in sealing.py; what an operator is told of all this is in the command rotate_token_keys.

Nothing is locked between reading a row and writing it: the write finds the row only if the values are still
those that were read. Whoever stores a newer one meanwhile wins, and if it was sealed with an old key, the next
pass takes it. So it may be stopped, repeated, and run twice at once.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.apps import apps
from django.db.models import CharField, Count, Func, Model, Q, QuerySet, Value

from oauth.sealing import CannotOpen, KeyRing, Sealed, SealedField, keyring

BATCH_SIZE = 200
# Where processes go on sealing with an old key, a pass finds new work for ever.
MOST_PASSES = 20
# What stands before the dot, and nothing of a value that was never sealed.
KEY_ID = r"^([0-9a-f]{8})\."


@dataclass(frozen=True)
class Place:
    """Where a sealed value stands, and what it is sealed to."""

    table: str
    pk: object
    field: str

    def __str__(self) -> str:
        return f"{self.table}:{self.pk}:{self.field}"


@dataclass(frozen=True)
class Outcome:
    """What became of stale values: sealed anew, replaced by somebody else meanwhile, or closed for ever."""

    resealed: int = 0
    overtaken: int = 0
    unreadable: tuple[Place, ...] = ()

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(
            self.resealed + other.resealed,
            self.overtaken + other.overtaken,
            self.unreadable + other.unreadable,
        )

    @property
    def seen(self) -> int:
        return self.resealed + self.overtaken + len(self.unreadable)


@dataclass(frozen=True)
class Table:
    """A model that has sealed fields, and their names."""

    model: type[Model]
    fields: tuple[str, ...]

    @property
    def rows(self) -> "QuerySet[Model]":
        return self.model._base_manager.all()

    def place(self, pk: object, field: str) -> Place:
        return Place(self.model._meta.db_table, pk, field)

    def stale(self, ring: KeyRing) -> "QuerySet[Model]":
        """The rows with a value that another key than the first has sealed."""
        condition = Q()
        for field in self.fields:
            condition |= Q(**{f"{field}__gt": ""}) & ~Q(**{f"{field}__startswith": f"{ring.ids[0]}."})
        return self.rows.filter(condition)


def tables() -> list[Table]:
    """Every model with a SealedField, whichever room it belongs to."""
    found = [Table(model, _sealed_fields(model)) for model in apps.get_models()]
    return [table for table in found if table.fields]


def _sealed_fields(model: type[Model]) -> tuple[str, ...]:
    # Inherited columns belong to the parent's table, and are sealed to it.
    return tuple(field.name for field in model._meta.local_fields if isinstance(field, SealedField))


def count() -> Counter[str]:
    """How many values there are by the id of the key that sealed them; "" for those that show none."""
    counted: Counter[str] = Counter()
    for table in tables():
        for field in table.fields:
            counted.update(_count(table, field))
    return counted


def _count(table: Table, field: str) -> dict[str, int]:
    key = Func(field, Value(KEY_ID), function="substring", output_field=CharField())
    kept = table.rows.filter(**{f"{field}__gt": ""}).order_by()
    return {
        each or "": many for each, many in kept.annotate(key=key).values_list("key").annotate(Count("pk"))
    }


def reseal(*, batch_size: int = BATCH_SIZE, progress: Callable[[int], object] = lambda _: None) -> Outcome:
    """Pass over all stale values until none is left, or another pass would help no more.

    `progress` hears after each batch how many values it has seen.
    """
    ring, total = keyring(), Outcome()
    for _ in range(MOST_PASSES):
        last = _pass(ring, batch_size, progress)
        # Of what cannot be opened the last pass tells: an install may have replaced it since the one before.
        total = replace(total + last, unreadable=last.unreadable)
        if last.seen == len(last.unreadable):
            break
    return total


def _pass(ring: KeyRing, batch_size: int, progress: Callable[[int], object]) -> Outcome:
    total = Outcome()
    for table in tables():
        for batch in _batches(table, ring, batch_size):
            done = sum((_reseal(table, row, ring) for row in batch), start=Outcome())
            progress(done.seen)
            total += done
    return total


def _batches(table: Table, ring: KeyRing, size: int) -> Iterator[list[dict[str, Any]]]:
    """The table's stale rows in the order of its key, each read just before it is asked for."""
    rows = table.stale(ring).order_by("pk").values("pk", *table.fields)
    batch = list(rows[:size])
    while batch:
        yield batch
        batch = list(rows.filter(pk__gt=batch[-1]["pk"])[:size])


def _reseal(table: Table, row: dict[str, Any], ring: KeyRing) -> Outcome:
    """One row, unless somebody has written to one of its stale values since it was read."""
    fresh, unreadable = dict[str, Sealed](), list[Place]()
    for field in table.fields:
        sealed, place = row[field], table.place(row["pk"], field)
        if not sealed or ring.is_current(sealed):
            continue
        try:
            fresh[field] = ring.seal(ring.open(sealed, str(place)), str(place))
        except CannotOpen:
            unreadable.append(place)
    unchanged = table.rows.filter(pk=row["pk"], **{field: row[field] for field in fresh})
    if fresh and not unchanged.update(**fresh):
        return Outcome(overtaken=len(fresh), unreadable=tuple(unreadable))
    return Outcome(resealed=len(fresh), unreadable=tuple(unreadable))
