"""Which settings hold secrets, and the secrets in them."""

from collections.abc import Iterator
from urllib.parse import unquote

from django.conf import settings


def secrets() -> Iterator[tuple[str, str]]:
    """The name of a setting, and a secret that it holds; a setting of several values comes several times."""
    yield "SECRET_KEY", settings.SECRET_KEY
    yield from (("SECRET_KEY_FALLBACKS", key) for key in settings.SECRET_KEY_FALLBACKS)
    yield from (("TOKEN_ENCRYPTION_KEYS", key) for key in settings.TOKEN_ENCRYPTION_KEYS)
    yield "GHL_CLIENT_SECRET", settings.GHL_CLIENT_SECRET
    yield "GHL_SHARED_SECRET", settings.GHL_SHARED_SECRET
    yield from (("DATABASE_URL", password) for password in _passwords(settings.DATABASE_URL))
    yield from (("REDIS_URL", password) for password in _passwords(settings.REDIS_URL))


def _passwords(url: str) -> Iterator[str]:
    """The URL's password, as it is written and as it is meant."""
    # Not by a parser of URLs, which may not understand one that is written wrongly.
    _, _, account = url.rpartition("@")[0].partition("://")
    _, _, password = account.partition(":")
    yield password
    yield unquote(password)
