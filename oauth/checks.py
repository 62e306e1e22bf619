"""System checks of the HighLevel app's settings and of the keys that seal tokens."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from oauth.sealing import KeyRing


@register()
def the_marketplace_app_is_named(**_: Any) -> list[CheckMessage]:
    return [
        Error(
            f"{name} is not set.",
            hint="Copy it from the app's page in the developer portal: Advanced Settings, Auth, Client Keys.",
            id="oauth.E001",
        )
        for name in ("GHL_CLIENT_ID", "GHL_CLIENT_SECRET")
        if not getattr(settings, name)
    ]


@register()
def the_install_link_is_this_apps(**_: Any) -> list[CheckMessage]:
    named = parse_qs(urlsplit(settings.GHL_INSTALL_URL).query).get("client_id", [settings.GHL_CLIENT_ID])
    if named == [settings.GHL_CLIENT_ID]:
        return []
    return [
        Error(
            "GHL_INSTALL_URL is the link of another app: its client_id is not GHL_CLIENT_ID.",
            hint="Copy the install link again, or leave GHL_INSTALL_URL empty.",
            id="oauth.E002",
        )
    ]


@register()
def tokens_can_be_sealed(**_: Any) -> list[CheckMessage]:
    hint = "Make one with: python -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())'"
    if not settings.TOKEN_ENCRYPTION_KEYS:
        problem = None if settings.DEBUG else "TOKEN_ENCRYPTION_KEYS is not set."
    else:
        problem = _what_is_wrong(settings.TOKEN_ENCRYPTION_KEYS)
    return [Error(problem, hint=hint, id="oauth.E003")] if problem else []


def _what_is_wrong(keys: list[str]) -> str | None:
    try:
        KeyRing.parse(keys)
    except ValueError as error:
        return f"TOKEN_ENCRYPTION_KEYS: {error}."
    return None
