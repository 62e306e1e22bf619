"""Recurring events: the starts an rrule gives, and the ids HighLevel makes of them.

Not here: when an rrule is applied at all (appointments.py).
"""

from datetime import datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from sandbox.answers import refusal

# An rrule may be endless; a year of days is enough of one.
_MOST = 366


def starts(rrule: str, starts_at: datetime, zone_name: str) -> list[datetime]:
    """On the location's wall clock: a weekly nine o'clock stays nine o'clock through daylight saving."""
    try:
        rule = rrulestr(rrule, dtstart=starts_at.astimezone(ZoneInfo(zone_name)), forceset=True)
        found = list(islice(rule, _MOST))
    except (ValueError, TypeError, KeyError, AttributeError):  # dateutil raises what it happens to meet
        found = []
    if not found:
        raise refusal(422, ["rrule must be a valid RRULE string"])
    return found


def instance_id(master_id: str, starts_at: datetime, length: timedelta) -> str:
    return f"{master_id}_{int(starts_at.timestamp() * 1000)}_{int(length.total_seconds())}"
