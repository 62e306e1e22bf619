"""The control desk under /_sandbox/, for tests and demos in other processes. Not HighLevel's, and not logged.

Not here: what is done to single things (levers.py, orders.py), and what it means (world.py, faults.py, …). Bodies and
answers are JSON, in snake_case.

    GET    /_sandbox/state            calls per operation and outcome, tokens, appointments, letters, settings
    GET    /_sandbox/appointments     all of them; ?location_id= ?calendar_id= ?contact_id= narrow the list
    GET    /_sandbox/calls            the log, oldest first; ?operation= ?location_id=, ?limit= the newest
    POST   /_sandbox/faults           {"kind", "operation", "times", "location_id", "match", "seconds",
                                       "retry_after", "done"} as in faults.Fault; a list orders several
    DELETE /_sandbox/faults           forget those not yet used
    POST   /_sandbox/settings         any of settings.Settings
    POST   /_sandbox/forms            {"dates": "offset_seconds"}: always this of forms.FORMS; null: by the seed again
    POST   /_sandbox/clock            {"advance_seconds": 30}
    POST   /_sandbox/locations        {"count": 10, "company_id", "timezone", "name", "seats", "slot_minutes",
                                       "tokens": false}: each with a calendar, a user and a contact, whose
                                      ids come back, with "tokens" also a token answer (an install without
                                      the browser)
    POST   /_sandbox/locations/{id}   {"active": false}, {"uninstall": true}, {"reinstall": true} (consented to in
                                      the location; answers a "token"), {"update": {"version_id", "scopes"}},
                                      {"revoke_tokens": true} (access tokens), {"revoke_refresh": true} (these
                                      and the refresh tokens), {"issue_private_token": true} or {…: {"scopes"}}
                                      (answers a "private_token"), {"revoke_private_tokens": true}
    POST   /_sandbox/companies/{id}   {"active": false}, {"install_to_future_locations": true}, {"uninstall": true},
                                      {"install": {"approved": [ids], "excluded": [ids]}} (answers a "token"),
                                      {"whitelabel": {"domain", "logo_url"}}, {"update": …}, {"revoke_tokens":
                                      true}, {"revoke_refresh": true}
    POST   /_sandbox/calendars/{id}   {"active": false}, {"seats": 5}, {"slot_minutes": 60}, …
    POST   /_sandbox/tokens           {"location_id"} or {"company_id"}: a token answer without the browser
    POST   /_sandbox/appointments     {"calendar_id", "contact_id", "start_time", "title"}: booked by staff
    POST   /_sandbox/appointments/{id}  changed by staff: {"start_time", "end_time" (ISO 8601), "status", "title",
                                      "calendar_id", "contact_id", "assigned_user_id", "description"}, or
                                      {"delete": true}
    GET    /_sandbox/letters          all of them, oldest first, and the "public_key"; ?type= ?state= narrow
    POST   /_sandbox/letters          {"release": true}, {"release": [webhook ids]} (in that order), {"drop": id},
                                      {"send_again": id}, {"body": {…}} (anything, signed and sent as it is)
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
            "letters": dict(Counter(letter.state for letter in world.letters)),
            "faults": world.faults.pending(),
            "forms": world.forms.pinned,
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
        raise mistake(error) from error
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
        raise mistake(error) from error
    return state(call)


def pin_forms(call: Call) -> Response:
    try:
        call.world.forms.pin(**call.body)
    except ValueError as error:
        raise mistake(error) from error
    return state(call)


def advance_clock(call: Call) -> Response:
    call.world.clock.advance(float(call.body.get("advance_seconds", 0)))
    return answer({"now": call.world.clock.now().isoformat()})


def reset(call: Call) -> Response:
    call.world.reset()
    return state(call)


def found(records: Mapping[str, T], key: Any) -> T:
    if key not in records:
        raise Refusal(404, {"error": f"nothing here is called {key}"})
    return records[key]


def mistake(what: object) -> Refusal:
    return Refusal(400, {"error": str(what)})
