"""Times as HighLevel writes them: ISO 8601 text with an offset, kept as the tenant wrote it.
Which fields hold times is in requests.py."""

import re
from datetime import UTC, datetime

# RFC 3339 (5.6) with optional seconds, an upper-case T and an upper-case Z: what HighLevel's own examples use. The
# ranges stand in the pattern, since Pythons differ in what they read (`+05:75`, `T24:00`). No leap seconds.
_DATE = "-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_HOUR_AND_MINUTE = "T(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_OFFSET = "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
WRITTEN = re.compile(
    rf"[0-9]{{4}}{_DATE}{_HOUR_AND_MINUTE}(?::[0-5][0-9](?P<fraction>\.[0-9]{{1,9}})?)?{_OFFSET}"
)
# For the API's schema, with the years that are taken and with seconds, as its format `date-time` has them: of any
# time, and of one that HighLevel is given.
_YEARS = "(?:19[7-9][0-9]|[2-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])"
_WHOLE = f"^{_YEARS}{_DATE}{_HOUR_AND_MINUTE}:[0-5][0-9]"
MOMENT_PATTERN = rf"{_WHOLE}(?:\.[0-9]{{1,9}})?{_OFFSET}$"
TIME_PATTERN = rf"{_WHOLE}(?:\.0{{1,9}})?{_OFFSET}$"
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
