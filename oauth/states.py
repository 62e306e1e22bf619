"""The `state` of an install, which ties a callback to the browser that began it: a signed cookie for each.
Cookies and not a session: beginning an install leaves no row, and tabs that begin at once lose none of their states.
"""

import hashlib

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner, b62_decode
from django.http import HttpRequest, HttpResponse

LIFETIME_SECONDS = 3600
# Tabs of one browser that may be on the consent page at once.
MAX_STATES = 5
COOKIE_PREFIX = "install_state_"


def remember(request: HttpRequest, response: HttpResponse, state: str) -> None:
    """Give the browser the cookie of a new state, and take away those that are too old or too many."""
    held = {name: text for name, text in request.COOKIES.items() if name.startswith(_prefix())}
    newest_first = sorted(held, key=lambda name: _issued_at(held[name]), reverse=True)
    for name in newest_first[MAX_STATES - 1 :]:
        response.delete_cookie(name)
    response.set_cookie(
        _cookie_name(state),
        _signer().sign(state),
        max_age=LIFETIME_SECONDS,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def is_of_browser(request: HttpRequest, state: str) -> bool:
    """Whether this browser was given the state, at most an hour ago."""
    return _opened(request.COOKIES.get(_cookie_name(state), "")) == state


def _opened(signed: str) -> str | None:
    try:
        return _signer().unsign(signed, max_age=LIFETIME_SECONDS)
    except BadSignature:
        return None


def _issued_at(signed: str) -> int:
    return b62_decode(signed.rsplit(":", 2)[1]) if _opened(signed) is not None else 0


def _signer() -> TimestampSigner:
    return TimestampSigner(salt="oauth.state")


def _cookie_name(state: str) -> str:
    return _prefix() + hashlib.sha256(state.encode(errors="replace")).hexdigest()[:16]


def _prefix() -> str:
    return settings.COOKIE_NAME_PREFIX + COOKIE_PREFIX
