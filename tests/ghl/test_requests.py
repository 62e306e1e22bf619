"""What leaves for HighLevel: method, path, version, query, body; by our own list and the official files."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import jsonschema
import pytest

from ghl.client import Client
from ghl.types import APPOINTMENT_STATUSES, CHANGE_FIELDS, CONTACT_FIELDS, MEETING_LOCATION_TYPES, wire_name

from .conftest import Answering
from .test_bodies import WIRE

OFFICIAL = Path(__file__).parents[3] / "shared/highlevel/openapi"
TOKEN = "an.access.token"
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
END = datetime(2026, 1, 6, 9, 0, 0, 500_000, tzinfo=timezone(timedelta(hours=5, minutes=30)))
CHANGE = {key: value for key, value in WIRE.items() if key not in {"locationId", "contactId"}}
CONTACT = {"locationId": "loc1", "email": "ada@example.test", "phone": "+15550100", "firstName": "Ada"}
REFRESH = {
    "client_id": "app1-abc",
    "client_secret": "a-client-secret",
    "grant_type": "refresh_token",
    "refresh_token": "old",
    "user_type": "Location",
}


@dataclass
class Sent:
    """A call, what it should send, and where the official files describe it."""

    ask: Callable[[Client], object]
    file: str
    method: str
    template: str
    path: str
    version: str | None
    query: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None


APPOINTMENTS = "/calendars/events/appointments"
SENT = {
    "refresh": Sent(
        lambda c: c.refresh("old"), "oauth", "POST", "/oauth/token", "/oauth/token", None, body=REFRESH
    ),
    "location token": Sent(
        lambda c: c.location_token(TOKEN, "com1", "loc1"),
        "oauth",
        "POST",
        "/oauth/locationToken",
        "/oauth/locationToken",
        "2021-07-28",
        body={"companyId": "com1", "locationId": "loc1"},
    ),
    "installed locations": Sent(
        lambda c: c.installed_locations(TOKEN, "com1", skip=100, location_id="loc1"),
        "oauth",
        "GET",
        "/oauth/installedLocations",
        "/oauth/installedLocations",
        "2021-07-28",
        query={
            "companyId": "com1",
            "appId": "app1",
            "isInstalled": "true",
            "skip": "100",
            "limit": "100",
            "locationId": "loc1",
        },
    ),
    "create": Sent(
        lambda c: c.create_appointment(TOKEN, WIRE),
        "calendars",
        "POST",
        APPOINTMENTS,
        APPOINTMENTS,
        "2021-04-15",
        body=WIRE,
    ),
    "change": Sent(
        lambda c: c.change_appointment(TOKEN, "apt/1", CHANGE),
        "calendars",
        "PUT",
        f"{APPOINTMENTS}/{{eventId}}",
        f"{APPOINTMENTS}/apt%2F1",
        "2021-04-15",
        body=CHANGE,
    ),
    "get": Sent(
        lambda c: c.get_appointment(TOKEN, "apt1_1730000000000_3600"),
        "calendars",
        "GET",
        f"{APPOINTMENTS}/{{eventId}}",
        f"{APPOINTMENTS}/apt1_1730000000000_3600",
        "2021-04-15",
    ),
    "events": Sent(
        lambda c: c.events(TOKEN, location_id="loc1", calendar_id="cal1", start=START, end=END),
        "calendars",
        "GET",
        "/calendars/events",
        "/calendars/events",
        "2021-04-15",
        query={
            "locationId": "loc1",
            "calendarId": "cal1",
            "startTime": "1767603600000",
            "endTime": "1767670200500",
        },
    ),
    "contact appointments": Sent(
        lambda c: c.contact_appointments(TOKEN, "con1"),
        "contacts",
        "GET",
        "/contacts/{contactId}/appointments",
        "/contacts/con1/appointments",
        "2021-07-28",
    ),
    "calendars": Sent(
        lambda c: c.calendars(TOKEN, location_id="loc1"),
        "calendars",
        "GET",
        "/calendars/",
        "/calendars/",
        "2021-04-15",
        query={"locationId": "loc1"},
    ),
    "free slots": Sent(
        lambda c: c.free_slots(TOKEN, "cal1", start=START, end=END, timezone="America/New_York"),
        "calendars",
        "GET",
        "/calendars/{calendarId}/free-slots",
        "/calendars/cal1/free-slots",
        "2021-04-15",
        query={"startDate": "1767603600000", "endDate": "1767670200500", "timezone": "America/New_York"},
    ),
    "search by e-mail": Sent(
        lambda c: c.search_duplicate(TOKEN, location_id="loc1", email="ada+x@example.test"),
        "contacts",
        "GET",
        "/contacts/search/duplicate",
        "/contacts/search/duplicate",
        "2021-07-28",
        query={"locationId": "loc1", "email": "ada+x@example.test"},
    ),
    "search by phone": Sent(
        lambda c: c.search_duplicate(TOKEN, location_id="loc1", number="+15550100"),
        "contacts",
        "GET",
        "/contacts/search/duplicate",
        "/contacts/search/duplicate",
        "2021-07-28",
        query={"locationId": "loc1", "number": "+15550100"},
    ),
    "create contact": Sent(
        lambda c: c.create_contact(TOKEN, CONTACT),
        "contacts",
        "POST",
        "/contacts/",
        "/contacts/",
        "2021-07-28",
        body=CONTACT,
    ),
    "upsert": Sent(
        lambda c: c.upsert_contact(TOKEN, CONTACT),
        "contacts",
        "POST",
        "/contacts/upsert",
        "/contacts/upsert",
        "2021-07-28",
        body=CONTACT,
    ),
    "location": Sent(
        lambda c: c.get_location(TOKEN, "loc1"),
        "locations",
        "GET",
        "/locations/{locationId}",
        "/locations/loc1",
        "2021-07-28",
    ),
}
ANY_ANSWER = {"id": "x", "access_token": "a", "events": [], "calendars": [], "locations": []}
each_call = pytest.mark.parametrize("sent", SENT.values(), ids=SENT.keys())
with_official_files = pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the official files are not here")


@pytest.fixture
def request_of(answering: Answering) -> Callable[[Sent], httpx2.Request]:
    """The one request a call makes."""

    def record(sent: Sent) -> httpx2.Request:
        requests: list[httpx2.Request] = []
        client = answering(lambda request: requests.append(request) or httpx2.Response(200, json=ANY_ANSWER))
        sent.ask(client)
        (request,) = requests
        return request

    return record


def parsed(request: httpx2.Request) -> tuple[str, dict[str, str], dict[str, Any] | None]:
    path, _, query = request.url.raw_path.decode().partition("?")
    content = request.content.decode()
    is_form = request.headers.get("content-type") == "application/x-www-form-urlencoded"
    body = None if not content else dict(parse_qsl(content)) if is_form else json.loads(content)
    return path, dict(parse_qsl(query)), body


@each_call
def test_the_request_is_the_one_highlevel_documents(
    sent: Sent, request_of: Callable[[Sent], httpx2.Request]
) -> None:
    request = request_of(sent)

    assert (request.method, *parsed(request)) == (sent.method, sent.path, sent.query, sent.body)
    assert request.headers.get("version") == sent.version
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("ghl-booking-backend/")
    assert request.headers.get("authorization") == (None if sent.version is None else f"Bearer {TOKEN}")


@with_official_files
@each_call
def test_the_official_files_allow_the_request(
    sent: Sent, request_of: Callable[[Sent], httpx2.Request]
) -> None:
    official = json.loads((OFFICIAL / f"{sent.file}.json").read_text())
    operation = official["paths"][sent.template][sent.method.lower()]
    parameters = {(each["in"], each["name"]): each for each in operation.get("parameters", [])}
    request = request_of(sent)
    path, query, body = parsed(request)

    assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", sent.template), path)
    check_parameters(parameters, query, request.headers)
    if body is not None:
        check_body(official, operation, body)


def check_parameters(
    parameters: dict[tuple[str, str], Any], query: dict[str, str], headers: httpx2.Headers
) -> None:
    for (place, name), parameter in parameters.items():
        given = {"query": query, "header": headers, "path": {name: "x"}}[place].get(name)
        assert given is not None or not parameter.get("required"), name
        if given is not None:
            # A query is text; what it stands for is what the schema is about.
            stands_for = (
                json.loads(given) if parameter["schema"].get("type") in ("number", "boolean") else given
            )
            jsonschema.validate(stands_for, parameter["schema"])
    assert {("query", name) for name in query} <= parameters.keys()


def check_body(official: dict[str, Any], operation: dict[str, Any], body: dict[str, Any]) -> None:
    (content,) = operation["requestBody"]["content"].values()
    jsonschema.validate(body, {**content["schema"], "components": official["components"]})
    assert body.keys() <= properties(official, content["schema"]["$ref"]).keys()


def properties(official: dict[str, Any], reference: str) -> dict[str, Any]:
    schema: dict[str, Any] = official["components"]["schemas"][reference.rpartition("/")[2]]
    return schema["properties"]


@with_official_files
def test_our_lists_of_fields_and_words_are_the_official_ones() -> None:
    calendars = json.loads((OFFICIAL / "calendars.json").read_text())
    contacts = json.loads((OFFICIAL / "contacts.json").read_text())
    create = properties(calendars, "AppointmentCreateSchema")

    assert set(WIRE) == create.keys()
    assert {wire_name(name) for name in CHANGE_FIELDS} == properties(
        calendars, "AppointmentEditSchema"
    ).keys()
    official_contact = properties(contacts, "UpsertContactDto").keys() - {"tags"}
    assert {wire_name(name) for name in CONTACT_FIELDS} == official_contact
    assert create["appointmentStatus"]["enum"] == list(APPOINTMENT_STATUSES)
    assert create["meetingLocationType"]["enum"] == list(MEETING_LOCATION_TYPES)


def test_a_body_leaves_exactly_as_it_was_given(answering: Answering) -> None:
    bodies: list[bytes] = []
    client = answering(
        lambda request: bodies.append(request.content) or httpx2.Response(200, json={"id": "x"})
    )

    client.create_appointment(TOKEN, {"title": "Grüße ✂", "startTime": "2026-01-05T09:00:00+05:30"})

    assert bodies == ['{"title": "Grüße ✂", "startTime": "2026-01-05T09:00:00+05:30"}'.encode()]


def test_slots_can_be_asked_for_without_a_zone(request_of: Callable[[Sent], httpx2.Request]) -> None:
    sent = SENT["free slots"]
    sent = Sent(lambda c: c.free_slots(TOKEN, "cal1", start=START, end=END), *list(vars(sent).values())[1:])

    assert "timezone" not in parsed(request_of(sent))[1]


def test_an_agencys_token_is_refreshed_as_one(request_of: Callable[[Sent], httpx2.Request]) -> None:
    sent = SENT["refresh"]
    sent = Sent(lambda c: c.refresh("old", user_type="Company"), *list(vars(sent).values())[1:])

    body = parsed(request_of(sent))[2]

    assert body is not None
    assert body["user_type"] == "Company"


CANNOT_BE_SENT: dict[str, Callable[[Client], object]] = {
    "tags": lambda c: c.upsert_contact(TOKEN, {"locationId": "loc1", "tags": []}),
    "no id": lambda c: c.get_appointment(TOKEN, ""),
    "dots": lambda c: c.free_slots(TOKEN, "..", start=START, end=END),
    "naive": lambda c: c.free_slots(TOKEN, "cal1", start=START.replace(tzinfo=None), end=END),
    "token with a line end": lambda c: c.get_appointment("tok\nen", "apt1"),
    "empty token": lambda c: c.get_appointment("", "apt1"),
    "not a number": lambda c: c.create_appointment(TOKEN, {"title": float("nan")}),
    "half a character": lambda c: c.create_appointment(TOKEN, {"title": "\ud800"}),
}


@pytest.mark.parametrize("ask", CANNOT_BE_SENT.values(), ids=CANNOT_BE_SENT.keys())
def test_what_cannot_be_sent_is_a_value_error_before_sending(
    ask: Callable[[Client], object], answering: Answering
) -> None:
    sent: list[httpx2.Request] = []
    client = answering(lambda request: sent.append(request) or httpx2.Response(200, json=ANY_ANSWER))

    with pytest.raises(ValueError) as refused:  # noqa: PT011 - each with words of its own
        ask(client)

    assert sent == []
    assert "tok\nen" not in str(refused.value)
