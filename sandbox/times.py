"""How HighLevel writes and reads times: ISO 8601 with an offset, epoch milliseconds, naive local times.

Not here: what the times mean for slots (slots.py).
"""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

_FRACTION = re.compile(r":\d\d[.,]\d")


def parse(text: str) -> datetime | None:
    """An aware datetime, or None where the text is no ISO 8601 time with an offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def has_fraction(text: str) -> bool:
    return _FRACTION.search(text) is not None


def zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def from_epoch_ms(text: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(text) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def iso(moment: datetime, zone_name: str, precision: str = "seconds") -> str:
    """2021-06-23T03:30:00+05:30, in the location's own zone."""
    return moment.astimezone(ZoneInfo(zone_name)).isoformat(timespec=precision)


def utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def naive(moment: datetime, zone_name: str) -> str:
    """2021-07-16 11:00:00, as /contacts/{id}/appointments writes them: no offset, in the location's zone."""
    return moment.astimezone(ZoneInfo(zone_name)).strftime("%Y-%m-%d %H:%M:%S")
