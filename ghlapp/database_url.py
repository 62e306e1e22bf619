"""Reading DATABASE_URL as libpq reads it: every parameter that it may carry reaches the connection."""

from pathlib import Path
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

SCHEMES = ("postgres://", "postgresql://")
CERTIFICATE_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
# What Django's DATABASES calls the parts that it names.
DJANGO_NAMES = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
NOWHERE = "postgres://unset@127.0.0.1:1/unset"


def database(url: str, **options: Any) -> dict[str, Any]:
    """An entry of Django's DATABASES; the URL's parameters go before `options`.

    A URL that cannot be used leads nowhere: `problem` says why, and stops the start.
    """
    parameters = _parameters(url if url and not problem(url) else NOWHERE)
    return {
        "ENGINE": "django.db.backends.postgresql",
        **{name: parameters.pop(keyword, "") for keyword, name in DJANGO_NAMES.items()},
        "OPTIONS": {**options, **parameters},
    }


def problem(url: str) -> str | None:
    """What is wrong with the URL, without anything secret of it."""
    try:
        parameters = _parameters(url)
    except ValueError as error:
        return str(error)
    if not parameters.get("dbname"):
        return "names no database"
    return _refusal(parameters) or _unreadable_file(parameters)


def _parameters(url: str) -> dict[str, Any]:
    """The URL's parts by libpq's names. Raises ValueError, without anything secret in it."""
    if not url.startswith(SCHEMES):
        raise ValueError("does not begin with postgres://")
    try:
        parameters = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        if str(error).startswith("invalid URI query parameter"):
            raise ValueError(f"has an unknown option: {str(error).partition(':')[2].strip()}") from None
        # libpq's other messages show the whole URL.
        raise ValueError("is no URL of PostgreSQL; are special characters percent-encoded?") from None
    if parameters.get("sslrootcert"):
        # libpq's own default, `prefer`, would take any server.
        parameters.setdefault("sslmode", "verify-full")
    return parameters


def _refusal(parameters: dict[str, Any]) -> str | None:
    """What libpq says of the values, which it judges before it connects; here, to a socket that is not there."""
    nowhere = ",".join("/nowhere" for _ in str(parameters.get("host", "")).split(","))
    conninfo = make_conninfo(**{**parameters, "host": nowhere, "hostaddr": ""})
    connection = pq.PGconn.connect_start(conninfo.encode())
    message = connection.error_message.decode(errors="replace").strip()
    connection.finish()
    return None if message.startswith("connection to server") else message


def _unreadable_file(parameters: dict[str, Any]) -> str | None:
    for name in CERTIFICATE_FILES:
        path = parameters.get(name)
        # Keys may be kept by an engine, authorities by the system.
        if not path or path == "system" or (name == "sslkey" and ":" in path):
            continue
        try:
            Path(path).read_bytes()
        except OSError as error:
            return f"names a file for {name} that cannot be read: {error.strerror}"
    return None
