"""Recurring events: the starts an rrule gives, and the ids HighLevel makes of them.

Not here: when an rrule is applied at all (appointments.py).
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from sandbox.answers import refusal

# An rrule may be endless: sixty instances, or a year of them.
_MOST = 60
_YEAR = timedelta(days=366)


def starts(rrule: str, starts_at: datetime, zone_name: str) -> list[datetime]:
    """On the location's wall clock: a weekly nine o'clock stays nine o'clock through daylight saving."""
    try:
        rule = rrulestr(rrule, dtstart=starts_at.astimezone(ZoneInfo(zone_name)), forceset=True)
        found = list(islice(_within_a_year(rule), _MOST))
    except (ValueError, TypeError, KeyError, AttributeError):  # dateutil raises what it happens to meet
        found = []
    if not found:
        raise refusal(422, ["rrule must be a valid RRULE string"])
    return found


def _within_a_year(rule: Iterable[datetime]) -> Iterator[datetime]:
    """Of its own first instance, which may lie later than the start that was asked for."""
    instances = iter(rule)
    first = next(instances, None)
    if first is not None:
        yield first
        yield from takewhile(lambda start: start - first <= _YEAR, instances)


def instance_id(master_id: str, starts_at: datetime, length: timedelta) -> str:
    return f"{master_id}_{int(starts_at.timestamp() * 1000)}_{int(length.total_seconds())}"
