"""Reading settings from the environment, each secret also from the file that `NAME_FILE` names.
A value that cannot be read is noted in `problems`, which checks.py turns into errors with a hint."""

import logging
import os
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TypeVar

import environ

T = TypeVar("T")

MAX_PORT = 65_535

env = environ.FileAwareEnv()
problems: list[tuple[str, str]] = []


def read(name: str, parse: Callable[[str], T], default: str) -> T:
    """The setting `name`, parsed; the parsed default where it is unset, empty or cannot be read.

    An empty value counts as unset: container files often pass `NAME=` on.
    """
    try:
        return parse(env.str(name, default="") or default)
    except (ValueError, OSError) as error:
        problems.append((name, str(error)))
        return parse(default)


def fill_in(values: Mapping[str, str]) -> None:
    """Take what the environment leaves unset from here."""
    for name, value in values.items():
        if not os.environ.get(name) and not os.environ.get(f"{name}_FILE"):
            os.environ[name] = value


def text(name: str, default: str = "") -> str:
    return read(name, str.strip, default)


def flag(name: str, default: str = "false") -> bool:
    return read(name, _flag, default)


def seconds(name: str, default: str) -> float:
    return read(name, _positive, default)


def days(name: str, default: str) -> int:
    return read(name, _whole, default)


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated list."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def count(value: str) -> int:
    """A whole number, zero included."""
    if not value.strip().isdecimal():
        raise ValueError("must be a whole number, zero or above")
    return int(value)


def some(value: str) -> int:
    """A whole number above zero."""
    if not (number := count(value)):
        raise ValueError("must be a whole number above zero")
    return number


def port(value: str) -> int:
    if (number := some(value)) > MAX_PORT:
        raise ValueError(f"must be a port's number, at most {MAX_PORT}")
    return number


def log_level(value: str) -> str:
    name = value.strip().upper()
    if name not in logging.getLevelNamesMapping():
        raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
    return name


def networks(value: str) -> list[IPv4Network | IPv6Network]:
    """A comma-separated list of networks, such as `10.0.0.0/8, 127.0.0.1`."""
    return [ip_network(word.strip()) for word in value.split(",") if word.strip()]


def _flag(value: str) -> bool:
    lowered = value.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off"}:
        return False
    raise ValueError("is neither true nor false")


def _positive(value: str) -> float:
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError("must be a number of seconds above zero")
    return number


def _whole(value: str) -> int:
    number = int(value)
    if number < 0:
        raise ValueError("must be a number of days, 0 or more")
    return number
