"""Asking Redis, which remembers for all processes what has left: one script, short time-outs, and no second try at
once where it is away. What is asked is __init__.py, what Redis does memory.lua."""

import logging
import time
from functools import cache
from pathlib import Path
from typing import Any

import redis
from redis.commands.core import Script

from oauth import redis_clients

log = logging.getLogger(__name__)

# The first step that takes longer ends the asking; a busy machine alone makes one take 0.1 s.
SECONDS_PER_STEP = 0.25
# Every worker that asks a frozen Redis waits; the others of its process need not.
SKIP_SECONDS = 1.0
NAMES = ("state", "slots", "background")

_skip_until = 0.0


class Away(Exception):
    """Redis does not answer, or refuses to."""


def ask(resource: str, command: str, *arguments: str | int) -> list[Any]:
    """What memory.lua answers. Raises Away, after 0.3 s at most."""
    global _skip_until  # noqa: PLW0603  (one Redis, one memory of its failure)
    if time.monotonic() < _skip_until:
        raise Away
    try:
        answer: list[Any] = _script()(keys=_keys(resource), args=[command, *arguments])
    except redis.RedisError as error:
        _skip_until = time.monotonic() + SKIP_SECONDS
        log.warning("The pace is unknown: %s", type(error).__name__)
        raise Away from error
    return answer


def function() -> str:
    """Lua for another script that asks in the same breath: `pace(resource, command, ...)` answers as `ask` does."""
    names = ", ".join(f'"pace:" .. resource .. ":{name}"' for name in NAMES)
    keys = f'{{ "pace:memory", {names} }}'
    return f"local function pace(resource, ...)\nlocal KEYS, ARGV = {keys}, {{ ... }}\n{_source()}\nend\n"


def _keys(resource: str) -> list[str]:
    return ["pace:memory", *(f"pace:{resource}:{name}" for name in NAMES)]


def _source() -> str:
    return Path(__file__).with_name("memory.lua").read_text()


@cache
def _script() -> Script:
    client = redis_clients.client(SECONDS_PER_STEP, decode_responses=True)
    return client.register_script(_source())
