"""What people do in HighLevel's own calendar: they book, move, rename, cancel, mark and delete.

Not here: the same by the API (appointments.py), where slots are checked and a status left out is set back.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypedDict

from sandbox import news
from sandbox.records import Appointment, Calendar, new_id

if TYPE_CHECKING:
    from sandbox.world import World

SOURCE = "calendar_page"


class Changes(TypedDict, total=False):
    start_time: datetime
    end_time: datetime
    status: str
    title: str
    calendar_id: str
    contact_id: str
    assigned_user_id: str
    description: str


def book(
    world: "World", calendar: Calendar, contact_id: str, starts_at: datetime, *, title: str, source: str
) -> Appointment:
    now = world.clock.now()
    entry = Appointment(
        id=new_id(),
        calendar_id=calendar.id,
        location_id=calendar.location_id,
        contact_id=contact_id,
        starts_at=starts_at,
        ends_at=starts_at + timedelta(minutes=calendar.slot_minutes),
        title=title or world.contacts[contact_id].name,
        status="confirmed",
        assigned_user_id=next(iter(calendar.team), ""),
        added_at=now,
        updated_at=now,
        source=source,
    )
    world.diary.keep(entry)
    news.happened(world, "AppointmentCreate", [entry], source)
    return entry


def change(world: "World", event_id: str, changes: Changes) -> list[Appointment]:
    entries = _named(world, event_id)
    changed = [_changed(world, entry, entries[0], changes) for entry in entries]
    for entry in changed:
        world.diary.keep(entry)
    news.happened(world, "AppointmentUpdate", changed, SOURCE)
    return changed


def delete(world: "World", event_id: str) -> None:
    entries = _named(world, event_id)
    for entry in entries:
        world.diary.remove(entry)
    news.deleted(world, entries, SOURCE)


def _named(world: "World", event_id: str) -> Sequence[Appointment]:
    found = world.diary.series(event_id)
    if not found:
        raise KeyError(event_id)
    return found


def _changed(world: "World", entry: Appointment, first: Appointment, changes: Changes) -> Appointment:
    """A series moves as a whole: each instance by as much as its first."""
    starts_at = changes.get("start_time", first.starts_at)
    length = changes["end_time"] - starts_at if "end_time" in changes else entry.ends_at - entry.starts_at
    moved = entry.starts_at + (starts_at - first.starts_at)
    return replace(
        entry,
        starts_at=moved,
        ends_at=moved + length,
        status=changes.get("status", entry.status),
        old_status=entry.status,
        title=changes.get("title", entry.title),
        calendar_id=changes.get("calendar_id", entry.calendar_id),
        contact_id=changes.get("contact_id", entry.contact_id),
        assigned_user_id=changes.get("assigned_user_id", entry.assigned_user_id),
        description=changes.get("description", entry.description),
        updated_at=entry.next_update(world.clock.now()),
    )
