"""What a 2xx must hold to count as one, endpoint by endpoint: from the JSON to our records.

No HTTP. A ValueError here means an answer that cannot be understood; an empty list only ever comes from one.
"""

import re

from .reading import Json, flag, items, mapping, text, texts
from .types import Appointment, Calendar, Contact, InstalledLocation, InstallPage, LocationDetails

DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def appointment(data: Json) -> Appointment:
    """A record, bare or wrapped as `event` (get) or `appointment` (seen in old code)."""
    return Appointment.from_wire(_unwrapped(data, "event", "appointment"), trace_id=text(data, "traceId"))


def appointments(data: Json) -> list[Appointment]:
    """The `events` of a list. Entries without an id are none of ours and left out."""
    trace_id = text(data, "traceId")
    found = _list(data, "events")
    return [Appointment.from_wire(item, trace_id=trace_id) for item in found if text(item, "id", "_id")]


def calendars(data: Json) -> list[Calendar]:
    """The `calendars` of a list."""
    return [Calendar.from_wire(item) for item in _list(data, "calendars") if text(item, "id", "_id")]


def slots(data: Json) -> list[str]:
    """The slots under each date; the other keys (`traceId`) are no dates."""
    days = (value for key, value in data.items() if DATE.fullmatch(key))
    return [slot for day in days for slot in texts(mapping(day).get("slots"))]


def found_contact(data: Json) -> Contact | None:
    """The contact that a search found, bare or wrapped as `contact`; None where it is null or left out.

    HighLevel documents no schema for this answer.
    """
    record = data.get("contact", data if text(data, "id", "_id") else None)
    if record is None:
        return None
    return Contact.from_wire(mapping(record), trace_id=text(data, "traceId"))


def contact(data: Json) -> Contact:
    """The `contact` that was created or upserted."""
    record = _unwrapped(data, "contact")
    return Contact.from_wire(record, created=flag(data, "new"), trace_id=text(data, "traceId"))


def location(data: Json) -> LocationDetails:
    """A sub-account, under `location`."""
    return LocationDetails.from_wire(_unwrapped(data, "location"), trace_id=text(data, "traceId"))


def install_page(data: Json) -> InstallPage:
    """The `locations` of a company's installs, whose key for the id is `_id`."""
    found = (each for each in _list(data, "locations") if text(each, "id", "_id"))
    return InstallPage(
        tuple(InstalledLocation.from_wire(each) for each in found),
        flag(data, "installToFutureLocations"),
    )


def _unwrapped(data: Json, *wrappers: str) -> Json:
    return next((record for key in wrappers if (record := mapping(data.get(key)))), data)


def _list(data: Json, key: str) -> list[Json]:
    """Where the list itself is missing nothing is known, which is not the same as nothing being there."""
    if not isinstance(data.get(key), list):
        raise ValueError(f"the answer holds no list of {key}")  # noqa: TRY004 - a fault of the data
    return items(data[key])
