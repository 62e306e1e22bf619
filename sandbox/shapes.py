"""How an appointment looks on the wire: three shapes, one for each place HighLevel shows it, in the forms it leaves
open (forms.py).

Not here: calendars' and contacts' own shapes (calendars.py, contacts.py).
"""

from typing import Any

from sandbox import times
from sandbox.answers import trace_id
from sandbox.records import Appointment
from sandbox.world import World

_WRITTEN_REQUIRED = frozenset(
    {"id", "calendarId", "locationId", "contactId", "appointmentStatus", "appoinmentStatus", "traceId"}
)
_EVENT_REQUIRED = frozenset(
    {
        *("id", "title", "calendarId", "locationId", "contactId", "groupId", "appointmentStatus"),
        *("assignedUserId", "users", "startTime", "endTime", "dateAdded", "dateUpdated"),
        # One of them at least: what HighLevel was given it shows.
        *("notes", "description"),
    }
)
_ENTRY_LEFT_OUT = {
    "full": frozenset[str](),
    "no_dates": frozenset({"dateAdded", "dateUpdated"}),
    "no_title": frozenset({"title", "appointmentStatus"}),
    "no_contact": frozenset({"contactId", "locationId"}),
    "underscore_id": frozenset({"id"}),
}


def written(world: World, appointment: Appointment) -> dict[str, Any]:
    """The answer to create and update, with the extras only live answers show."""
    zone = world.locations[appointment.location_id].timezone
    shape = {
        # A recurring booking is known by the id of the series.
        "id": appointment.master_event_id or appointment.id,
        "calendarId": appointment.calendar_id,
        "locationId": appointment.location_id,
        "contactId": appointment.contact_id,
        **starts_and_ends(world, appointment, zone),
        "title": appointment.title,
        "meetingLocationType": appointment.meeting_location_type,
        "appointmentStatus": appointment.status,
        "appoinmentStatus": appointment.status,  # sic
        "assignedUserId": appointment.assigned_user_id,
        "address": appointment.address,
        "isRecurring": world.forms.flag(appointment.rrule is not None),
        "statusDetails": {
            "status": appointment.status,
            "state": "active" if appointment.takes_a_seat else "inactive",
            "oldStatus": appointment.old_status,
            "translatable": False,
        },
        "traceId": trace_id(),
    }
    if appointment.rrule:
        shape["rrule"] = appointment.rrule
    spelling = world.forms.pick("status_key")
    if spelling != "both":
        del shape["appointmentStatus" if spelling == "misspelt" else "appoinmentStatus"]
    if world.forms.pick("trace") == "absent":
        del shape["traceId"]
    return world.forms.shown(shape, _WRITTEN_REQUIRED, "created_answer")


def read(world: World, appointment: Appointment) -> dict[str, Any]:
    """The answer to GET …/appointments/{id}."""
    envelope = world.forms.pick("event_envelope")
    trace = {"traceId": trace_id()} if world.forms.pick("trace") == "there" else {}
    return {envelope: listed(world, appointment), **trace}


def listed(world: World, appointment: Appointment) -> dict[str, Any]:
    """An entry of GET /calendars/events, and the event of GET …/appointments/{id}."""
    forms, zone = world.forms, world.locations[appointment.location_id].timezone
    shape = event(world, appointment)
    shape["isRecurring"] = forms.flag(shape["isRecurring"])
    shape |= {**starts_and_ends(world, appointment, zone), **dates(world, appointment, zone)}
    if (kept := forms.pick("notes")) != "both":
        del shape["notes" if kept == "description" else "description"]
    return forms.shown(shape, _EVENT_REQUIRED, "event_optional")


def dates(world: World, appointment: Appointment, zone: str) -> dict[str, str]:
    """When it was made and last changed."""
    moments = {"dateAdded": appointment.added_at, "dateUpdated": appointment.updated_at}
    match world.forms.pick("dates"):
        case "utc_milliseconds":
            return {name: times.utc(moment) for name, moment in moments.items()}
        case "offset_milliseconds":
            return {name: times.iso(moment, zone, "milliseconds") for name, moment in moments.items()}
    return {name: times.iso(moment, zone) for name, moment in moments.items()}


def starts_and_ends(world: World, appointment: Appointment, zone: str) -> dict[str, str]:
    moments = {"startTime": appointment.starts_at, "endTime": appointment.ends_at}
    match world.forms.pick("times"):
        case "utc":
            return {name: times.iso(moment, "UTC").replace("+00:00", "Z") for name, moment in moments.items()}
        case "utc_milliseconds":
            return {name: times.utc(moment) for name, moment in moments.items()}
    return {name: times.iso(moment, zone) for name, moment in moments.items()}


def event(world: World, appointment: Appointment) -> dict[str, Any]:
    """An event with all that the official schema has, as HighLevel's own pages write it."""
    zone = world.locations[appointment.location_id].timezone
    shape = {
        **_common(world, appointment),
        "startTime": times.iso(appointment.starts_at, zone),
        "endTime": times.iso(appointment.ends_at, zone),
        "description": appointment.description,
        "isRecurring": appointment.rrule is not None,
        "createdBy": {"userId": "", "source": appointment.source},
    }
    if appointment.rrule:
        shape |= {"rrule": appointment.rrule, "masterEventId": appointment.master_event_id}
    return shape


def contact_event(world: World, appointment: Appointment) -> dict[str, Any]:
    """An entry of GET /contacts/{id}/appointments, whose times carry no offset."""
    is_local = world.forms.pick("bare_times") == "location"
    zone = world.locations[appointment.location_id].timezone if is_local else "UTC"
    shape = {
        **_common(world, appointment),
        "status": "booked",
        "startTime": times.naive(appointment.starts_at, zone),
        "endTime": times.naive(appointment.ends_at, zone),
    }
    if world.settings.bare_contact_dates:
        shape["dateAdded"] = times.naive(appointment.added_at, zone)
        shape["dateUpdated"] = times.naive(appointment.updated_at, zone)
    form = world.forms.pick("contact_entry")
    if form == "id_alone":
        return {"id": appointment.id}
    if form == "underscore_id":
        shape["_id"] = appointment.id
    return {key: value for key, value in shape.items() if key not in _ENTRY_LEFT_OUT[form]}


def _common(world: World, appointment: Appointment) -> dict[str, Any]:
    return {
        "id": appointment.id,
        "calendarId": appointment.calendar_id,
        "locationId": appointment.location_id,
        "contactId": appointment.contact_id,
        "groupId": world.calendars[appointment.calendar_id].group_id,
        "title": appointment.title,
        "appointmentStatus": appointment.status,
        "assignedUserId": appointment.assigned_user_id,
        "users": [appointment.assigned_user_id] if appointment.assigned_user_id else [],
        "address": appointment.address,
        "notes": appointment.description,
        "assignedResources": [],
        "dateAdded": times.utc(appointment.added_at),
        "dateUpdated": times.utc(appointment.updated_at),
    }
