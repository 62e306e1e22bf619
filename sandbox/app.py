"""The WSGI application: routes, and what happens around every call: faults, latency, gates, the log.

Not here: the endpoints themselves, and the server that carries the bytes (server.py).
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from sandbox import appointments, calendars, consent, contacts, control, levers, oauth, orders, pages
from sandbox.answers import Refusal, unsupported_route
from sandbox.calls import Call, Record
from sandbox.faults import Fault, Operation, Scene, play
from sandbox.gates import AGENCY, BOTH, CALENDARS_VERSION, Gate, check, check_client
from sandbox.world import World

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_log = logging.getLogger("sandbox")


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    endpoint: Callable[[Call], Response]
    # None for pages and the control desk: those meet no faults, no gates and no log.
    operation: Operation | None = None
    gate: Gate | None = None


def _calendar_gate(scope: str) -> Gate:
    return Gate(scope, CALENDARS_VERSION)


_READ_EVENTS = _calendar_gate("calendars/events.readonly")
_WRITE_EVENTS = _calendar_gate("calendars/events.write")
_READ_CALENDARS = _calendar_gate("calendars.readonly")
_READ_CONTACTS = Gate("contacts.readonly")

_EVENT = "/calendars/events/appointments/<event_id>"
ROUTES = (
    Route("POST", "/oauth/token", oauth.token, "token"),
    Route(
        "POST",
        "/oauth/locationToken",
        oauth.location_token,
        "location_token",
        Gate("oauth.write", admits=AGENCY, gone_in_v3=True),
    ),
    Route(
        "GET",
        "/oauth/installedLocations",
        oauth.installed_locations,
        "installed_locations",
        Gate("oauth.readonly", admits=AGENCY, gone_in_v3=True),
    ),
    Route("POST", "/calendars/events/appointments", appointments.create, "create_appointment", _WRITE_EVENTS),
    Route("PUT", _EVENT, appointments.update, "update_appointment", _WRITE_EVENTS),
    Route("GET", _EVENT, appointments.read, "get_appointment", _READ_EVENTS),
    Route("DELETE", "/calendars/events/<event_id>", appointments.delete, "delete_event", _WRITE_EVENTS),
    Route("GET", "/calendars/events", appointments.events, "list_events", _READ_EVENTS),
    Route("GET", "/calendars/", calendars.listing, "list_calendars", _READ_CALENDARS),
    Route("GET", "/calendars/<calendar_id>", calendars.read, "get_calendar", _READ_CALENDARS),
    Route("GET", "/calendars/<calendar_id>/free-slots", calendars.free_slots, "free_slots", _READ_CALENDARS),
    Route("POST", "/contacts/", contacts.create, "create_contact", Gate("contacts.write")),
    Route("POST", "/contacts/upsert", contacts.upsert, "upsert_contact", Gate("contacts.write")),
    Route("GET", "/contacts/search/duplicate", contacts.search_duplicate, "search_duplicate", _READ_CONTACTS),
    Route("GET", "/contacts/<contact_id>", contacts.read, "get_contact", _READ_CONTACTS),
    Route(
        "GET",
        "/contacts/<contact_id>/appointments",
        contacts.appointments,
        "contact_appointments",
        _READ_CONTACTS,
    ),
    Route(
        "GET",
        "/locations/<location_id>",
        calendars.location,
        "get_location",
        Gate("locations.readonly", admits=BOTH),
    ),
    Route("GET", "/oauth/chooselocation", consent.choose),
    Route("GET", "/v2/oauth/chooselocation", consent.choose),
    Route("POST", "/oauth/chooselocation", consent.consent),
    Route("POST", "/v2/oauth/chooselocation", consent.consent),
    Route("GET", "/", pages.diary),
    Route("GET", "/_sandbox/state", control.state),
    Route("GET", "/_sandbox/appointments", control.appointments),
    Route("GET", "/_sandbox/calls", control.calls),
    Route("POST", "/_sandbox/faults", control.add_faults),
    Route("DELETE", "/_sandbox/faults", control.clear_faults),
    Route("POST", "/_sandbox/settings", control.change_settings),
    Route("POST", "/_sandbox/forms", control.pin_forms),
    Route("POST", "/_sandbox/clock", control.advance_clock),
    Route("POST", "/_sandbox/locations", levers.add_locations),
    Route("POST", "/_sandbox/locations/<location_id>", levers.change_location),
    Route("POST", "/_sandbox/companies/<company_id>", levers.change_company),
    Route("POST", "/_sandbox/calendars/<calendar_id>", levers.change_calendar),
    Route("POST", "/_sandbox/tokens", levers.issue_token),
    Route("POST", "/_sandbox/appointments", orders.staff_book),
    Route("POST", "/_sandbox/appointments/<event_id>", orders.staff_change),
    Route("GET", "/_sandbox/letters", orders.letters),
    Route("POST", "/_sandbox/letters", orders.send_letters),
    Route("POST", "/_sandbox/reset", control.reset),
)
_MAP = Map([Rule(route.path, methods=[route.method], endpoint=route) for route in ROUTES])


def create_app(world: World) -> "WSGIApplication":
    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        return _respond(world, Request(environ))(environ, start_response)

    return application


def _respond(world: World, request: Request) -> Response:
    """The answer; a cut connection leaves as `ConnectionCut`, at once or out of the answer's body."""
    try:
        route, path_args = _MAP.bind_to_environ(request.environ).match()
    except HTTPException:
        return unsupported_route().response()
    call = Call(world, request, route.operation or "", dict(path_args))
    return _logged(call, route) if route.operation else _behind_the_lock(call, route)


def _behind_the_lock(call: Call, route: Route) -> Response:
    with call.world.lock:
        try:
            if route.gate:
                check(call, route.gate)
            response = route.endpoint(call)
        except Refusal as refused:
            response = _refused(call, route, refused)
    response.headers.update(call.headers)
    return response


def _refused(call: Call, route: Route, refused: Refusal) -> Response:
    if route.operation:
        forms = call.world.forms
        if refused.is_unknown:
            refused.move(forms.pick("not_found_status"))
        refused.body = forms.refusal(refused.status, refused.body)
        if refused.status == 429 and (form := forms.pick("too_many_body")) != "json":
            text = "Too Many Requests" if form == "text" else ""
            return Response(text, 429, refused.headers, content_type="text/plain")
    return refused.response()


def _logged(call: Call, route: Route) -> Response:
    world, started = call.world, time.monotonic()
    with world.lock:
        log, record = world.calls, _record(call)
        log.begin(record)
        fault = world.faults.take(call.operation, record.location_id, call.fields, bearer=bool(call.bearer))
        record.fault = fault.kind if fault else None
    outcome = "cut"
    try:
        response = _played(call, route, fault)
        outcome = str(response.status_code)
    finally:
        with world.lock:
            log.finish(record, outcome, (time.monotonic() - started) * 1000)
        _log.info("%s %s -> %s %s", record.method, record.path, outcome, record.fault or "")
    return response


def _played(call: Call, route: Route, fault: Fault | None) -> Response:
    world = call.world
    world.wait(world.settings.latency_seconds)
    try:
        check_client(call)
        if fault is None:
            return _behind_the_lock(call, route)
        scene = Scene(lambda: _behind_the_lock(call, route), world.wait, lambda: _exhausted(call))
        return play(fault, scene)
    except Refusal as refused:
        return _refused(call, route, refused)


def _exhausted(call: Call) -> dict[str, str]:
    """The limits' headers as they look when the burst is used up, though it may not be."""
    grant = call.world.tokens.grant_of(call.bearer)
    with call.world.lock:
        headers = call.world.limits.headers(grant.resource if grant else "")
    return {**headers, "X-RateLimit-Remaining": "0"}


def _record(call: Call) -> Record:
    # Codes, secrets and refresh tokens stay out of the log, pretended as they are.
    named = {"grant_type": call.fields.get("grant_type")} if call.operation == "token" else call.fields
    now = call.world.clock.now().isoformat()
    return Record(now, call.operation, call.request.method, call.request.path, call.location_id, named)
