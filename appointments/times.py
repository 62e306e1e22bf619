"""Times as HighLevel writes them: ISO 8601 text with an offset, kept as the tenant wrote it.
Which fields hold times is in requests.py."""

import re
from datetime import UTC, datetime

# RFC 3339 with optional seconds, an upper-case T and an upper-case Z: what HighLevel's own examples use.
WRITTEN = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?P<fraction>\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)", re.ASCII
)
# HighLevel's lists are asked for in milliseconds since 1970.
YEARS = range(1970, 9999)


def instant(text: str) -> datetime:
    """The instant that a time names. Raises ValueError for any other text."""
    if not WRITTEN.fullmatch(text):
        raise ValueError("This is not an ISO 8601 time with an offset, such as 2026-06-23T03:30:00+05:30.")
    try:
        named = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("There is no such time.") from None
    if named.year not in YEARS:
        raise ValueError("This is before 1970 or after 9998.")
    return named


def whole_seconds(text: str) -> str:
    """The time without a fraction that is zero. Raises ValueError for any other fraction, or no time."""
    instant(text)
    match = WRITTEN.fullmatch(text)
    fraction = match["fraction"] if match else None
    if fraction is None:
        return text
    if fraction.strip(".0"):
        raise ValueError("HighLevel refuses fractions of a second; leave the fraction out.")
    return text.replace(fraction, "", 1)


def moved(end: str, start: str, new_start: str) -> str:
    """The end that keeps the duration after the start has moved, written with the new start's offset."""
    begins = datetime.fromisoformat(new_start)
    ends = begins + (instant(end) - instant(start))
    text = ends.isoformat()
    return text.replace("+00:00", "Z") if new_start.endswith("Z") else text
