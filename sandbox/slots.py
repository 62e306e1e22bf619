"""Which times of a calendar are free: seats counted against overlapping appointments.

Not here: a grid. Any start is accepted, also one in the past; only the free-slots list offers round ones.
"""

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from sandbox.answers import slot_taken
from sandbox.records import Appointment, Calendar
from sandbox.world import World


def require_free(world: World, calendar: Calendar, wanted: Appointment) -> None:
    if wanted.takes_a_seat and not _is_free(world, calendar, wanted.starts_at, wanted.ends_at, but=wanted.id):
        raise slot_taken()


def offered(
    world: World, calendar: Calendar, first: datetime, last: datetime, zone: ZoneInfo
) -> dict[str, list[str]]:
    """Free starts between the two moments, by date, written in `zone`."""
    by_date: dict[str, list[str]] = {}
    for start in _round_starts(
        calendar, ZoneInfo(world.locations[calendar.location_id].timezone), first, last
    ):
        if _is_free(world, calendar, start, start + timedelta(minutes=calendar.slot_minutes)):
            local = start.astimezone(zone)
            by_date.setdefault(local.date().isoformat(), []).append(local.isoformat(timespec="seconds"))
    return by_date


def _is_free(
    world: World, calendar: Calendar, starts_at: datetime, ends_at: datetime, but: str | None = None
) -> bool:
    others = world.diary.in_calendar(calendar.id, starts_at, ends_at)
    taken = sum(other.takes_a_seat and other.id != but for other in others)
    return taken < calendar.seats


def _round_starts(calendar: Calendar, home: ZoneInfo, first: datetime, last: datetime) -> Iterator[datetime]:
    step = timedelta(minutes=calendar.slot_minutes)
    day = first.astimezone(home).date()
    while day <= last.astimezone(home).date():
        start = datetime.combine(day, time(calendar.opens_hour), home)
        while start + step <= datetime.combine(day, time(calendar.closes_hour), home):
            if first <= start <= last:
                yield start
            start += step
        day += timedelta(days=1)
