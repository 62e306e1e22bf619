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
    """`version` is what the Version header says, `not_found` what a 404 without telling words means here, `scope`
    what the install must have been given."""

    method: str
    template: str
    version: str | None
    not_found: type[Refused] = InvalidRequest
    kind: Kind = "resource"
    scope: str | None = None

    def path(self, *ids: str) -> str:
        """The path with these ids in it. An id that would change the path's shape is a ValueError."""
        if any(id_ in {"", ".", ".."} for id_ in ids):
            raise ValueError("an id in a path is neither empty nor dots")
        return self.template.format(*(quote(id_, safe="") for id_ in ids))


REFRESH = Endpoint("POST", "/oauth/token", None, kind="refresh")
LOCATION_TOKEN = Endpoint("POST", "/oauth/locationToken", OTHERS, LocationForbidden, scope="oauth.write")
INSTALLED_LOCATIONS = Endpoint("GET", "/oauth/installedLocations", OTHERS, scope="oauth.readonly")
CREATE_APPOINTMENT = Endpoint(
    "POST", "/calendars/events/appointments", CALENDARS, scope="calendars/events.write"
)
CHANGE_APPOINTMENT = Endpoint(
    "PUT", "/calendars/events/appointments/{}", CALENDARS, AppointmentNotFound, scope="calendars/events.write"
)
GET_APPOINTMENT = Endpoint(
    "GET",
    "/calendars/events/appointments/{}",
    CALENDARS,
    AppointmentNotFound,
    scope="calendars/events.readonly",
)
EVENTS = Endpoint("GET", "/calendars/events", CALENDARS, CalendarNotFound, scope="calendars/events.readonly")
LIST_CALENDARS = Endpoint(
    "GET", "/calendars/", CALENDARS, scope="calendars.readonly"
)  # with its slash: without it there is no such route
FREE_SLOTS = Endpoint(
    "GET", "/calendars/{}/free-slots", CALENDARS, CalendarNotFound, scope="calendars.readonly"
)
CONTACT_APPOINTMENTS = Endpoint(
    "GET", "/contacts/{}/appointments", OTHERS, ContactNotFound, scope="contacts.readonly"
)
SEARCH_DUPLICATE = Endpoint("GET", "/contacts/search/duplicate", OTHERS, scope="contacts.readonly")
CREATE_CONTACT = Endpoint("POST", "/contacts/", OTHERS, scope="contacts.write")  # with its slash
UPSERT_CONTACT = Endpoint("POST", "/contacts/upsert", OTHERS, scope="contacts.write")
GET_LOCATION = Endpoint("GET", "/locations/{}", OTHERS, LocationForbidden, scope="locations.readonly")
