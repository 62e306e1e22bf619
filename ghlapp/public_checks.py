"""System checks for a service that the public reaches: an https PUBLIC_URL that is not this machine's own.
What is convenient on a developer's machine stops such a start."""

import base64
import binascii
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from ghlapp.local.demo import SANDBOX_KEY
from ghlapp.secret_settings import secrets

SHORTEST_SECRET_KEY = 50
FEWEST_CHARACTERS = 5
# Of 32 random bytes 30 differ on average; that fewer than 20 do happens once in 7 · 10⁹ keys.
FEWEST_BYTES = 20
# What begins secrets that stand in this repository, today or in its history. New ones begin with "only-for-".
PUBLISHED = (
    *("only-for-", "only for ", "unset-only-for-", "for-the-demo", "for the demo", "django-insecure-"),
    *("00000000-0000-4000-8000-", "new key of the bench", "old key of the bench"),
)
RANDOM_TEXT = "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(50))'"
RANDOM_KEY = "Make one with: python -c 'import base64, os; print(base64.b64encode(os.urandom(32)).decode())'"


def is_public(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_own = host in {"localhost", "::1"} or host.startswith("127.") or host.endswith(".localhost")
    return parts.scheme == "https" and host != "" and not is_own


@register()
def nobody_is_shown_the_inside(**_: Any) -> list[CheckMessage]:
    if not (is_public(settings.PUBLIC_URL) and settings.DEBUG):
        return []
    return [
        Error(
            "DEBUG is on, and PUBLIC_URL is public: errors would show the service's inside to everybody.",
            hint="Unset DEBUG.",
            id="ghlapp.E010",
        )
    ]


@register()
def no_secret_is_published(**_: Any) -> list[CheckMessage]:
    if not is_public(settings.PUBLIC_URL):
        return []
    return [
        Error(
            f"{name} is a value that everybody can read in this product's source.",
            hint=f"Set {name} (or {name}_FILE) to a value of your own.",
            id="ghlapp.E011",
        )
        for name in sorted({name for name, secret in secrets() if is_published(secret)})
    ]


def is_published(secret: str) -> bool:
    """Whether the secret stands in this repository: as it is, or as what base64 encodes."""
    return secret.startswith(PUBLISHED) or _decoded(secret).startswith(
        tuple(marker.encode() for marker in PUBLISHED)
    )


@register()
def webhooks_are_signed_by_highlevel(**_: Any) -> list[CheckMessage]:
    if not is_public(settings.PUBLIC_URL) or _letters(SANDBOX_KEY) not in _letters(
        settings.GHL_WEBHOOK_PUBLIC_KEYS
    ):
        return []
    return [
        Error(
            "GHL_WEBHOOK_PUBLIC_KEYS holds the sandbox's key, with whose private half anybody can sign webhooks.",
            hint="Unset GHL_WEBHOOK_PUBLIC_KEYS: its default is HighLevel's own key.",
            id="ghlapp.E011",
        )
    ]


def _letters(pem: str) -> str:
    """The key's base64, however its lines are broken."""
    lines = pem.replace("\\n", "\n").splitlines()
    return "".join(line.strip() for line in lines if not line.startswith("-----"))


@register()
def sessions_are_signed_well(**_: Any) -> list[CheckMessage]:
    if not is_public(settings.PUBLIC_URL):
        return []
    keys = {"SECRET_KEY": [settings.SECRET_KEY], "SECRET_KEY_FALLBACKS": settings.SECRET_KEY_FALLBACKS}
    return [
        Error(
            f"{name} is too short or too uniform: it needs {SHORTEST_SECRET_KEY} random characters.",
            hint=RANDOM_TEXT,
            id="ghlapp.E012",
        )
        for name, values in keys.items()
        if any(len(value) < SHORTEST_SECRET_KEY or len(set(value)) < FEWEST_CHARACTERS for value in values)
    ]


@register()
def tokens_are_sealed_well(**_: Any) -> list[CheckMessage]:
    if not is_public(settings.PUBLIC_URL):
        return []
    return [
        Error(
            f"The key at place {place} of TOKEN_ENCRYPTION_KEYS was not made by chance.",
            hint=f"{RANDOM_KEY} and rotate the keys as the README says.",
            id="ghlapp.E013",
        )
        for place, key in enumerate(settings.TOKEN_ENCRYPTION_KEYS, 1)
        if (value := _decoded(key)) and not has_entropy(value)
    ]


def has_entropy(key: bytes) -> bool:
    """False for text, and for bytes that repeat or count up."""
    if all(32 <= byte < 127 for byte in key):
        return False
    steps = [(after - before) % 256 for before, after in pairwise(key)]
    return min(len(set(key)), len(set(steps))) >= FEWEST_BYTES


def _decoded(key: str) -> bytes:
    try:
        return base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        # What is no base64 at all, oauth.E003 says.
        return b""


@register()
def highlevel_is_reached_by_https(**_: Any) -> list[CheckMessage]:
    if not is_public(settings.PUBLIC_URL):
        return []
    return [
        Error(
            f"{name} is http: tokens and the client secret would travel in clear.",
            hint=f"Give an https address, or unset {name}: its default is HighLevel's own.",
            id="ghlapp.E014",
        )
        for name in ("GHL_API_BASE_URL", "GHL_INSTALL_URL")
        if getattr(settings, name).lower().startswith("http:")
    ]


@register()
def hosts_are_named(**_: Any) -> list[CheckMessage]:
    if not is_public(settings.PUBLIC_URL) or "*" not in settings.ALLOWED_HOSTS:
        return []
    return [
        Error(
            "ALLOWED_HOSTS=* takes requests for any host, and PUBLIC_URL is public.",
            hint="Unset ALLOWED_HOSTS (its default is PUBLIC_URL's host), or name each host.",
            id="ghlapp.E015",
        )
    ]
