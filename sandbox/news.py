"""What HighLevel tells the app by letter: installs, their end and their updates, and what became of appointments.

Not here: how a letter is signed and kept (letters.py), the acts that are news (installs.py, the endpoints, staff.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from sandbox import shapes
from sandbox.records import Appointment, Company, Location

if TYPE_CHECKING:
    from sandbox.world import World

PLAN = "66a0419a0dffa47fb5f8b22f"
INSTALLER = "Rg6BRRiHh7dS9gJy3W8a"

# What our own acts are called: whatever comes by the API.
API = "third_party"

_OF_AN_INSTALL = frozenset(
    {"companyName", "isWhitelabelCompany", "whitelabelDetails", "planId", "trial", "userId"}
)
_OF_AN_APPOINTMENT = frozenset({"address", "groupId", "users", "source"})
_EMPTY: Mapping[str, Any] = {"trial": {}, "whitelabelDetails": {"logoUrl": "", "domain": ""}, "address": ""}

Happening = Literal["AppointmentCreate", "AppointmentUpdate", "AppointmentDelete"]


def installed(world: "World", location: Location) -> None:
    _write(world, "INSTALL", location.version_id, _location(world, location))


def installed_with_the_company(world: "World", location: Location) -> None:
    """Of a location that came to its company after the install, where HighLevel may leave out who did it."""
    content = _location(world, location)
    if not world.settings.future_installs_named:
        content = {name: value for name, value in content.items() if name not in {"companyId", "userId"}}
    _write(world, "INSTALL", location.version_id, content)


def company_installed(world: "World", company: Company) -> None:
    _write(world, "INSTALL", company.version_id, _company(world, company))


def updated(world: "World", location: Location, previous: str | None) -> None:
    content = {**_location(world, location), "previousVersionId": previous}
    _write(world, "UPDATE", location.version_id, content)


def company_updated(world: "World", company: Company, previous: str | None) -> None:
    _write(world, "UPDATE", company.version_id, {**_company(world, company), "previousVersionId": previous})


def uninstalled(world: "World", location: Location) -> None:
    _write(world, "UNINSTALL", location.version_id, {"locationId": location.id})


def company_uninstalled(world: "World", company: Company) -> None:
    """One letter: that its locations have lost the app too is left to the reader."""
    _write(world, "UNINSTALL", company.version_id, {"companyId": company.id})


def happened(world: "World", kind: Happening, entries: Iterable[Appointment], source: str) -> None:
    """A letter for each, where the app is installed to hear of it; our own acts come back like all others."""
    for entry in entries:
        location = world.locations[entry.location_id]
        if location.installed:
            content = {"locationId": location.id, "appointment": _appointment(world, entry, source)}
            _write(world, kind, location.version_id, content)


def deleted(world: "World", entries: Iterable[Appointment], source: str) -> None:
    """As each was last; that it is gone is its newest change."""
    now = world.clock.now()
    last = [replace(entry, updated_at=entry.next_update(now)) for entry in entries]
    happened(world, "AppointmentDelete", last, source)


def _write(world: "World", kind: str, version_id: str | None, content: Mapping[str, Any]) -> None:
    envelope = {"appId": world.settings.app_id, "versionId": version_id or world.settings.version_id}
    world.letters.write({"type": kind, **envelope, **content})


def _company(world: "World", company: Company) -> dict[str, Any]:
    told = {
        "installType": "Company",
        "companyId": company.id,
        "userId": INSTALLER,
        "planId": PLAN,
        "trial": {},
    }
    return _with_optional(world, told, _OF_AN_INSTALL)


def _location(world: "World", location: Location) -> dict[str, Any]:
    company = world.companies[location.company_id]
    told = {
        "installType": "Location",
        "locationId": location.id,
        "companyId": company.id,
        "userId": INSTALLER,
        "companyName": company.name,
        "isWhitelabelCompany": bool(company.whitelabel_domain),
        "whitelabelDetails": {"logoUrl": company.whitelabel_logo_url, "domain": company.whitelabel_domain},
        "planId": PLAN,
        "trial": {},
    }
    return _with_optional(world, told, _OF_AN_INSTALL)


def _appointment(world: "World", entry: Appointment, source: str) -> dict[str, Any]:
    zone = world.locations[entry.location_id].timezone
    told = {
        "id": entry.id,
        "address": entry.address,
        "title": entry.title,
        "calendarId": entry.calendar_id,
        "contactId": entry.contact_id,
        "groupId": world.calendars[entry.calendar_id].group_id,
        "appointmentStatus": entry.status,
        "assignedUserId": entry.assigned_user_id,
        "users": [entry.assigned_user_id] if entry.assigned_user_id else [],
        "notes": entry.description,
        "source": source,
        **shapes.starts_and_ends(world, entry, zone),
        **shapes.dates(world, entry, zone),
    }
    return _with_optional(world, told, _OF_AN_APPOINTMENT)


def _with_optional(world: "World", told: dict[str, Any], optional: frozenset[str]) -> dict[str, Any]:
    """With what an event may leave out, without it, or with it empty where that has been seen."""
    match world.forms.pick("letter_optional"):
        case "absent":
            return {name: value for name, value in told.items() if name not in optional}
        case "empty":
            return {name: _EMPTY.get(name, value) for name, value in told.items()}
    return told
