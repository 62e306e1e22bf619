"""The sandbox answers as HighLevel's own OpenAPI files say, where those lie beside the repository.

The same shapes are asserted without the files in the other tests of this folder.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import jsonschema  # type: ignore[import-untyped]
import pytest

from sandbox import Settings, World
from sandbox.seed import CALENDAR, COMPANY, CONTACT, LOCATION
from tests.sandbox.asking import EVENTS, Asker, checked, example, refresh

FILES = Path(__file__).parents[3] / "shared" / "highlevel" / "openapi"
EVENT = f"{EVENTS}/{{eventId}}"
# Written as objects there, though their examples, like the real answers, are strings.
STRINGS_CALLED_OBJECTS = frozenset({"startTime", "endTime", "dateAdded", "dateUpdated"})
# Written as a boolean there, though its examples are strings.
BOOLEANS_LIKE_STRINGS = frozenset({"isRecurring"})

# Seen for the one that is documented.
SEEN_TOO = {"201": "200", "200": "201", "404": "400"}

pytestmark = pytest.mark.skipif(not FILES.is_dir(), reason="HighLevel's OpenAPI files are not at hand")
# None: each answer in the first of its forms.
SEEDS = (None, *range(1, 5))


@pytest.fixture(params=SEEDS)
def world(request: pytest.FixtureRequest) -> World:
    """Whatever form an answer takes, it is as the files say."""
    return World.seeded(Settings(forms_seed=request.param))


@cache
def load(name: str) -> dict[str, Any]:
    # They refer to each other as they lie in HighLevel's repository, one folder up from here.
    found: dict[str, Any] = json.loads((FILES / name.removeprefix("../")).read_text())
    return found


def resolved(schema: Any, file: str) -> Any:
    """The schema with every reference replaced by what it refers to, and its oddities put right."""
    if isinstance(schema, list):
        return [resolved(entry, file) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        other, _, pointer = schema["$ref"].partition("#/")
        target: Any = load(other or file)
        for step in pointer.split("/"):
            target = target[step]
        return resolved(target, other or file)
    properties = {name: _property(name, entry, file) for name, entry in schema.get("properties", {}).items()}
    rest = {
        key: resolved(entry, file) for key, entry in schema.items() if key not in ("properties", "example")
    }
    return {**rest, "properties": properties} if properties else rest


def _property(name: str, schema: Any, file: str) -> Any:
    if name in STRINGS_CALLED_OBJECTS:
        return {"type": "string"}
    if name in BOOLEANS_LIKE_STRINGS:
        return {"enum": [True, False, "true", "false"]}
    return resolved(schema, file)


def check(answer: httpx2.Response, file: str, path: str) -> None:
    operation = load(file)["paths"][path][answer.request.method.lower()]
    status = str(answer.status_code)
    documented = operation["responses"].get(status) or operation["responses"][SEEN_TOO[status]]
    schema = resolved(documented["content"]["application/json"]["schema"], file)
    body = answer.json()
    if path.endswith("free-slots"):
        body.pop("traceId")  # real answers carry it, the file allows dates alone
    jsonschema.validate(body, schema, format_checker=jsonschema.FormatChecker())


Say = Callable[[Asker], httpx2.Response]
SPAN = {"startTime": "0", "endTime": "4102444800000"}
DAY = {"startDate": "1624386600000", "endDate": "1624473000000"}


def booked(ask: Asker, **changes: Any) -> str:
    return str(ask.book(**changes)["id"])


def taken(ask: Asker) -> httpx2.Response:
    ask.book()
    return ask.post(EVENTS, checked())


def events(ask: Asker) -> httpx2.Response:
    ask.book(rrule="RRULE:FREQ=DAILY;COUNT=2")
    return ask.get("/calendars/events", locationId=LOCATION, calendarId=CALENDAR, **SPAN)


def contact_appointments(ask: Asker) -> httpx2.Response:
    ask.book()
    return ask.get(f"/contacts/{CONTACT}/appointments")


def delete(ask: Asker) -> httpx2.Response:
    return ask("DELETE", f"/calendars/events/{booked(ask)}", json={})


def upsert(ask: Asker) -> httpx2.Response:
    given = {"email": "ida@example.com", "tags": ["vip"], "name": "Ida Byron"}
    return ask.post("/contacts/upsert", {"locationId": LOCATION, **given})


LOCATION_ANSWERS: dict[str, tuple[int, str, str, Say]] = {
    "create": (200, "calendars.json", EVENTS, lambda ask: ask.post(EVENTS, example())),
    "create recurring": (
        200,
        "calendars.json",
        EVENTS,
        lambda ask: ask.post(EVENTS, example(rrule="FREQ=DAILY;COUNT=2")),
    ),
    "slot taken": (400, "calendars.json", EVENTS, taken),
    "bare bad request": (
        400,
        "calendars.json",
        EVENTS,
        lambda ask: ask.post(EVENTS, example(startTime="2021-06-23T03:30:00.1+05:30")),
    ),
    "update": (200, "calendars.json", EVENT, lambda ask: ask.put(f"{EVENTS}/{booked(ask)}", {"title": "x"})),
    "update unknown": (400, "calendars.json", EVENT, lambda ask: ask.put(f"{EVENTS}/x", {})),
    "read": (200, "calendars.json", EVENT, lambda ask: ask.get(f"{EVENTS}/{booked(ask)}")),
    "delete": (201, "calendars.json", "/calendars/events/{eventId}", delete),
    "events": (200, "calendars.json", "/calendars/events", events),
    "free slots": (
        200,
        "calendars.json",
        "/calendars/{calendarId}/free-slots",
        lambda ask: ask.get(f"/calendars/{CALENDAR}/free-slots", **DAY),
    ),
    "calendars": (
        200,
        "calendars.json",
        "/calendars/",
        lambda ask: ask.get("/calendars/", locationId=LOCATION),
    ),
    "calendar": (
        200,
        "calendars.json",
        "/calendars/{calendarId}",
        lambda ask: ask.get(f"/calendars/{CALENDAR}"),
    ),
    "upsert": (200, "contacts.json", "/contacts/upsert", upsert),
    "upsert refused": (
        422,
        "contacts.json",
        "/contacts/upsert",
        lambda ask: ask.post("/contacts/upsert", {"locationId": LOCATION, "foo": 1}),
    ),
    "contact": (200, "contacts.json", "/contacts/{contactId}", lambda ask: ask.get(f"/contacts/{CONTACT}")),
    "unknown contact": (400, "contacts.json", "/contacts/{contactId}", lambda ask: ask.get("/contacts/x")),
    "contact's appointments": (
        200,
        "contacts.json",
        "/contacts/{contactId}/appointments",
        contact_appointments,
    ),
    "location": (
        200,
        "locations.json",
        "/locations/{locationId}",
        lambda ask: ask.get(f"/locations/{LOCATION}"),
    ),
}


@pytest.mark.parametrize("name", LOCATION_ANSWERS)
def test_it_answers_a_location_as_the_official_files_say(ask: Asker, name: str) -> None:
    status, file, path, say = LOCATION_ANSWERS[name]

    answer = say(ask)

    assert status == answer.status_code or str(status) == SEEN_TOO[str(answer.status_code)]
    check(answer, file, path)


@pytest.mark.parametrize("header", ["Version", "Authorization"])
def test_it_refuses_a_token_as_the_official_files_say(ask: Asker, header: str) -> None:
    answer = ask("POST", EVENTS, json=example(), headers={header: "bogus"})

    assert answer.status_code == 401
    check(answer, "calendars.json", EVENTS)


def test_it_answers_an_agency_as_the_official_files_say(world: World, ask_as_agency: Asker) -> None:
    ids = {"companyId": COMPANY, "locationId": LOCATION}
    check(ask_as_agency("POST", "/oauth/locationToken", data=ids), "oauth.json", "/oauth/locationToken")

    asked = {"companyId": COMPANY, "appId": world.settings.app_id}
    for params in (asked, {"companyId": COMPANY}):
        answer = ask_as_agency.get("/oauth/installedLocations", **params)
        check(answer, "oauth.json", "/oauth/installedLocations")


@pytest.mark.parametrize("user_type", ["Location", "Company"])
def test_it_gives_tokens_as_the_official_files_say(
    world: World, client: httpx2.Client, user_type: str
) -> None:
    issue = {
        "Location": lambda: world.issue_location_token(LOCATION),
        "Company": lambda: world.issue_company_token(COMPANY),
    }
    token = issue[user_type]()

    for refresh_token in (token["refresh_token"], "garbage"):
        check(refresh(client, world, refresh_token), "oauth.json", "/oauth/token")


def test_it_would_notice_an_answer_that_is_otherwise(world: World, ask: Asker) -> None:
    world.forms.pin(event_envelope="event")
    answer = ask.get(f"{EVENTS}/{booked(ask)}")
    altered = answer.json()
    del altered["event"]["contactId"]

    with pytest.raises(jsonschema.ValidationError):
        check(httpx2.Response(200, json=altered, request=answer.request), "calendars.json", EVENT)
