"""The forms that HighLevel leaves open are played by seed: the same with the same seed, and each of them in time."""

from typing import Any

import httpx2
import pytest

from sandbox import Settings, World
from sandbox.forms import FORMS, Forms
from sandbox.seed import CONTACT
from tests.sandbox.asking import EVENTS, Asker, example

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
