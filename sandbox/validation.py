"""Bodies and queries checked as HighLevel's DTOs check them: a strict whitelist, every complaint in one 422.

Not here: rules that need the world (appointments.py, contacts.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sandbox import times
from sandbox.answers import refusal

Kind = Literal["string", "boolean", "enum", "array", "object", "time", "digits"]

_COMPLAINTS: dict[Kind, str] = {
    "string": "must be a string",
    "boolean": "must be a boolean value",
    "enum": "must be a valid enum value",
    "array": "must be an array",
    "object": "must be an object",
    "time": "must be a valid ISO 8601 date string",
    "digits": "must be a number string",
}


_ACCEPTS: dict[Kind, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "time": lambda value: isinstance(value, str) and times.parse(value) is not None,
    "digits": lambda value: isinstance(value, str) and times.from_epoch_ms(value) is not None,
}


@dataclass(frozen=True)
class Field:
    kind: Kind = "string"
    required: bool = False
    nullable: bool = False
    values: frozenset[str] = frozenset()

    def accepts(self, value: Any) -> bool:
        if value is None:
            return self.nullable
        if self.kind == "enum":
            return isinstance(value, str) and value in self.values
        return _ACCEPTS[self.kind](value)


Schema = Mapping[str, Field]


def check(given: Mapping[str, Any], schema: Schema, *, strict: bool = True) -> None:
    """Raise a 422 with everything that is wrong; without `strict`, as for queries, unknown keys may come."""
    complaints = [f"property {name} should not exist" for name in given if strict and name not in schema]
    for name, field in schema.items():
        complaints += _complaints(name, field, given)
    if complaints:
        raise refusal(422, complaints)


def _complaints(name: str, field: Field, given: Mapping[str, Any]) -> list[str]:
    if name not in given:
        complaint = f"{name} {_COMPLAINTS[field.kind]}"
        return [f"{name} should not be empty", complaint] if field.required else []
    if field.required and given[name] == "":
        return [f"{name} should not be empty"]
    return [] if field.accepts(given[name]) else [f"{name} {_COMPLAINTS[field.kind]}"]
