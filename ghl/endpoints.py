"""The endpoints we call: method, path and API version, in one table.

No bodies and no sending. https://marketplace.gohighlevel.com/docs/
"""

from dataclasses import dataclass
from urllib.parse import quote

from .errors import (
    AppointmentNotFound,
    CalendarNotFound,
    ContactNotFound,
    InvalidRequest,
    LocationForbidden,
    Refused,
)
from .refusals import Kind

CALENDARS = "2021-04-15"
OTHERS = "2021-07-28"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`version` is what the Version header says, `not_found` what a 404 without telling words means here."""

    method: str
    template: str
    version: str | None
    not_found: type[Refused] = InvalidRequest
    kind: Kind = "resource"

    def path(self, *ids: str) -> str:
        """The path with these ids in it. An id that would change the path's shape is a ValueError."""
        if any(id_ in {"", ".", ".."} for id_ in ids):
            raise ValueError("an id in a path is neither empty nor dots")
        return self.template.format(*(quote(id_, safe="") for id_ in ids))


REFRESH = Endpoint("POST", "/oauth/token", None, kind="refresh")
LOCATION_TOKEN = Endpoint("POST", "/oauth/locationToken", OTHERS, LocationForbidden)
INSTALLED_LOCATIONS = Endpoint("GET", "/oauth/installedLocations", OTHERS)
CREATE_APPOINTMENT = Endpoint("POST", "/calendars/events/appointments", CALENDARS)
CHANGE_APPOINTMENT = Endpoint("PUT", "/calendars/events/appointments/{}", CALENDARS, AppointmentNotFound)
GET_APPOINTMENT = Endpoint("GET", "/calendars/events/appointments/{}", CALENDARS, AppointmentNotFound)
EVENTS = Endpoint("GET", "/calendars/events", CALENDARS, CalendarNotFound)
LIST_CALENDARS = Endpoint(
    "GET", "/calendars/", CALENDARS
)  # with its slash: without it there is no such route
FREE_SLOTS = Endpoint("GET", "/calendars/{}/free-slots", CALENDARS, CalendarNotFound)
CONTACT_APPOINTMENTS = Endpoint("GET", "/contacts/{}/appointments", OTHERS, ContactNotFound)
UPSERT_CONTACT = Endpoint("POST", "/contacts/upsert", OTHERS)
GET_LOCATION = Endpoint("GET", "/locations/{}", OTHERS, LocationForbidden)
