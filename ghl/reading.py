"""Tolerant readers of single values in HighLevel's JSON: wrong or missing becomes None, never an exception.

No knowledge of which key means what: that is in `types.py`.
"""

import base64
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import NoReturn

Json = Mapping[str, object]
WESTERNMOST = timezone(timedelta(hours=-12))


def mapping(value: object) -> Json:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[Json]:
    """The JSON objects in a list; whatever else it holds is left out."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def text(data: Json, *keys: str) -> str | None:
    """The first of the keys that holds a string with something in it."""
    for key in keys:
        value = data.get(key)
        if isinstance(value, str) and value:
            return clean(value)
    return None


def clean(value: str) -> str:
    """Without what JSON can say and neither UTF-8 nor PostgreSQL can hold: lone surrogates and NUL."""
    return value.encode("utf-8", "replace").decode().replace("\0", "")


def texts(value: object) -> tuple[str, ...]:
    """The strings in a list, or the words of a string."""
    if isinstance(value, str):
        return tuple(value.split())
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def flag(data: Json, key: str) -> bool | None:
    """A boolean, also written as the string `"true"` or `"false"` as in HighLevel's own examples."""
    value = data.get(key)
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def number(data: Json, key: str) -> float | None:
    """A number, also written as a string of digits."""
    value = data.get(key)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 1e18 else None  # neither NaN nor infinite, which Python's JSON reads too


def digits(value: str | None, least: int, most: int) -> int | None:
    """A whole number within these bounds, as headers hold one."""
    plain = value.strip() if value is not None else ""
    if not (plain.isascii() and plain.isdigit() and len(plain) <= 18):
        return None
    return int(plain) if least <= int(plain) <= most else None


def moment(value: object) -> datetime | None:
    """An aware datetime from ISO 8601 with an offset; None for a time whose zone would have to be guessed."""
    try:
        read = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return read if read is not None and read.tzinfo is not None else None


def latest_moment(value: object) -> datetime | None:
    """The latest instant that a time can mean: itself, or without an offset its reading in the westernmost zone."""
    try:
        read = datetime.fromisoformat(value) if isinstance(value, str) else None
        return read.replace(tzinfo=WESTERNMOST) if read is not None and read.tzinfo is None else read
    except ValueError:
        return None


def instant(seconds: float | None) -> datetime | None:
    """An aware datetime from seconds since 1970."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def jwt_claims(token: str) -> Json:
    """The claims of a JSON Web Token (RFC 7519), unverified: for facts about a token we were just handed."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        return mapping(json_object(base64.urlsafe_b64decode(parts[1] + "==")))
    except ValueError:
        return {}


def json_object(body: bytes) -> Json | None:
    """The JSON object a body consists of; None where it is anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, Mapping) else None


def no_constant(name: str) -> NoReturn:
    """For json.loads' `parse_constant`, where NaN and the infinities are to be refused. Raises ValueError."""
    raise ValueError(f"{name} is not JSON")


def finite(number: str) -> float:
    """For json.loads' `parse_float`, likewise for what is too large to be a number here."""
    read = float(number)
    if math.isinf(read):
        raise ValueError("a number is too large")
    return read
