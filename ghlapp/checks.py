"""System checks of the settings: each wrong value has an id and a hint. They run before every start.
What needs a connection (database, broker, HighLevel) is not checked here: an outage must not stop a start."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from ghlapp import database_url, environment
from oauth import redis_clients


def stop_on_errors() -> None:
    """End this process, with every error's id and hint, where a check fails."""
    try:
        call_command("check")
    except SystemCheckError as error:
        # SystemExit, since Celery's signals swallow every other exception.
        raise SystemExit(str(error)) from error


@register()
def every_value_can_be_read(**_: Any) -> list[CheckMessage]:
    return [
        Error(f"{name} cannot be read: {problem}", hint="See .env.example for its form.", id="ghlapp.E001")
        for name, problem in environment.problems
    ]


@register()
def secrets_are_set(**_: Any) -> list[CheckMessage]:
    if settings.DEBUG or settings.SECRET_KEY != settings.UNSET_SECRET_KEY:
        return []
    return [
        Error(
            "SECRET_KEY is not set.",
            hint="Set SECRET_KEY (or SECRET_KEY_FILE) to 50 or more random characters, or DEBUG=1 to try things out.",
            id="ghlapp.E002",
        )
    ]


@register()
def servers_are_known(**_: Any) -> list[CheckMessage]:
    return [
        Error(
            f"{name} is not set and no local server runs.",
            hint=f"Set {name}, or start local servers with `make serve` or `make demo` first.",
            id="ghlapp.E003",
        )
        for name in ("DATABASE_URL", "REDIS_URL")
        if not getattr(settings, name)
    ]


@register()
def servers_can_be_used(**_: Any) -> list[CheckMessage]:
    judged = {"DATABASE_URL": database_url.problem, "REDIS_URL": redis_clients.problem}
    return [
        Error(
            f"{name} {problem}.",
            hint=f"See .env.example for the form of {name}; special characters in it are percent-encoded.",
            id="ghlapp.E005",
        )
        for name, judge in judged.items()
        if (value := getattr(settings, name)) and (problem := judge(value))
    ]


@register()
def urls_are_absolute(**_: Any) -> list[CheckMessage]:
    return [
        Error(
            f"{name} is not an http(s) URL: {value}",
            hint="Give scheme and host, for instance https://bookings.example.com.",
            id="ghlapp.E004",
        )
        for name in ("PUBLIC_URL", "GHL_API_BASE_URL", "GHL_INSTALL_URL")
        if (value := getattr(settings, name)) and not _is_http(value)
    ]


def _is_http(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
