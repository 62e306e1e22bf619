"""The control desk under /_sandbox/, for tests and demos in other processes. Not HighLevel's, and not logged.

Not here: what the levers do (world.py, faults.py, settings.py). Bodies and answers are JSON, in snake_case.

    GET    /_sandbox/state            calls per operation and outcome, tokens issued, appointments, settings
    GET    /_sandbox/appointments     all of them; ?location_id= ?calendar_id= ?contact_id= narrow the list
    GET    /_sandbox/calls            the log, oldest first; ?operation= ?location_id=, ?limit= the newest
    POST   /_sandbox/faults           {"kind", "operation", "times", "location_id", "match", "seconds",
                                       "retry_after", "done"} as in faults.Fault; a list orders several
    DELETE /_sandbox/faults           forget those not yet used
    POST   /_sandbox/settings         any of settings.Settings
    POST   /_sandbox/clock            {"advance_seconds": 30}
    POST   /_sandbox/locations        {"count": 10, "company_id", "timezone", "name", "seats", "slot_minutes",
                                       "tokens": false}: each with a calendar, a user and a contact, whose
                                      ids come back, with "tokens" also a token answer (an install without
                                      the browser)
    POST   /_sandbox/locations/{id}   {"active": false}, {"uninstall": true}, {"revoke_tokens": true} (access
                                      tokens), {"revoke_refresh": true} (these and the refresh tokens)
    POST   /_sandbox/companies/{id}   {"active": false}, {"install_to_future_locations": true}
    POST   /_sandbox/calendars/{id}   {"active": false}, {"seats": 5}, {"slot_minutes": 60}, …
    POST   /_sandbox/tokens           {"location_id"} or {"company_id"}: a token answer without the browser
    POST   /_sandbox/reset            back to the beginning
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from werkzeug import Response

from sandbox import shapes
from sandbox.answers import Refusal, answer
from sandbox.calls import Call
from sandbox.faults import Fault

T = TypeVar("T")

_CALENDAR_LEVERS = {"active": bool, "seats": int, "slot_minutes": int, "auto_confirm": bool}
_COMPANY_LEVERS = {"active": bool, "install_to_future_locations": bool}


def state(call: Call) -> Response:
    world = call.world
    appointments = world.diary.everything()
    settings = asdict(world.settings)
    del settings["client_secret"]
    return answer(
        {
            "now": world.clock.now().isoformat(),
            "calls": world.calls.summary(),
            "tokens_issued": dict(world.tokens.issued),
            "appointments": {
                "total": len(appointments),
                "by_status": dict(Counter(entry.status for entry in appointments)),
            },
            "locations": len(world.locations),
            "faults": world.faults.pending(),
            "settings": settings,
        }
    )


def appointments(call: Call) -> Response:
    wanted = {name: call.query.get(name) for name in ("location_id", "calendar_id", "contact_id")}
    found = [
        shapes.event(call.world, entry)
        for entry in call.world.diary.everything()
        if all(value in (None, getattr(entry, name)) for name, value in wanted.items())
    ]
    return answer({"appointments": found})


def calls(call: Call) -> Response:
    operation, location_id = call.query.get("operation"), call.query.get("location_id")
    found = [
        asdict(record)
        for record in call.world.calls.records
        if operation in (None, record.operation) and location_id in (None, record.location_id)
    ]
    newest = int(call.query.get("limit", len(found)))
    return answer({"calls": found[len(found) - newest :] if newest < len(found) else found})


def add_faults(call: Call) -> Response:
    sent: Any = call.request.get_json(force=True, silent=True)
    try:
        ordered = [Fault(**order) for order in (sent if isinstance(sent, list) else [sent])]
    except (TypeError, ValueError, AttributeError) as error:
        raise _mistake(error) from error
    for fault in ordered:
        call.world.faults.add(fault)
    return answer({"faults": call.world.faults.pending()}, 201)


def clear_faults(call: Call) -> Response:
    call.world.faults.clear()
    return answer({"faults": []})


def change_settings(call: Call) -> Response:
    try:
        call.world.settings.change(call.body)
    except ValueError as error:
        raise _mistake(error) from error
    return state(call)


def advance_clock(call: Call) -> Response:
    call.world.clock.advance(float(call.body.get("advance_seconds", 0)))
    return answer({"now": call.world.clock.now().isoformat()})


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
    location = _found(call.world.locations, call.path_args["location_id"])
    body = call.body
    if "active" in body:
        location.active = bool(body["active"])
    if body.get("uninstall"):
        call.world.uninstall(location.id)
    if body.get("revoke_tokens") or body.get("revoke_refresh"):
        call.world.revoke_tokens(location.id, refresh=bool(body.get("revoke_refresh")))
    return answer({"id": location.id, "active": location.active, "installed": location.installed})


def change_company(call: Call) -> Response:
    company = _found(call.world.companies, call.path_args["company_id"])
    return _pull(call, company, _COMPANY_LEVERS)


def change_calendar(call: Call) -> Response:
    calendar = _found(call.world.calendars, call.path_args["calendar_id"])
    return _pull(call, calendar, _CALENDAR_LEVERS)


def issue_token(call: Call) -> Response:
    if "company_id" in call.body:
        company = _found(call.world.companies, call.body["company_id"])
        return answer(call.world.issue_company_token(company.id))
    location = _found(call.world.locations, call.body.get("location_id"))
    return answer(call.world.issue_location_token(location.id))


def reset(call: Call) -> Response:
    call.world.reset()
    return state(call)


def _pull(call: Call, record: Any, levers: Mapping[str, type]) -> Response:
    for name, value in call.body.items():
        if not isinstance(value, levers.get(name, type(None))):
            raise _mistake(f"{name} cannot be set to {value!r}")
    for name, value in call.body.items():
        setattr(record, name, value)
    return answer(asdict(record))


def _found(records: dict[str, T], key: Any) -> T:
    if key not in records:
        raise Refusal(404, {"error": f"nothing here is called {key}"})
    return records[key]


def _mistake(what: object) -> Refusal:
    return Refusal(400, {"error": str(what)})
