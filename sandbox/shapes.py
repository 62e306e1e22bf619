"""How an appointment looks on the wire: three shapes, one for each place HighLevel shows it.

Not here: calendars' and contacts' own shapes (calendars.py, contacts.py).
"""

from typing import Any

from sandbox import times
from sandbox.answers import trace_id
from sandbox.records import Appointment
from sandbox.world import World


def written(world: World, appointment: Appointment) -> dict[str, Any]:
    """The answer to create and update, with the extras only live answers show."""
    zone = world.locations[appointment.location_id].timezone
    shape = {
        # A recurring booking is known by the id of the series.
        "id": appointment.master_event_id or appointment.id,
        "calendarId": appointment.calendar_id,
        "locationId": appointment.location_id,
        "contactId": appointment.contact_id,
        "startTime": times.iso(appointment.starts_at, zone),
        "endTime": times.iso(appointment.ends_at, zone),
        "title": appointment.title,
        "meetingLocationType": appointment.meeting_location_type,
        "appointmentStatus": appointment.status,
        "appoinmentStatus": appointment.status,  # sic
        "assignedUserId": appointment.assigned_user_id,
        "address": appointment.address,
        "isRecurring": appointment.rrule is not None,
        "statusDetails": {
            "status": appointment.status,
            "state": "active" if appointment.takes_a_seat else "inactive",
            "oldStatus": appointment.old_status,
            "translatable": False,
        },
        "traceId": trace_id(),
    }
    return {**shape, "rrule": appointment.rrule} if appointment.rrule else shape


def event(world: World, appointment: Appointment) -> dict[str, Any]:
    """An entry of GET /calendars/events, and the event of GET …/appointments/{id}."""
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
    """An entry of GET /contacts/{id}/appointments, whose times carry no offset, as in the official schema."""
    zone = world.locations[appointment.location_id].timezone
    shape = {
        **_common(world, appointment),
        "status": "booked",
        "startTime": times.naive(appointment.starts_at, zone),
        "endTime": times.naive(appointment.ends_at, zone),
    }
    if world.settings.bare_contact_dates:
        shape["dateAdded"] = times.naive(appointment.added_at, zone)
        shape["dateUpdated"] = times.naive(appointment.updated_at, zone)
    return shape


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
