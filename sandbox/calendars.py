"""The endpoints about calendars and locations, which only read.

Not here: appointments in calendars (appointments.py), what makes a slot free (slots.py).
"""

from datetime import timedelta
from typing import Any

from werkzeug import Response

from sandbox import slots, times
from sandbox.answers import answer, refusal, trace_id, unknown, wrong_location
from sandbox.calls import Call
from sandbox.gates import own
from sandbox.records import Calendar, Location
from sandbox.tokens import Grant
from sandbox.validation import Field, check

_LONGEST = timedelta(days=31)
_FREE_SLOTS = {"startDate": Field("digits", required=True), "endDate": Field("digits", required=True)}


def listing(call: Call) -> Response:
    check(call.query, {"locationId": Field(required=True)}, strict=False)
    group = call.query.get("groupId")
    found = [
        _shape(calendar)
        for calendar in call.world.calendars.values()
        if calendar.location_id == call.query["locationId"] and group in (None, calendar.group_id)
    ]
    return answer({"calendars": found})


def read(call: Call) -> Response:
    return answer({"calendar": _shape(_calendar(call))})


def free_slots(call: Call) -> Response:
    check(call.query, _FREE_SLOTS, strict=False)
    calendar = _calendar(call)
    first, last = (times.from_epoch_ms(call.query[name]) for name in ("startDate", "endDate"))
    if not first or not last or not timedelta(0) <= last - first <= _LONGEST:
        raise refusal(400, "Date range should be a maximum of 31 days")
    home = call.world.locations[calendar.location_id].timezone
    zone = times.zone(call.query.get("timezone", home))
    if zone is None:
        raise refusal(422, ["timezone must be a valid IANA time zone"])
    by_date = slots.offered(call.world, calendar, first, last, zone)
    shape: dict[str, Any] = {date: {"slots": starts} for date, starts in by_date.items()}
    return answer({**shape, "traceId": trace_id()})


def location(call: Call) -> Response:
    found = call.world.locations.get(call.path_args["location_id"])
    # The only route here that an agency may use too, for its own locations.
    grant = call.grant
    if found is None or grant is None or not _is_theirs(found, grant):
        raise wrong_location()
    shape = {
        "id": found.id,
        "companyId": found.company_id,
        "name": found.name,
        "address": found.address,
        "timezone": found.timezone,
        "country": found.country,
    }
    # Read by nobody as a proof of more than its id.
    kept = {"no_company": frozenset(shape) - {"companyId"}, "no_country": frozenset(shape) - {"country"}}
    return answer(
        {"location": call.world.forms.shown(shape, kept, "location_optional"), "traceId": trace_id()}
    )


def _is_theirs(found: Location, grant: Grant) -> bool:
    """A location's token stays good for it when another agency gets it."""
    return grant.location_id == found.id or (grant.location_id, grant.company_id) == (None, found.company_id)


def _calendar(call: Call) -> Calendar:
    calendar = call.world.calendars.get(call.path_args["calendar_id"])
    if calendar is None:
        raise unknown(404, "Calendar not found")
    own(call, calendar.location_id)
    return calendar


def _shape(calendar: Calendar) -> dict[str, Any]:
    places = [{"kind": "custom", "location": "Zoom", "meetingId": "custom_0"}]
    hour = {
        "openHour": calendar.opens_hour,
        "openMinute": 0,
        "closeHour": calendar.closes_hour,
        "closeMinute": 0,
    }
    return {
        "id": calendar.id,
        "locationId": calendar.location_id,
        "groupId": calendar.group_id,
        "name": calendar.name,
        "isActive": calendar.active,
        "calendarType": "round_robin" if calendar.team else "event",
        "teamMembers": [
            {"userId": user, "priority": 0.5, "isPrimary": position == 0, "locationConfigurations": places}
            for position, user in enumerate(calendar.team)
        ],
        "locationConfigurations": places,
        "eventTitle": "{{contact.name}}",
        "slotDuration": calendar.slot_minutes,
        "slotDurationUnit": "mins",
        "slotInterval": calendar.slot_minutes,
        "slotIntervalUnit": "mins",
        "appoinmentPerSlot": calendar.seats,  # sic
        "openHours": [{"daysOfTheWeek": [0, 1, 2, 3, 4, 5, 6], "hours": [hour]}],
        "autoConfirm": calendar.auto_confirm,
        "allowReschedule": True,
        "allowCancellation": True,
        "enableRecurring": False,
    }
