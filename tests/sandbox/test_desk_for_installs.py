"""Another process ends and begins installs, works as staff, and holds the post, by the control desk."""

import json
from typing import Any

import httpx2
import pytest

from sandbox import PUBLIC_KEY_PEM, World, sign
from sandbox.seed import CALENDAR, COMPANY, CONTACT, LOCATION, SECOND_LOCATION
from tests.sandbox.asking import EVENTS, Asker, refresh
from tests.sandbox.mailbox import open_mailbox
from tests.sandbox.test_control import post, state


def listed(client: httpx2.Client, **params: str) -> list[dict[str, Any]]:
    letters: list[dict[str, Any]] = client.get("/_sandbox/letters", params=params).json()["letters"]
    return letters


def test_it_installs_again_directly(world: World, client: httpx2.Client, ask: Asker) -> None:
    post(client, f"locations/{LOCATION}", {"uninstall": True})

    again = post(client, f"locations/{LOCATION}", {"reinstall": True})

    assert (again["installed"], again["installed_by"]) == (True, "Location")
    assert ask.get(f"/locations/{LOCATION}").status_code == 403
    assert Asker(client, again["token"]["access_token"]).get(f"/locations/{LOCATION}").status_code == 200


def test_it_installs_and_ends_a_company(world: World, client: httpx2.Client) -> None:
    made = post(client, f"companies/{COMPANY}", {"install": {"approved": [LOCATION]}})

    assert made["token"]["approvedLocations"] == [LOCATION]
    assert made["installed"] is True
    assert not world.locations[SECOND_LOCATION].installed

    assert post(client, f"companies/{COMPANY}", {"uninstall": True})["installed"] is False
    assert not world.locations[LOCATION].installed


def test_it_dresses_a_company(world: World, client: httpx2.Client) -> None:
    body = {"whitelabel": {"domain": "example.com", "logo_url": "https://example.com/logo.png"}}
    post(client, f"companies/{COMPANY}", body)

    post(client, f"locations/{LOCATION}", {"reinstall": True})

    told = json.loads(listed(client)[0]["body"])
    assert told["whitelabelDetails"] == {"domain": "example.com", "logoUrl": "https://example.com/logo.png"}


def test_it_updates(world: World, client: httpx2.Client) -> None:
    post(client, f"companies/{COMPANY}", {"install": True})

    post(client, f"companies/{COMPANY}", {"update": {"version_id": "v2"}})
    update = {"version_id": "v3", "scopes": ["calendars.readonly"]}
    changed = post(client, f"locations/{LOCATION}", {"update": update})

    assert (changed["version_id"], changed["scopes"]) == ("v3", ["calendars.readonly"])
    assert world.locations[SECOND_LOCATION].version_id == "v2"


def test_it_revokes_a_companys_tokens(world: World, client: httpx2.Client) -> None:
    token = world.issue_company_token(COMPANY)

    post(client, f"companies/{COMPANY}", {"revoke_refresh": True})

    assert refresh(client, world, token["refresh_token"]).status_code == 400


def test_it_makes_and_revokes_private_tokens(client: httpx2.Client) -> None:
    made = post(client, f"locations/{LOCATION}", {"issue_private_token": {"scopes": ["locations.readonly"]}})
    ask = Asker(client, made["private_token"])
    assert ask.get(f"/locations/{LOCATION}").status_code == 200

    post(client, f"locations/{LOCATION}", {"revoke_private_tokens": True})

    assert ask.get(f"/locations/{LOCATION}").status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {"unistall": True},
        {"update": True},
        {"update": {"scopes": []}},
        {"reinstall": {"scopes": "all"}},
        {"uninstall": "yes"},
        {"active": 1},
    ],
)
def test_it_refuses_levers_it_does_not_have(world: World, client: httpx2.Client, body: Any) -> None:
    assert client.post(f"/_sandbox/locations/{LOCATION}", json=body).status_code == 400
    assert len(world.letters) == 0


def test_staff_book_change_and_delete(client: httpx2.Client, ask: Asker) -> None:
    body = {"calendar_id": CALENDAR, "contact_id": CONTACT, "start_time": "2030-01-15T12:00:00Z"}
    booked = post(client, "appointments", body)
    path = f"appointments/{booked['id']}"

    post(client, path, {"start_time": "2030-01-16T12:00:00Z", "status": "noshow", "title": "Moved"})
    event = ask.get(f"{EVENTS}/{booked['id']}").json()["event"]
    assert event["startTime"] == "2030-01-16T17:30:00+05:30"
    assert (event["appointmentStatus"], event["title"]) == ("noshow", "Moved")

    assert post(client, path, {"delete": True}) == {"deleted": True}
    assert ask.get(f"{EVENTS}/{booked['id']}").status_code == 400
    assert [letter["type"] for letter in listed(client)[1:]] == [
        "AppointmentCreate",
        "AppointmentUpdate",
        "AppointmentDelete",
    ]


@pytest.mark.parametrize(
    "body", [{"start_time": "noon"}, {"colour": "red"}, {"calendar_id": "strange"}, {"start_time": 7}]
)
def test_staff_make_no_sense(world: World, client: httpx2.Client, ask: Asker, body: Any) -> None:
    booked = ask.book()

    answer = client.post(f"/_sandbox/appointments/{booked['id']}", json=body)

    assert answer.status_code in (400, 404)
    assert [letter.type for letter in world.letters] == ["INSTALL", "AppointmentCreate"]
    assert client.post("/_sandbox/appointments/strange", json={"title": "?"}).status_code == 400


def test_it_lists_letters_as_they_were_signed(client: httpx2.Client, ask: Asker) -> None:
    ask.book()

    install, created = listed(client)

    assert sign(created["body"].encode()) == created["headers"]
    assert listed(client, type="INSTALL", state="held") == [install]
    assert listed(client, state="delivered") == []
    assert client.get("/_sandbox/letters").json()["public_key"] == PUBLIC_KEY_PEM
    assert state(client)["letters"] == {"held": 2}


def test_it_holds_drops_and_releases_letters(world: World, client: httpx2.Client, ask: Asker) -> None:
    with open_mailbox() as mailbox:
        post(client, "settings", {"webhook_url": mailbox.url, "letters_held": True})
        for _ in range(3):
            ask.book()
        first, second, third = (letter["webhook_id"] for letter in listed(client, type="AppointmentCreate"))

        assert post(client, "letters", {"drop": second})["letters"][0]["state"] == "dropped"
        post(client, "letters", {"release": [third, first]})
        assert world.letters.settled(10)
        post(client, "letters", {"send_again": third})
        assert world.letters.settled(10)

        assert [received.webhook_id for received in mailbox.received] == [third, first, third]
        world.letters.close()


def test_it_sends_what_it_is_told_to(world: World, client: httpx2.Client) -> None:
    with open_mailbox() as mailbox:
        post(client, "settings", {"webhook_url": mailbox.url})
        post(client, "letters", {"body": {"type": "PLAN_CHANGE", "é": "ü"}})

        [received] = mailbox.wait_for(1)

        assert received.content == {"type": "PLAN_CHANGE", "é": "ü"}
        assert received.headers["x-ghl-signature"] == sign(received.body)["X-GHL-Signature"]
        world.letters.close()


@pytest.mark.parametrize("body", [{"drop": "strange"}, {"release": ["strange"]}, {}])
def test_it_knows_no_strange_letters(client: httpx2.Client, body: Any) -> None:
    assert client.post("/_sandbox/letters", json=body).status_code == 400
