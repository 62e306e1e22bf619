"""What the API's request headers say: `Prefer`, `Idempotency-Key`, `If-Match`. Read without regular expressions or
with such as take time in proportion to the header's length; what they lead to is in api.py."""

import re

from appointments.requests import InvalidRequest

IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}")
# For the API's schema. HTTP strips blanks from both ends, so that a value of blanks alone arrives empty.
IDEMPOTENCY_KEY_PATTERN = r"^[\x20-\x7e]*[\x21-\x7e][\x20-\x7e]*$"
MAX_WAIT_SECONDS = 30
# What servers append to the tag of an answer that they compress, inside its quotes (Apache, nginx, Jetty, Caddy).
ENCODING_SUFFIXES = tuple(
    f"{mark}{encoding}" for mark in ("--", "-", ";", "/") for encoding in ("gzip", "br", "deflate", "zstd")
)


def idempotency_key(text: str | None) -> str | None:
    """The key as given. Raises InvalidRequest for one that could not be compared or stored."""
    if text is not None and not IDEMPOTENCY_KEY.fullmatch(text):
        raise InvalidRequest(("", "The Idempotency-Key must have 1 to 255 printable ASCII characters."))
    return text


def preferred_wait(text: str) -> int | None:
    """The seconds of `Prefer: wait=N` (RFC 7240, 4.3), 30 at most; None where none is given or it is no number."""
    for preference in text.replace(";", ",").split(","):
        name, _, value = preference.partition("=")
        digits = value.strip().removeprefix('"').removesuffix('"')
        if name.strip().lower() == "wait" and digits.isascii() and digits.isdigit():
            # Three digits are above 30 already, and thousands of them no int.
            return min(int(digits.lstrip("0")[:3] or "0"), MAX_WAIT_SECONDS)
    return None


def entity_tags(text: str) -> set[str] | None:
    """The tags of `If-Match` (RFC 9110, 13.1.1); None where any is good enough.

    A proxy that compresses answers makes `W/"tag"` or `"tag-gzip"` of `"tag"`, and its clients send that back. The
    booking behind it is the same, so the tag is as well, though the RFC compares strongly here.
    """
    if text.strip() == "*":
        return None
    return {_unchanged_by_proxies(tag.strip()) for tag in text.split(",")}


def _unchanged_by_proxies(tag: str) -> str:
    strong = tag.removeprefix("W/")
    if len(strong) < 2 or not (strong.startswith('"') and strong.endswith('"')):
        return tag
    inner = strong[1:-1]
    suffix = next((each for each in ENCODING_SUFFIXES if inner.endswith(each)), "")
    return f'"{inner.removesuffix(suffix)}"'
