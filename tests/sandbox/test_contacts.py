"""Somebody finds or makes a contact."""

from typing import Any

import httpx2
import pytest

from sandbox import World
from sandbox.seed import CONTACT, LOCATION, SECOND_CONTACT
from tests.sandbox.asking import Asker


def upsert(ask: Asker, **given: Any) -> dict[str, Any]:
    answer = ask.post("/contacts/upsert", {"locationId": LOCATION, **given})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert isinstance(body.pop("traceId"), str)
    return body


def duplicate(ask: Asker, **params: str) -> httpx2.Response:
    return ask.get("/contacts/search/duplicate", locationId=LOCATION, **params)


def test_it_makes_a_new_contact(ask: Asker) -> None:
    made = upsert(ask, name="Ida Lovelace Byron", email="Ida@Example.com", phone="+1 312 555 0199")

    assert made["new"] is True
    contact = ask.get(f"/contacts/{made['contact']['id']}").json()["contact"]
    assert (contact["firstName"], contact["lastName"]) == ("Ida", "Lovelace Byron")
    assert (contact["email"], contact["emailLowerCase"]) == ("Ida@Example.com", "ida@example.com")


@pytest.mark.parametrize(
    "by", [{"email": "IDA@example.com"}, {"phone": "+13125550199"}], ids=["email", "phone"]
)
def test_it_finds_the_contact_it_already_has(ask: Asker, by: dict[str, str]) -> None:
    made = upsert(ask, firstName="Ida", email="ida@example.com", phone="+1 (312) 555-0199")

    again = upsert(ask, lastName="Byron", **by)

    assert again["new"] is False
    assert again["contact"]["id"] == made["contact"]["id"]
    assert again["contact"]["name"] == "Ida Byron"


def test_it_goes_by_the_email_where_the_phone_is_anothers(ask: Asker) -> None:
    by_email = upsert(ask, email="ida@example.com")["contact"]
    upsert(ask, phone="+13125550199")

    both = upsert(ask, email="ida@example.com", phone="+13125550199")["contact"]

    assert both["id"] == by_email["id"]
    assert "phone" not in both


def test_it_overwrites_all_tags(ask: Asker) -> None:
    upsert(ask, email="ida@example.com", tags=["vip", "old"])

    assert upsert(ask, email="ida@example.com", tags=["new"])["contact"]["tags"] == ["new"]
    assert upsert(ask, email="ida@example.com")["contact"]["tags"] == ["new"]


def test_it_makes_one_contact_per_call_without_email_or_phone(ask: Asker) -> None:
    assert upsert(ask, name="Ida")["contact"]["id"] != upsert(ask, name="Ida")["contact"]["id"]


def test_it_makes_a_duplicate_when_told_to(ask: Asker) -> None:
    upsert(ask, email="ida@example.com")

    assert upsert(ask, email="ida@example.com", createNewIfDuplicateAllowed=True)["new"] is True


def test_it_keeps_the_contacts_of_locations_apart(ask: Asker) -> None:
    assert upsert(ask, email="sam@example.com")["contact"]["id"] != SECOND_CONTACT


def test_it_refuses_fields_it_does_not_know(ask: Asker) -> None:
    refused = ask.post("/contacts/upsert", {"locationId": LOCATION, "mail": "x", "dnd": "no"})

    assert refused.status_code == 422
    assert refused.json()["message"] == ["property mail should not exist", "dnd must be a boolean value"]


def test_it_finds_a_duplicate_by_email_or_number(world: World, ask: Asker) -> None:
    world.contacts[CONTACT].details["phone"] = "+911234567890"

    assert duplicate(ask, email="ravi@example.com").json()["contact"]["id"] == CONTACT
    assert duplicate(ask, number="+911234567890").json()["contact"]["id"] == CONTACT
    assert duplicate(ask, phone="+911234567890").json()["contact"] is None


def test_it_finds_a_contact_by_additional_addresses(world: World, ask: Asker) -> None:
    world.contacts[CONTACT].details |= {
        "additionalEmails": [{"email": "second@example.com"}],
        "additionalPhones": [{"phone": "+911234567890"}],
    }

    assert duplicate(ask, email="SECOND@example.com").json()["contact"]["id"] == CONTACT
    assert duplicate(ask, number="+91 12345 67890").json()["contact"]["id"] == CONTACT
    assert duplicate(ask, number="911234567890").json()["contact"] is None
    overwritten = upsert(ask, email="second@example.com")["contact"]
    assert (overwritten["id"], overwritten["email"]) == (CONTACT, "second@example.com")


def test_its_search_is_behind(world: World, ask: Asker) -> None:
    world.settings.list_lag_seconds = 10
    made = ask.post("/contacts/", {"locationId": LOCATION, "email": "ida@example.com"}).json()["contact"]

    assert duplicate(ask, email="ida@example.com").json()["contact"] is None
    assert ask.get(f"/contacts/{made['id']}").status_code == 200
    world.clock.advance(10)
    assert duplicate(ask, email="ida@example.com").json()["contact"]["id"] == made["id"]


def test_it_creates_no_duplicate_unless_its_location_allows_it(world: World, ask: Asker) -> None:
    body = {"locationId": LOCATION, "email": "Ravi@example.com", "firstName": "Other"}

    refused = ask.post("/contacts/", body)

    assert refused.status_code == 400
    assert refused.json()["message"] == "This location does not allow duplicated contacts."
    assert refused.json()["meta"] == {
        "contactId": CONTACT,
        "contactName": "Ravi Iyer",
        "matchingField": "email",
    }
    world.settings.duplicate_contacts_allowed = True
    made = ask.post("/contacts/", body)
    assert (made.status_code, made.json()["contact"]["firstName"]) == (201, "Other")
    assert made.json()["contact"]["id"] != CONTACT


def test_it_does_not_know_a_strange_contact(ask: Asker) -> None:
    refused = ask.get("/contacts/strange")

    assert (refused.status_code, refused.json()["message"]) == (400, "Contact with id strange not found")
    assert ask.get("/contacts/strange/appointments").status_code == 400


def test_it_shows_no_location_anothers_contact(ask: Asker) -> None:
    assert ask.get(f"/contacts/{SECOND_CONTACT}").status_code == 403
