"""What happens in HighLevel is told to the app by letter, each in HighLevel's own shape."""

import uuid
from datetime import UTC, datetime
from typing import Any

import httpx2

from sandbox import World
from sandbox.seed import COMPANY, CONTACT, LOCATION, SECOND_LOCATION, THIRD_LOCATION
from tests.sandbox.asking import EVENTS, Asker
from tests.sandbox.test_installing import consent

INSTALL_KEYS = {
    *("type", "appId", "versionId", "installType", "locationId", "companyId", "userId", "companyName"),
    *("isWhitelabelCompany", "whitelabelDetails", "planId", "trial", "timestamp", "webhookId"),
}


def told(world: World, *types: str) -> list[dict[str, Any]]:
    return [letter.content for letter in world.letters if not types or letter.type in types]


def newest(world: World) -> dict[str, Any]:
    return told(world)[-1]


def test_it_tells_of_an_install_before_the_code_is_exchanged(world: World, client: httpx2.Client) -> None:
    consent(client, world, f"location:{LOCATION}")

    [letter] = told(world)

    assert set(letter) == INSTALL_KEYS
    assert (letter["type"], letter["installType"]) == ("INSTALL", "Location")
    assert (letter["locationId"], letter["companyId"]) == (LOCATION, COMPANY)
    assert (letter["appId"], letter["versionId"]) == (world.settings.app_id, world.settings.version_id)
    assert letter["companyName"] == "Marketplace Demo Agency"
    assert (letter["isWhitelabelCompany"], letter["whitelabelDetails"]) == (
        False,
        {"logoUrl": "", "domain": ""},
    )
    assert str(uuid.UUID(letter["webhookId"])) == letter["webhookId"]
    assert datetime.fromisoformat(letter["timestamp"]).utcoffset() == UTC.utcoffset(None)


def test_it_tells_of_a_company_and_each_of_its_locations(world: World) -> None:
    world.issue_location_token(LOCATION)
    before = len(world.letters)

    world.issue_company_token(COMPANY)

    company, *locations = told(world)[before:]
    assert company["installType"] == "Company"
    assert company["companyId"] == COMPANY
    assert "locationId" not in company
    # The one that has it already is not told of again.
    assert [letter["locationId"] for letter in locations] == [SECOND_LOCATION, THIRD_LOCATION]
    assert {letter["companyId"] for letter in locations} == {COMPANY}


def test_it_tells_what_an_agency_calls_itself(world: World) -> None:
    company = world.companies[COMPANY]
    company.whitelabel_domain, company.whitelabel_logo_url = "example.com", "https://example.com/logo.png"

    world.issue_location_token(LOCATION)

    assert newest(world)["isWhitelabelCompany"] is True
    assert newest(world)["whitelabelDetails"] == {
        "domain": "example.com",
        "logoUrl": "https://example.com/logo.png",
    }


def test_it_tells_of_a_new_location_by_letter_only(world: World) -> None:
    world.companies[COMPANY].install_to_future_locations = True
    world.issue_company_token(COMPANY)
    issued = dict(world.tokens.issued)

    named = world.add_location("Named")
    assert (newest(world)["type"], newest(world)["locationId"]) == ("INSTALL", named.id)
    assert newest(world)["companyId"] == COMPANY

    world.settings.future_installs_named = False
    nameless = world.add_location("Nameless")
    assert newest(world)["locationId"] == nameless.id
    assert set(newest(world)) == INSTALL_KEYS - {"companyId", "userId"}
    assert world.tokens.issued == issued


def test_it_tells_of_a_locations_end_without_its_company(world: World) -> None:
    world.issue_location_token(LOCATION)

    world.uninstall(LOCATION)

    assert set(newest(world)) == {"type", "appId", "versionId", "locationId", "timestamp", "webhookId"}
    assert (newest(world)["type"], newest(world)["locationId"]) == ("UNINSTALL", LOCATION)


def test_it_tells_of_a_companys_end_in_one_letter(world: World) -> None:
    world.issue_company_token(COMPANY)

    world.uninstall_company(COMPANY)

    [letter] = told(world, "UNINSTALL")
    assert set(letter) == {"type", "appId", "versionId", "companyId", "timestamp", "webhookId"}
    assert letter["companyId"] == COMPANY


def test_it_tells_nothing_of_the_end_of_what_was_not_installed(world: World) -> None:
    world.uninstall(LOCATION)
    world.uninstall_company(COMPANY)

    assert told(world) == []


def test_it_tells_of_an_update_and_the_version_before(world: World) -> None:
    world.issue_company_token(COMPANY, approved=[LOCATION])

    world.update_version(COMPANY, "v2")

    company, location = told(world, "UPDATE")
    assert {company["versionId"], location["versionId"]} == {"v2"}
    assert {letter["previousVersionId"] for letter in (company, location)} == {world.settings.version_id}
    assert (company["installType"], location["installType"]) == ("Company", "Location")
    assert location["locationId"] == LOCATION


def test_it_stamps_letters_by_the_worlds_clock(world: World) -> None:
    world.issue_location_token(LOCATION)
    world.clock.advance(-3600)
    world.uninstall(LOCATION)

    install, uninstall = (datetime.fromisoformat(letter["timestamp"]) for letter in told(world))
    assert uninstall < install
    assert abs((world.clock.now() - uninstall).total_seconds()) < 5


def test_it_tells_of_what_the_app_itself_books(world: World, ask: Asker) -> None:
    booked = ask.book()

    [letter] = told(world, "AppointmentCreate")
    appointment = letter["appointment"]
    assert set(letter) == {
        "type",
        "appId",
        "versionId",
        "locationId",
        "appointment",
        "timestamp",
        "webhookId",
    }
    assert set(appointment) == {
        *("id", "address", "title", "calendarId", "contactId", "groupId", "appointmentStatus"),
        *("assignedUserId", "users", "notes", "source", "startTime", "endTime", "dateAdded", "dateUpdated"),
    }
    assert (appointment["id"], appointment["contactId"]) == (booked["id"], CONTACT)
    assert appointment["startTime"] == "2021-06-23T03:30:00+05:30"
    assert appointment["source"] == "third_party"
    read = ask.get(f"{EVENTS}/{booked['id']}").json()["event"]
    assert datetime.fromisoformat(appointment["dateUpdated"]) == datetime.fromisoformat(read["dateUpdated"])


def test_it_tells_of_changes_and_of_the_end(world: World, ask: Asker) -> None:
    booked = ask.book()
    ask.put(f"{EVENTS}/{booked['id']}", {"appointmentStatus": "cancelled"})
    ask("DELETE", f"/calendars/events/{booked['id']}", json={})

    letters = told(world, "AppointmentCreate", "AppointmentUpdate", "AppointmentDelete")

    assert [letter["type"] for letter in letters] == [
        "AppointmentCreate",
        "AppointmentUpdate",
        "AppointmentDelete",
    ]
    assert letters[1]["appointment"]["appointmentStatus"] == "cancelled"
    assert {letter["appointment"]["id"] for letter in letters} == {booked["id"]}
    updated = [datetime.fromisoformat(letter["appointment"]["dateUpdated"]) for letter in letters]
    assert updated[0] < updated[1] < updated[2]


def test_it_tells_of_every_instance_of_a_series(world: World, ask: Asker) -> None:
    booked = ask.book(rrule="FREQ=DAILY;COUNT=3")

    created = [letter["appointment"]["id"] for letter in told(world, "AppointmentCreate")]

    assert created == [event["id"] for event in ask.events()]
    assert all(instance.startswith(booked["id"]) for instance in created)


def test_it_tells_nothing_of_a_refused_booking(world: World, ask: Asker) -> None:
    assert ask.post(EVENTS, {}).status_code == 422

    assert told(world, "AppointmentCreate") == []


def test_it_tells_an_app_nothing_of_locations_it_is_not_in(world: World, client: httpx2.Client) -> None:
    Asker(client, world.issue_private_token(LOCATION)).book()

    assert told(world) == []
