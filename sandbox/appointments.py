"""The appointment endpoints: create, update, read, delete, and the events of a time span.

Not here: seats (slots.py), wire shapes (shapes.py), the contact's own list (contacts.py).
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from werkzeug import Response

from sandbox import news, recurrence, shapes, slots, times
from sandbox.answers import answer, bare_bad_request, refusal, unknown, unknown_event
from sandbox.calls import Call
from sandbox.gates import own
from sandbox.records import Appointment, Calendar, new_id
from sandbox.validation import Field, check

_STATUSES = frozenset({"new", "confirmed", "cancelled", "showed", "noshow", "invalid"})
_MEETING_TYPES = frozenset({"custom", "zoom", "gmeet", "phone", "address", "ms_teams", "google"})
_UPDATE = {
    "title": Field(),
    "meetingLocationType": Field("enum", values=_MEETING_TYPES),
    "meetingLocationId": Field(),
    "overrideLocationConfig": Field("boolean"),
    "appointmentStatus": Field("enum", values=_STATUSES),
    "assignedUserId": Field(),
    "description": Field(),
    "address": Field(),
    "ignoreDateRange": Field("boolean"),
    "toNotify": Field("boolean"),
    "ignoreFreeSlotValidation": Field("boolean"),
    "rrule": Field(),
    "calendarId": Field(),
    "startTime": Field("time"),
    "endTime": Field("time"),
}
_CREATE = {
    **_UPDATE,
    "calendarId": Field(required=True),
    "locationId": Field(required=True),
    "contactId": Field(required=True),
    "startTime": Field("time", required=True),
}
_EVENTS = {
    "locationId": Field(required=True),
    "startTime": Field("digits", required=True),
    "endTime": Field("digits", required=True),
}


def create(call: Call) -> Response:
    check(call.body, _CREATE)
    _check_writing_of_times(call.body)
    calendar = _calendar(call, call.body["calendarId"])
    first = _appointment(call, calendar)
    if not call.body.get("ignoreFreeSlotValidation"):
        slots.require_free(call.world, calendar, first)
        entries = [first]
    else:
        entries = _series(call, first)
    for entry in entries:
        call.world.diary.keep(entry)
    news.happened(call.world, "AppointmentCreate", entries, news.API)
    return answer(shapes.written(call.world, entries[0]), _made(call))


def _made(call: Call) -> int:
    """200 is documented, and whoever asks is to take any 2xx."""
    return int(call.world.forms.pick("success_status"))


def update(call: Call) -> Response:
    check(call.body, _UPDATE)
    _check_writing_of_times(call.body)
    entries = _entries(call)
    calendar = _calendar(call, call.body.get("calendarId", entries[0].calendar_id))
    changed = _changed(call, calendar, entries)
    if not call.body.get("ignoreFreeSlotValidation"):
        for entry in changed:
            slots.require_free(call.world, calendar, entry)
    for entry in changed:
        call.world.diary.keep(entry)
    news.happened(call.world, "AppointmentUpdate", changed, news.API)
    return answer(shapes.written(call.world, changed[0]))


def read(call: Call) -> Response:
    return answer(shapes.read(call.world, _entries(call)[0]))


def delete(call: Call) -> Response:
    check(call.body, {})
    entries = _entries(call)
    for entry in entries:
        call.world.diary.remove(entry)
    news.deleted(call.world, entries, news.API)
    return answer({"succeeded": True}, 201)


def events(call: Call) -> Response:
    check(call.query, _EVENTS, strict=False)
    by = [name for name in ("userId", "calendarId", "groupId") if call.query.get(name)]
    if not by:
        raise refusal(422, ["Either of userId, calendarId or groupId is required"])
    starts_at, ends_at = (times.from_epoch_ms(call.query[name]) for name in ("startTime", "endTime"))
    if not (starts_at and ends_at and starts_at <= ends_at):
        raise bare_bad_request()
    found = [
        shapes.listed(call.world, entry)
        for calendar in _asked_calendars(call)
        for entry in call.world.diary.in_calendar(
            calendar.id, starts_at, ends_at, call.world.settings.list_lag_seconds
        )
        if call.query.get("userId") in (None, entry.assigned_user_id)
    ]
    return answer({"events": call.world.forms.ordered(found)})


def _asked_calendars(call: Call) -> list[Calendar]:
    query = call.query
    return [
        calendar
        for calendar in call.world.calendars.values()
        if calendar.location_id == query["locationId"]
        and query.get("calendarId") in (None, calendar.id)
        and query.get("groupId") in (None, calendar.group_id)
    ]


def _check_writing_of_times(body: dict[str, Any]) -> None:
    """HighLevel answers a bare 400 to fractions of a second, and to a Z mixed with an offset."""
    written = [body[name] for name in ("startTime", "endTime") if name in body]
    if any(times.has_fraction(text) for text in written) or len({text.endswith("Z") for text in written}) > 1:
        raise bare_bad_request()


def _entries(call: Call) -> list[Appointment]:
    """What the id of the path names: one appointment, one instance, or all instances of a series."""
    found = call.world.diary.series(call.path_args["event_id"])
    if not found:
        raise unknown_event()
    own(call, found[0].location_id)
    return found


def _calendar(call: Call, calendar_id: str) -> Calendar:
    calendar = call.world.calendars.get(calendar_id)
    if calendar is None or (call.grant and calendar.location_id != call.grant.location_id):
        raise unknown(404, "Calendar not found")
    if not calendar.active:
        raise refusal(400, "Calendar is inactive")
    return calendar


def _contact_name(call: Call, calendar: Calendar) -> str:
    contact_id = call.body["contactId"]
    contact = call.world.contacts.get(contact_id)
    if contact is None or contact.location_id != calendar.location_id:
        raise unknown(400, f"Contact with id {contact_id} not found")
    return contact.name


def _assigned_user(call: Call, calendar: Calendar) -> str:
    """Whoever is named must be of the team; with slot validation HighLevel picks somebody itself."""
    named = call.body.get("assignedUserId")
    if named and named not in calendar.team:
        raise refusal(422, "The user id not part of calendar team.")
    if not named and calendar.team and call.body.get("ignoreFreeSlotValidation"):
        raise refusal(422, "A team member needs to be selected. assignedUserId is missing")
    return str(named or next(iter(calendar.team), ""))


def _times(body: dict[str, Any], start: datetime | None, length: timedelta) -> tuple[datetime, datetime]:
    """As given; a start alone keeps the length, an end alone keeps the start."""
    starts_at = times.parse(body["startTime"]) if "startTime" in body else start
    if starts_at is None:
        raise bare_bad_request()
    ends_at = times.parse(body["endTime"]) if "endTime" in body else starts_at + length
    if ends_at is None or ends_at <= starts_at:
        raise bare_bad_request()
    return starts_at, ends_at


def _appointment(call: Call, calendar: Calendar) -> Appointment:
    body, now = call.body, call.world.clock.now()
    contact_name = _contact_name(call, calendar)
    starts_at, ends_at = _times(body, None, timedelta(minutes=calendar.slot_minutes))
    return Appointment(
        id=new_id(),
        calendar_id=calendar.id,
        location_id=calendar.location_id,
        contact_id=body["contactId"],
        starts_at=starts_at,
        ends_at=ends_at,
        title=body.get("title", contact_name),
        status=body.get("appointmentStatus", "confirmed" if calendar.auto_confirm else "new"),
        assigned_user_id=_assigned_user(call, calendar),
        added_at=now,
        updated_at=now,
        description=body.get("description", ""),
        address=body.get("address", ""),
        meeting_location_type=body.get("meetingLocationType", "custom"),
        meeting_location_id=body.get("meetingLocationId", "default"),
    )


def _series(call: Call, first: Appointment) -> list[Appointment]:
    """One entry per instance where an rrule came, else the appointment alone."""
    rrule = call.body.get("rrule")
    if not rrule:
        return [first]
    length = first.ends_at - first.starts_at
    zone = call.world.locations[first.location_id].timezone
    return [
        replace(
            first,
            id=recurrence.instance_id(first.id, start, length),
            starts_at=start,
            ends_at=start + length,
            rrule=rrule,
            master_event_id=first.id,
        )
        for start in recurrence.starts(rrule, first.starts_at, zone)
    ]


def _changed(call: Call, calendar: Calendar, entries: list[Appointment]) -> list[Appointment]:
    body, first = call.body, entries[0]
    starts_at, ends_at = _times(body, first.starts_at, first.ends_at - first.starts_at)
    shift, length = starts_at - first.starts_at, ends_at - starts_at
    if "assignedUserId" in body:
        _assigned_user(call, calendar)
    return [
        replace(
            entry,
            calendar_id=calendar.id,
            starts_at=entry.starts_at + shift,
            ends_at=entry.starts_at + shift + length,
            title=body.get("title", entry.title),
            # Measured: HighLevel sets it back to confirmed where the body leaves it out.
            status=body.get("appointmentStatus", "confirmed"),
            old_status=entry.status,
            assigned_user_id=body.get("assignedUserId", entry.assigned_user_id),
            description=body.get("description", entry.description),
            address=body.get("address", entry.address),
            meeting_location_type=body.get("meetingLocationType", entry.meeting_location_type),
            meeting_location_id=body.get("meetingLocationId", entry.meeting_location_id),
            updated_at=entry.next_update(call.world.clock.now()),
        )
        for entry in entries
    ]
