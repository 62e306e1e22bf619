"""HighLevel's records as we read them and its bodies as we write them: camelCase begins and ends here.

No HTTP and no rules about bookings. Reading is tolerant (`reading.py`), writing is strict.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Self, get_args

from .reading import (
    Json,
    digits,
    flag,
    instant,
    items,
    jwt_claims,
    latest_moment,
    mapping,
    moment,
    number,
    text,
    texts,
)

MeetingLocationType = Literal["custom", "zoom", "gmeet", "phone", "address", "ms_teams", "google"]
AppointmentStatus = Literal["new", "confirmed", "cancelled", "showed", "noshow", "invalid"]
# The countries HighLevel knows. https://marketplace.gohighlevel.com/docs/ghl/locations/create-location
_COUNTRIES = """
    AD AE AF AG AI AL AM AN AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BM BN BO BR BS BT BV BW BY
    BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK
    FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ
    IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG
    MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH
    PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR ST SV SX SY SZ
    TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA
    ZM ZW
"""
COUNTRIES = frozenset(_COUNTRIES.split())
MEETING_LOCATION_TYPES: tuple[str, ...] = get_args(MeetingLocationType)
APPOINTMENT_STATUSES: tuple[str, ...] = get_args(AppointmentStatus)

# https://marketplace.gohighlevel.com/docs/ghl/calendars/edit-appointment
CHANGE_FIELDS = (
    "calendar_id",
    "start_time",
    "end_time",
    "title",
    "meeting_location_type",
    "meeting_location_id",
    "override_location_config",
    "appointment_status",
    "assigned_user_id",
    "description",
    "address",
    "ignore_date_range",
    "to_notify",
    "ignore_free_slot_validation",
    "rrule",
)
# https://marketplace.gohighlevel.com/docs/ghl/calendars/create-appointment
APPOINTMENT_FIELDS = ("location_id", "contact_id", *CHANGE_FIELDS)
# https://marketplace.gohighlevel.com/docs/ghl/contacts/upsert-contact: all but `tags`, since an
# upsert replaces every tag the customer has given the contact.
CONTACT_FIELDS = (
    "location_id",
    "first_name",
    "last_name",
    "name",
    "email",
    "phone",
    "gender",
    "address1",
    "city",
    "state",
    "postal_code",
    "country",
    "website",
    "timezone",
    "company_name",
    "date_of_birth",
    "source",
    "assigned_to",
    "dnd",
    "dnd_settings",
    "inbound_dnd_settings",
    "custom_fields",
    "create_new_if_duplicate_allowed",
)

# The id of one instance of a series: the series' own, the start in milliseconds, the length in seconds.
# https://marketplace.gohighlevel.com/docs/ghl/calendars/edit-appointment
INSTANCE_ID = re.compile(r"(?P<series>[A-Za-z0-9]+)_\d+_\d+", re.ASCII)

# Numbers beyond these are nonsense, and obeying them would stop a location or flood HighLevel.
LARGEST_BURST = 10_000
LONGEST_INTERVAL_MS = 10 * 60 * 1000


def appointment_body(fields: Mapping[str, object]) -> dict[str, object]:
    """The body of create-appointment from our names. None is left out; an unknown name is a ValueError."""
    return _body(fields, APPOINTMENT_FIELDS)


def change_body(fields: Mapping[str, object]) -> dict[str, object]:
    """The body of edit-appointment from our names. None is left out; an unknown name is a ValueError."""
    return _body(fields, CHANGE_FIELDS)


def contact_body(fields: Mapping[str, object]) -> dict[str, object]:
    """Upsert-contact's body from our names. None is left out; an unknown name, or `tags`: ValueError."""
    return _body(fields, CONTACT_FIELDS)


def _body(fields: Mapping[str, object], known: tuple[str, ...]) -> dict[str, object]:
    if unknown := sorted(set(fields) - set(known)):
        raise ValueError(f"HighLevel takes no such fields here: {', '.join(unknown)}")
    return {wire_name(name): fields[name] for name in known if fields.get(name) is not None}


def whole_id(event_id: str) -> str:
    """The series' id where this is an instance's, else the id itself."""
    match = INSTANCE_ID.fullmatch(event_id)
    return match["series"] if match else event_id


def wire_name(name: str) -> str:
    """`start_time` → `startTime`."""
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an answer says of HighLevel's limits for this app and location or company; None where it says nothing.

    At most `burst` calls in any `interval`, of which `burst_left` could still follow the moment of counting this
    one; `daily_left` today. Answers overtake each other, so of two the later is not always the newer.
    https://marketplace.gohighlevel.com/docs/oauth/Faqs
    """

    burst: int | None = None
    burst_left: int | None = None
    interval: timedelta | None = None
    daily_left: int | None = None

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> Self | None:
        """From headers whose names are found in lower case; None where none of them makes sense."""
        milliseconds = digits(headers.get("x-ratelimit-interval-milliseconds"), 1, LONGEST_INTERVAL_MS)
        read = cls(
            burst=digits(headers.get("x-ratelimit-max"), 1, LARGEST_BURST),
            burst_left=digits(headers.get("x-ratelimit-remaining"), 0, LARGEST_BURST),
            interval=None if milliseconds is None else timedelta(milliseconds=milliseconds),
            # Sic: "Daily-Remaining", but "Limit-Daily".
            daily_left=digits(headers.get("x-ratelimit-daily-remaining"), 0, sys.maxsize),
        )
        return None if read == cls() else read

    @property
    def daily_exhausted(self) -> bool:
        """No more calls today: the next one would be refused."""
        return self.daily_left == 0


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP exchange, fit to be shown: no token, no query, no body.

    `outcome` is "ok" or the `name` of the error it ended with; `status` is None where no answer came.
    `started` is in seconds of this process's monotonic clock: how long ago it was is all that can be said of it.
    `limits` is what the answer said of them, whatever else it said.
    """

    method: str
    path: str
    status: int | None
    started: float
    duration: timedelta
    outcome: str
    trace_id: str | None = None
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class Appointment:
    """HighLevel's record. `start_time` and `end_time` are as HighLevel wrote them, offset or none.

    `added_by`: the latest instant it can have been added at; `date_added` is None where HighLevel wrote no offset.
    `was_changed`: whether it was updated after it was added; None where its two dates do not tell, being absent,
    unreadable, or the same to the second.
    """

    id: str
    calendar_id: str | None = None
    location_id: str | None = None
    contact_id: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    title: str | None = None
    appointment_status: str | None = None
    assigned_user_id: str | None = None
    address: str | None = None
    meeting_location_type: str | None = None
    description: str | None = None
    is_recurring: bool = False
    rrule: str | None = None
    master_event_id: str | None = None
    deleted: bool = False
    date_added: datetime | None = None
    date_updated: datetime | None = None
    added_by: datetime | None = None
    was_changed: bool | None = None
    # Who made it: people by a page or widget, or an app.
    source: str | None = None
    trace_id: str | None = None

    @classmethod
    def from_wire(cls, data: Json, *, trace_id: str | None = None) -> Self:
        """From the record itself (no wrapper). ValueError without an id."""
        return cls(
            id=_id(data),
            calendar_id=text(data, "calendarId"),
            location_id=text(data, "locationId"),
            contact_id=text(data, "contactId"),
            start_time=text(data, "startTime"),
            end_time=text(data, "endTime"),
            title=text(data, "title"),
            # Live answers carry the misspelt key, sometimes alone.
            appointment_status=text(data, "appointmentStatus", "appoinmentStatus"),
            assigned_user_id=text(data, "assignedUserId"),
            address=text(data, "address"),
            meeting_location_type=text(data, "meetingLocationType"),
            # Written as `description`, read back as `notes` from some endpoints.
            description=text(data, "description", "notes"),
            is_recurring=flag(data, "isRecurring") or False,
            rrule=text(data, "rrule"),
            master_event_id=text(data, "masterEventId"),
            deleted=flag(data, "deleted") or False,
            date_added=moment(data.get("dateAdded")),
            date_updated=moment(data.get("dateUpdated")),
            added_by=latest_moment(data.get("dateAdded")),
            source=text(mapping(data.get("createdBy")), "source") or text(data, "source"),
            was_changed=_was_changed(text(data, "dateAdded"), text(data, "dateUpdated")),
            trace_id=text(data, "traceId") or trace_id,
        )

    @property
    def starts_at(self) -> datetime | None:
        """The start as an instant; None where HighLevel wrote it without an offset."""
        return moment(self.start_time)

    @property
    def whole_id(self) -> str:
        """Its own id, or that of the series of which it is an instance: what changes the series as a whole."""
        return self.master_event_id or whole_id(self.id)

    @property
    def is_of_a_series(self) -> bool:
        """It is a series or an instance of one; also where a list leaves out all but the id."""
        return self.is_recurring or self.rrule is not None or self.whole_id != self.id


def _was_changed(added: str | None, updated: str | None) -> bool | None:
    first, last = latest_moment(added), latest_moment(updated)
    # Of two written in one form it does not matter in which zone that is.
    if first is None or last is None or (moment(added) is None) != (moment(updated) is None):
        return None
    has_fractions = "." in f"{added}{updated}"
    return last > first or (False if has_fractions else None)


@dataclass(frozen=True, slots=True)
class Calendar:
    """What booking needs to know of a calendar. `team` holds user ids; `seats` is per slot."""

    id: str
    name: str | None = None
    location_id: str | None = None
    calendar_type: str | None = None
    is_active: bool | None = None
    slot_duration: timedelta | None = None
    seats: int | None = None
    team: tuple[str, ...] = ()

    @classmethod
    def from_wire(cls, data: Json) -> Self:
        """From one entry of the list. ValueError without an id."""
        members = (text(member, "userId") for member in items(data.get("teamMembers")))
        seats = number(data, "appoinmentPerSlot")  # HighLevel's spelling
        return cls(
            id=_id(data),
            name=text(data, "name"),
            location_id=text(data, "locationId"),
            calendar_type=text(data, "calendarType"),
            is_active=flag(data, "isActive"),
            slot_duration=_span(number(data, "slotDuration"), text(data, "slotDurationUnit")),
            seats=None if seats is None else int(seats),
            team=tuple(member for member in members if member),
        )


@dataclass(frozen=True, slots=True)
class Contact:
    """The contact that was found or created; `created` is None where HighLevel does not say."""

    id: str
    location_id: str | None = None
    created: bool | None = None
    trace_id: str | None = None

    @classmethod
    def from_wire(cls, data: Json, *, created: bool | None = None, trace_id: str | None = None) -> Self:
        """From the record itself. ValueError without an id."""
        return cls(id=_id(data), location_id=text(data, "locationId"), created=created, trace_id=trace_id)


@dataclass(frozen=True, slots=True)
class LocationDetails:
    """A sub-account. `timezone` is an IANA name as HighLevel has it, `country` two letters."""

    id: str
    name: str | None = None
    timezone: str | None = None
    company_id: str | None = None
    trace_id: str | None = None
    country: str | None = None

    @classmethod
    def from_wire(cls, data: Json, *, trace_id: str | None = None) -> Self:
        """From the record itself. ValueError without an id."""
        return cls(
            id=_id(data),
            name=text(data, "name"),
            timezone=text(data, "timezone"),
            company_id=text(data, "companyId"),
            trace_id=trace_id,
            country=text(data, "country"),
        )


@dataclass(frozen=True, slots=True)
class InstalledLocation:
    """A sub-account as the list of a company's installs shows it."""

    id: str
    name: str | None = None
    is_installed: bool | None = None
    version_id: str | None = None
    installed_at: datetime | None = None

    @classmethod
    def from_wire(cls, data: Json) -> Self:
        """From one entry of the list, whose id is called `_id`. ValueError without one."""
        return cls(
            id=_id(data),
            name=text(data, "name"),
            is_installed=flag(data, "isInstalled"),
            version_id=text(data, "versionId"),
            installed_at=moment(data.get("installedAt")),
        )


@dataclass(frozen=True, slots=True)
class InstallPage:
    """A page of a company's installs. `count`, HighLevel's own, is of all its locations and counts no pages."""

    locations: tuple[InstalledLocation, ...]
    install_to_future_locations: bool | None = None


@dataclass(frozen=True, slots=True)
class TokenGrant:
    """What the token endpoint handed out. Neither token shows in its repr.

    `issued_at` is HighLevel's clock (the JWT's `iat`, in whole seconds), None where the token is no readable JWT.
    `approved_locations` is None where an agency's grant names none: all of them, or not said.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_in: timedelta | None = None
    scopes: frozenset[str] = frozenset()
    user_type: str | None = None
    company_id: str | None = None
    location_id: str | None = None
    user_id: str | None = None
    plan_id: str | None = None
    version_id: str | None = None
    is_bulk_installation: bool = False
    approved_locations: tuple[str, ...] | None = None
    install_to_future_locations: bool | None = None
    issued_at: datetime | None = None
    trace_id: str | None = None


def parse_token_grant(payload: Mapping[str, object]) -> TokenGrant:
    """Read an answer of the token endpoint in the dated versions' spelling. ValueError without a token.

    The token's own claims fill in scopes, user type and whose it is where the answer leaves them out.
    https://marketplace.gohighlevel.com/docs/ghl/oauth/get-access-token
    """
    access_token = text(payload, "access_token")
    if access_token is None:
        raise ValueError("the answer holds no access token")
    claims = jwt_claims(access_token)
    user_type = text(payload, "userType") or text(claims, "authClass")
    resource = text(claims, "authClassId")
    return TokenGrant(
        access_token=access_token,
        refresh_token=text(payload, "refresh_token"),
        expires_in=_span(number(payload, "expires_in"), "seconds"),
        scopes=frozenset(
            texts(payload.get("scope")) or texts(mapping(claims.get("oauthMeta")).get("scopes"))
        ),
        user_type=user_type,
        company_id=text(payload, "companyId") or (resource if user_type == "Company" else None),
        location_id=text(payload, "locationId") or (resource if user_type == "Location" else None),
        user_id=text(payload, "userId"),
        plan_id=text(payload, "planId"),
        version_id=text(payload, "versionId"),
        is_bulk_installation=flag(payload, "isBulkInstallation") or False,
        approved_locations=texts(payload.get("approvedLocations")) or None,
        install_to_future_locations=flag(payload, "installToFutureLocations"),
        issued_at=instant(number(claims, "iat")),
        trace_id=text(payload, "traceId"),
    )


def _id(data: Json) -> str:
    found = text(data, "id", "_id")
    if found is None:
        raise ValueError("the answer holds no id")
    return found


def _span(amount: float | None, unit: str | None) -> timedelta | None:
    if amount is None:
        return None
    try:
        match unit:
            case "seconds":
                return timedelta(seconds=amount)
            case "hours":
                return timedelta(hours=amount)
            case _:
                return timedelta(minutes=amount)
    except (OverflowError, ValueError):
        return None
