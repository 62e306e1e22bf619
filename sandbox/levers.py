"""The control desk's levers on locations, companies and calendars, and tokens without a browser.

Not here: the desk's routes as a whole, described in control.py; what the levers do (world.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from werkzeug import Response

from sandbox import times
from sandbox.answers import answer
from sandbox.calls import Call
from sandbox.control import found, mistake
from sandbox.settings import ALL_SCOPES, LOCATION_SCOPES

if TYPE_CHECKING:
    from sandbox.world import World

# What is answered beside the record; the last argument is what the lever was given.
Act = Callable[["World", str, Any], Mapping[str, Any] | None]

_CALENDAR_LEVERS = {"active": bool, "seats": int, "slot_minutes": int, "auto_confirm": bool}
_COMPANY_LEVERS = {"active": bool, "install_to_future_locations": bool}
_LOCATION_LEVERS = {"active": bool}


def add_locations(call: Call) -> Response:
    count = int(call.body.get("count", 1))
    made = [_add_location(call, number) for number in range(1, count + 1)]
    return answer({"locations": made}, 201)


def _add_location(call: Call, number: int) -> dict[str, Any]:
    world, body = call.world, call.body
    location = world.add_location(
        f"{body.get('name', 'Location')} {number}",
        company_id=body.get("company_id"),
        timezone=body.get("timezone", "UTC"),
    )
    calendar = world.add_calendar(
        location.id, seats=body.get("seats", 1), slot_minutes=body.get("slot_minutes", 30)
    )
    contact = world.add_contact(
        location.id, firstName="Contact", email=f"contact@{location.id}.example".lower()
    )
    made: dict[str, Any] = {
        "id": location.id,
        "calendar_id": calendar.id,
        "user_id": calendar.team[0],
        "contact_id": contact.id,
    }
    return {**made, "token": world.issue_location_token(location.id)} if body.get("tokens") else made


def change_location(call: Call) -> Response:
    location = found(call.world.locations, call.path_args["location_id"])
    return _pull(call, location, _LOCATION_LEVERS, _LOCATION_ACTS)


def change_company(call: Call) -> Response:
    company = found(call.world.companies, call.path_args["company_id"])
    return _pull(call, company, _COMPANY_LEVERS, _COMPANY_ACTS)


def change_calendar(call: Call) -> Response:
    calendar = found(call.world.calendars, call.path_args["calendar_id"])
    return _pull(call, calendar, _CALENDAR_LEVERS, {})


def issue_token(call: Call) -> Response:
    if "company_id" in call.body:
        company = found(call.world.companies, call.body["company_id"])
        return answer(call.world.issue_company_token(company.id))
    location = found(call.world.locations, call.body.get("location_id"))
    return answer(call.world.issue_location_token(location.id))


def _pull(call: Call, record: Any, levers: Mapping[str, type], acts: Mapping[str, Act]) -> Response:
    """Set fields and do acts, all or none where a name is unknown or a value of another kind."""
    for name, value in call.body.items():
        if not isinstance(value, bool | dict if name in acts else levers.get(name, type(None))):
            raise mistake(f"{name} cannot be set to {value!r}")
    extra: dict[str, Any] = {}
    for name, value in call.body.items():
        if name in levers:
            setattr(record, name, value)
        elif value:
            extra |= acts[name](call.world, record.id, value) or {}
    return answer({**_shown(record), **extra})


def _shown(record: Any) -> dict[str, Any]:
    fields = {
        name: times.utc(value) if isinstance(value, datetime) else value
        for name, value in asdict(record).items()
    }
    return {**fields, "installed": record.installed} if "installed_at" in fields else fields


def _install(world: "World", company_id: str, given: Any) -> Mapping[str, Any]:
    chosen = _names(given, "approved", "excluded")
    return {"token": world.issue_company_token(company_id, _scopes(given, ALL_SCOPES), **chosen)}


def _reinstall(world: "World", location_id: str, given: Any) -> Mapping[str, Any]:
    return {"token": world.issue_location_token(location_id, _scopes(given, ALL_SCOPES))}


def _issue_private_token(world: "World", location_id: str, given: Any) -> Mapping[str, Any]:
    return {"private_token": world.issue_private_token(location_id, _scopes(given, LOCATION_SCOPES))}


def _update(world: "World", resource_id: str, given: Any) -> None:
    if not (isinstance(given, dict) and isinstance(given.get("version_id"), str)):
        raise mistake("an update names its version_id")
    scopes = _scopes(given, ()) if "scopes" in given else None
    world.update_version(resource_id, given["version_id"], scopes)


def _whitelabel(world: "World", company_id: str, given: Any) -> None:
    company, fields = world.companies[company_id], given if isinstance(given, dict) else {}
    company.whitelabel_domain = str(fields.get("domain", ""))
    company.whitelabel_logo_url = str(fields.get("logo_url", ""))


def _names(given: Any, *lists: str) -> dict[str, tuple[str, ...]]:
    """The lists of texts among what a lever was given; `true` gives none."""
    fields = given if isinstance(given, dict) else {}
    for name in lists:
        if not isinstance(fields.get(name, []), list):
            raise mistake(f"{name} must be a list")
    return {name: tuple(fields[name]) for name in lists if name in fields}


def _scopes(given: Any, default: tuple[str, ...]) -> tuple[str, ...]:
    return _names(given, "scopes").get("scopes", default)


_LOCATION_ACTS: dict[str, Act] = {
    "uninstall": lambda world, location_id, _: world.uninstall(location_id),
    "reinstall": _reinstall,
    "update": _update,
    "revoke_tokens": lambda world, location_id, _: world.revoke_tokens(location_id),
    "revoke_refresh": lambda world, location_id, _: world.revoke_tokens(location_id, refresh=True),
    "issue_private_token": _issue_private_token,
    "revoke_private_tokens": lambda world, location_id, _: world.revoke_private_tokens(location_id),
}
_COMPANY_ACTS: dict[str, Act] = {
    "uninstall": lambda world, company_id, _: world.uninstall_company(company_id),
    "install": _install,
    "update": _update,
    "whitelabel": _whitelabel,
    "revoke_tokens": lambda world, company_id, _: world.revoke_tokens(company_id),
    "revoke_refresh": lambda world, company_id, _: world.revoke_tokens(company_id, refresh=True),
}
