"""The forms that HighLevel leaves open are played by seed: the same with the same seed, and each of them in time."""

import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from sandbox import Fault, Settings, World, create_app
from sandbox.forms import FORMS, Forms
from sandbox.seed import COMPANY, CONTACT, LOCATION
from tests.sandbox.asking import EVENTS, Asker, example, refresh

PLAYED = 60


def drawn(seed: int | None, count: int = PLAYED) -> list[tuple[str, ...]]:
    forms = Forms(Settings(forms_seed=seed))
    return [tuple(forms.pick(name) for name in FORMS) for _ in range(count)]


def test_it_draws_the_same_forms_of_the_same_seed() -> None:
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)


def test_it_plays_each_form_of_everything_in_time() -> None:
    played = {(name, form) for each in drawn(1) for name, form in zip(FORMS, each, strict=True)}

    assert played == {(name, form) for name, forms in FORMS.items() for form in forms}


def test_it_keeps_to_the_first_forms_without_a_seed() -> None:
    assert set(drawn(None)) == {tuple(forms[0] for forms in FORMS.values())}


def test_a_world_has_a_seed_unless_it_is_told_otherwise() -> None:
    assert Settings().forms_seed is not None
    assert Settings().bare_contact_dates is True


def test_it_keeps_to_a_form_that_is_pinned() -> None:
    forms = Forms(Settings(forms_seed=3))
    forms.pin(dates="offset_seconds")

    assert {forms.pick("dates") for _ in range(PLAYED)} == {"offset_seconds"}
    forms.pin(dates=None)
    assert len({forms.pick("dates") for _ in range(PLAYED)}) == 3


@pytest.mark.parametrize("wrong", [{"dates": "roman"}, {"unheard_of": "of"}])
def test_the_desk_pins_forms_and_refuses_those_there_are_not(
    world: World, client: httpx2.Client, wrong: dict[str, str]
) -> None:
    assert client.post("/_sandbox/forms", json={"list_order": "reversed"}).json()["forms"] == {
        "list_order": "reversed"
    }
    assert client.post("/_sandbox/forms", json={"list_order": None, **wrong}).status_code == 400
    assert world.forms.pinned == {"list_order": "reversed"}


def test_a_contacts_list_writes_all_its_dates_without_an_offset_unless_told_otherwise(
    world: World, ask: Asker
) -> None:
    ask.book()

    def entry() -> dict[str, Any]:
        listed: dict[str, Any] = ask.get(f"/contacts/{CONTACT}/appointments").json()["events"][0]
        return {name: listed[name] for name in ("startTime", "dateAdded", "dateUpdated")}

    assert entry()["dateAdded"].endswith("Z")
    world.settings.bare_contact_dates = True
    assert all(len(text) == len("2027-06-22 22:00:00") and text[10] == " " for text in entry().values())


@pytest.mark.parametrize(
    ("form", "shows"),
    [
        ({"contact_entry": "id_alone"}, {"id"}),
        ({"contact_entry": "underscore_id"}, {"_id", "title"}),
        ({"contact_entry": "no_title"}, {"id", "contactId"}),
        ({"contact_entry": "no_dates"}, {"id", "title"}),
    ],
)
def test_a_contacts_list_leaves_out_what_the_schema_does_not_require(
    world: World, ask: Asker, form: dict[str, str], shows: set[str]
) -> None:
    ask.book()
    full = set(ask.get(f"/contacts/{CONTACT}/appointments").json()["events"][0])
    world.forms.pin(**form)

    entry = set(ask.get(f"/contacts/{CONTACT}/appointments").json()["events"][0])

    assert shows <= entry != full


def test_the_answer_to_a_create_may_hold_the_required_alone(world: World, ask: Asker) -> None:
    world.forms.pin(
        created_answer="required_alone", status_key="misspelt", trace="absent", success_status="201"
    )

    answer = ask.post(EVENTS, example())

    assert answer.status_code == 201
    assert set(answer.json()) == {"id", "calendarId", "locationId", "contactId", "appoinmentStatus"}


# --- On the wire ------------------------------------------------------------------------------------------------

# Runs of these say nothing of a form: ids, tokens, the digits of times.
WORD = re.compile(r"[\w-]+", re.ASCII)
# The same in each world, so that their order and their zone show.
TELLING = frozenset({"title", "startTime"})
OTHERS = [(name, form) for name, forms in FORMS.items() for form in forms[1:]]


def outline(value: Any, key: str = "") -> Any:
    """What of an answer is the same in two worlds."""
    match value:
        case dict():
            return {name: outline(each, name) for name, each in value.items()}
        case list():
            return [outline(each) for each in value]
        case str() if key not in TELLING:
            return WORD.sub("w", value)
        case int() if not isinstance(value, bool) and key != "status":
            return 0
    return value


def answers(world: World) -> Iterator[httpx2.Response]:
    """One of each kind that the app under test asks for."""
    transport = httpx2.WSGITransport(app=create_app(world))
    with httpx2.Client(transport=transport, base_url="http://sandbox") as client:
        given = world.issue_location_token(LOCATION)
        ask = Asker(client, given["access_token"])
        company = world.issue_company_token(COMPANY)
        ask_as_agency = Asker(client, company["access_token"])
        yield refresh(client, world, company["refresh_token"])
        yield refresh(client, world, "dead")
        yield ask_as_agency.get(
            "/oauth/installedLocations", companyId=COMPANY, appId=world.settings.app_id, isInstalled="true"
        )
        yield ask_as_agency(
            "POST", "/oauth/locationToken", data={"companyId": COMPANY, "locationId": LOCATION}
        )
        yield ask.get(f"/locations/{LOCATION}")
        for hour in range(3, 8):
            start, end = (f"2021-06-23T0{each}:30:00+05:30" for each in (hour, hour + 1))
            made = ask.post(EVENTS, example(startTime=start, endTime=end, title=f"At {hour}", rrule=None))
            yield made
        yield ask.get(f"{EVENTS}/{made.json()['id']}")
        yield ask.get("/calendars/events", **EVERYTHING)
        yield ask.get(f"/contacts/{CONTACT}/appointments")
        yield ask.put(f"{EVENTS}/unknown", {"title": "Other"})
        yield ask.get("/calendars/unknown")
        yield ask.post(EVENTS, example(assignedUserId="stranger"))
        yield ask.post("/contacts/", IDA)
        yield ask.post("/contacts/", IDA)
        yield ask.post("/contacts/upsert", IDA)
        yield ask.get("/contacts/search/duplicate", **IDA)
        yield ask.get("/contacts/search/duplicate", locationId=LOCATION, email="nobody@example.com")
        world.faults.add(Fault("too_many_requests"))
        yield ask.get(f"/locations/{LOCATION}")


EVERYTHING = {
    "locationId": LOCATION,
    "calendarId": example()["calendarId"],
    "startTime": "0",
    "endTime": "4102444800000",
}
IDA = {"locationId": LOCATION, "email": "ida@example.com"}


def seen(world: World) -> list[Any]:
    bodies = [{"status": each.status_code, "body": _body(each)} for each in answers(world)]
    return outline([*bodies, *(letter.content for letter in world.letters)])  # type: ignore[no-any-return]


def _body(answer: httpx2.Response) -> Any:
    return answer.json() if "json" in answer.headers["Content-Type"] else answer.text


def plain_but_for(**forms: str) -> World:
    world = World.seeded(Settings(forms_seed=1))
    world.forms.pin(**{name: each[0] for name, each in FORMS.items()} | forms)
    world.settings.bare_contact_dates = False
    return world


@pytest.mark.parametrize(("name", "form"), OTHERS)
def test_each_form_is_to_be_seen_in_an_answer_or_an_event(name: str, form: str) -> None:
    plain, again, other = seen(plain_but_for()), seen(plain_but_for()), seen(plain_but_for(**{name: form}))

    assert plain == again
    assert plain != other


def test_it_answers_and_writes_in_the_same_forms_with_the_same_seed() -> None:
    first, same, other = (seen(World.seeded(Settings(forms_seed=seed))) for seed in (7, 7, 8))

    assert first == same
    assert first != other
