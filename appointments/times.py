"""Times as HighLevel writes them: ISO 8601 text with an offset, kept as the tenant wrote it.
Which fields hold times is in requests.py."""

import re
from datetime import UTC, datetime

# RFC 3339 (5.6) with optional seconds, an upper-case T and an upper-case Z: what HighLevel's own examples use. The
# ranges stand in the pattern, since Pythons differ in what they read (`+05:75`, `T24:00`). No leap seconds.
WRITTEN = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
    r"T(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?P<fraction>\.\d{1,9})?)?"
    r"(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
NOT_WRITTEN = "This is not an RFC 3339 time with an offset, such as 2026-06-23T03:30:00+05:30."
# HighLevel's lists are asked for in milliseconds since 1970.
YEARS = range(1970, 9999)


def instant(text: str) -> datetime:
    """The instant that a time names. Raises ValueError for any other text."""
    if not WRITTEN.fullmatch(text):
        raise ValueError(NOT_WRITTEN)
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


def mistakes_of_end(start: str, end: str) -> list[str]:
    """What is wrong with an end beside its start; both name an instant already."""
    mistakes = []
    if instant(end) <= instant(start):
        mistakes.append("The end must come after the start.")
    if end.endswith("Z") != start.endswith("Z"):
        mistakes.append("HighLevel refuses a start and an end of which only one ends in Z.")
    return mistakes


def moved(end: str, start: str, new_start: str) -> str:
    """The end that keeps the duration after the start has moved, written with the new start's offset.

    Raises ValueError where there is no such time.
    """
    begins = datetime.fromisoformat(new_start)
    try:
        ends = begins + (instant(end) - instant(start))
    except OverflowError:
        raise ValueError("There is no such time.") from None
    text = ends.isoformat()
    text = text.replace("+00:00", "Z") if new_start.endswith("Z") else text
    instant(text)
    return text
