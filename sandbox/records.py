"""The things a world is made of: companies, locations, calendars, users, contacts, appointments.

Not here: how they look on the wire (the endpoint modules), or where they are kept (world.py).
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

INACTIVE_STATUSES = frozenset({"cancelled", "invalid"})
_LETTERS_ONLY = str.maketrans("-_", "xY")


def new_id() -> str:
    """Twenty letters and digits, as HighLevel's ids look."""
    return secrets.token_urlsafe(15).translate(_LETTERS_ONLY)


def new_hex_id() -> str:
    """Twenty-four hex digits, as its older ids look."""
    return secrets.token_hex(12)


@dataclass
class Company:
    id: str
    name: str
    active: bool = True
    install_to_future_locations: bool = False
    whitelabel_domain: str = ""
    whitelabel_logo_url: str = ""
    # Of the install: when, which version, what was consented to, and how many installs have ended before it.
    installed_at: datetime | None = None
    version_id: str | None = None
    scopes: tuple[str, ...] = ()
    life: int = 0

    @property
    def installed(self) -> bool:
        return self.installed_at is not None


@dataclass
class Location:
    id: str
    company_id: str
    name: str
    timezone: str
    country: str = "US"
    active: bool = True
    address: str = "47 W 13th St, New York, NY 10011, USA"
    # As of a company, and whether it was installed here ("Location") or came with the company ("Company").
    installed_at: datetime | None = None
    installed_by: str | None = None
    version_id: str | None = None
    scopes: tuple[str, ...] = ()
    life: int = 0

    @property
    def installed(self) -> bool:
        return self.installed_at is not None


@dataclass
class User:
    id: str
    location_id: str
    name: str


@dataclass
class Calendar:
    id: str
    location_id: str
    name: str
    team: tuple[str, ...]
    group_id: str
    slot_minutes: int = 30
    seats: int = 1
    active: bool = True
    auto_confirm: bool = True
    opens_hour: int = 9
    closes_hour: int = 17


@dataclass
class Contact:
    id: str
    location_id: str
    # HighLevel's own names (firstName, email, tags, …), as upsert received them; additionalEmails and
    # additionalPhones as lists of {"email"} and {"phone"}.
    details: dict[str, object]
    added_at: datetime
    updated_at: datetime

    @property
    def name(self) -> str:
        given = (self.details.get("firstName"), self.details.get("lastName"))
        return " ".join(str(part) for part in given if part) or str(self.details.get("name") or "")


@dataclass(frozen=True)
class Appointment:
    """Replaced, never changed in place: lists that lag behind still show the older one."""

    id: str
    calendar_id: str
    location_id: str
    contact_id: str
    starts_at: datetime
    ends_at: datetime
    title: str
    status: str
    assigned_user_id: str
    added_at: datetime
    updated_at: datetime
    description: str = ""
    address: str = ""
    meeting_location_type: str = "custom"
    meeting_location_id: str = "default"
    rrule: str | None = None
    master_event_id: str | None = None
    old_status: str = ""
    # Who made it: the API, or somebody in HighLevel's pages.
    source: str = "third_party"

    @property
    def takes_a_seat(self) -> bool:
        return self.status not in INACTIVE_STATUSES

    def next_update(self, now: datetime) -> datetime:
        """When a change made now was made: later than the one before, though the clock may not have moved."""
        return max(now, self.updated_at + timedelta(milliseconds=1))

    def overlaps(self, starts_at: datetime, ends_at: datetime) -> bool:
        return self.starts_at < ends_at and starts_at < self.ends_at
