"""Another process looks into the sandbox and pulls its levers."""

from typing import Any

import httpx2
import pytest

from sandbox import World
from sandbox.seed import CALENDAR, COMPANY, LOCATION
from tests.sandbox.asking import EVENTS, Asker, checked, example, refresh


def post(client: httpx2.Client, path: str, body: Any) -> Any:
    answer = client.post(f"/_sandbox/{path}", json=body)
    assert answer.status_code < 300, answer.text
    return answer.json()


def state(client: httpx2.Client) -> Any:
    return client.get("/_sandbox/state").json()


def test_it_counts_calls_by_operation_and_outcome(client: httpx2.Client, ask: Asker) -> None:
    ask.post(EVENTS, checked())
    ask.post(EVENTS, checked())
    ask.get(f"/locations/{LOCATION}")

    assert state(client)["calls"] == {
        "create_appointment": {"200": 1, "400": 1},
        "get_location": {"200": 1},
    }


def test_it_counts_appointments_and_tokens(client: httpx2.Client, ask: Asker) -> None:
    ask.book()
    ask.book(appointmentStatus="cancelled")

    assert state(client)["appointments"] == {"total": 2, "by_status": {"confirmed": 1, "cancelled": 1}}
    assert state(client)["tokens_issued"] == {"direct": 1}


def test_it_keeps_the_clients_secret(world: World, client: httpx2.Client) -> None:
    refresh(client, world, world.issue_location_token(LOCATION)["refresh_token"])

    log = client.get("/_sandbox/calls").text
    assert world.settings.client_secret not in client.get("/_sandbox/state").text + log
    assert '"grant_type":"refresh_token"' in log
    assert "eyJ" not in log


def test_it_lists_appointments(client: httpx2.Client, ask: Asker) -> None:
    ids = [ask.book()["id"], ask.book()["id"]]

    def listed(**params: str) -> list[str]:
        found = client.get("/_sandbox/appointments", params=params).json()["appointments"]
        return [appointment["id"] for appointment in found]

    assert listed() == listed(location_id=LOCATION) == listed(calendar_id=CALENDAR) == ids
    assert listed(contact_id="nobody") == []


def test_it_lists_calls(client: httpx2.Client, ask: Asker) -> None:
    ask.book()
    ask.get(f"/locations/{LOCATION}")
    ask.get("/contacts/strange")

    def operations(**params: str) -> list[str]:
        calls = client.get("/_sandbox/calls", params=params).json()["calls"]
        return [call["operation"] for call in calls]

    assert operations() == ["create_appointment", "get_location", "get_contact"]
    assert operations(limit="2") == ["get_location", "get_contact"]
    assert operations(operation="get_contact", location_id=LOCATION) == ["get_contact"]


def test_it_takes_orders_for_faults(client: httpx2.Client, ask: Asker) -> None:
    post(client, "faults", {"kind": "error_500_before", "operation": "create_appointment"})
    post(client, "faults", [{"kind": "too_many_requests", "times": None, "retry_after": 3}])

    answers = [ask.post(EVENTS, example()) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [500, 429]
    assert answers[1].headers["Retry-After"] == "3"
    assert [fault["kind"] for fault in state(client)["faults"]] == ["too_many_requests"]


def test_it_forgets_faults(client: httpx2.Client, ask: Asker) -> None:
    post(client, "faults", {"kind": "error_500_before", "times": None})
    client.delete("/_sandbox/faults")

    assert ask.post(EVENTS, example()).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "explode"},
        {"kind": "cut_after", "often": 3},
        {},
        "cut_after",
        {"kind": "cut_after", "times": "3"},
    ],
)
def test_it_refuses_orders_it_does_not_understand(client: httpx2.Client, body: Any) -> None:
    assert client.post("/_sandbox/faults", json=body).status_code == 400
    assert state(client)["faults"] == []


def test_it_changes_settings(world: World, client: httpx2.Client, ask: Asker) -> None:
    changed = post(client, "settings", {"rate_limit_burst": 1, "latency_seconds": 0.001})

    assert changed["settings"]["rate_limit_burst"] == 1
    assert [ask.get(f"/locations/{LOCATION}").status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(
    "body",
    [{"speed": 1}, {"rate_limit_burst": "many"}, {"rate_limit_burst": True}, {"rate_limit_daily": 2, "x": 1}],
)
def test_it_refuses_settings_it_does_not_know(world: World, client: httpx2.Client, body: Any) -> None:
    assert client.post("/_sandbox/settings", json=body).status_code == 400
    assert (world.settings.rate_limit_burst, world.settings.rate_limit_daily) == (100, 200_000)


def test_it_sets_the_clock_forward(client: httpx2.Client, ask: Asker) -> None:
    post(client, "clock", {"advance_seconds": 86_400})

    assert ask.post(EVENTS, example()).json()["message"] == "Invalid JWT"


def test_it_adds_many_locations_ready_to_book(client: httpx2.Client) -> None:
    made = post(client, "locations", {"count": 20, "timezone": "Europe/Paris", "tokens": True, "seats": 2})

    last = made["locations"][-1]
    ask = Asker(client, last["token"]["access_token"])
    body = {"locationId": last["id"], "calendarId": last["calendar_id"], "contactId": last["contact_id"]}
    statuses = [ask.post(EVENTS, {**body, "startTime": "2030-01-01T10:00:00Z"}).status_code for _ in range(3)]
    assert len(made["locations"]) == 20
    assert statuses == [200, 200, 400]


def test_it_suspends_a_location(world: World, client: httpx2.Client) -> None:
    token = world.issue_location_token(LOCATION)["refresh_token"]

    post(client, f"locations/{LOCATION}", {"active": False})
    suspended = refresh(client, world, token)
    post(client, f"locations/{LOCATION}", {"active": True})

    assert suspended.json()["message"] == "Location is not active"
    assert refresh(client, world, token).status_code == 200


def test_it_revokes_a_locations_tokens(world: World, client: httpx2.Client) -> None:
    token = world.issue_location_token(LOCATION)
    ask = Asker(client, token["access_token"])

    post(client, f"locations/{LOCATION}", {"revoke_tokens": True})
    assert ask.get(f"/locations/{LOCATION}").status_code == 401
    renewed = refresh(client, world, token["refresh_token"])
    assert renewed.status_code == 200

    post(client, f"locations/{LOCATION}", {"revoke_refresh": True})
    assert refresh(client, world, renewed.json()["refresh_token"]).status_code == 400


def test_it_uninstalls_a_location(client: httpx2.Client, ask: Asker) -> None:
    assert post(client, f"locations/{LOCATION}", {"uninstall": True})["installed"] is False
    assert ask.post(EVENTS, example()).status_code == 403


def test_it_changes_calendars_and_companies(world: World, client: httpx2.Client) -> None:
    post(client, f"calendars/{CALENDAR}", {"seats": 5, "active": False})
    post(client, f"companies/{COMPANY}", {"install_to_future_locations": True})

    assert (world.calendars[CALENDAR].seats, world.calendars[CALENDAR].active) == (5, False)
    assert world.companies[COMPANY].install_to_future_locations is True


@pytest.mark.parametrize("body", [{"colour": "red"}, {"seats": "five"}])
def test_it_refuses_to_change_what_it_does_not_know(client: httpx2.Client, body: Any) -> None:
    assert client.post(f"/_sandbox/calendars/{CALENDAR}", json=body).status_code == 400


@pytest.mark.parametrize("kind", ["locations", "calendars", "companies"])
def test_it_does_not_know_strange_ids(client: httpx2.Client, kind: str) -> None:
    assert client.post(f"/_sandbox/{kind}/strange", json={}).status_code == 404


def test_it_issues_tokens_without_a_browser(client: httpx2.Client) -> None:
    assert post(client, "tokens", {"location_id": LOCATION})["userType"] == "Location"
    assert post(client, "tokens", {"company_id": COMPANY})["userType"] == "Company"


def test_it_goes_back_to_the_beginning(world: World, client: httpx2.Client, ask: Asker) -> None:
    ask.book()
    world.add_location()
    post(client, "settings", {"rate_limit_burst": 1})

    after = post(client, "reset", {})

    assert (after["appointments"]["total"], after["locations"], after["calls"]) == (0, 3, {})
    assert after["settings"]["rate_limit_burst"] == 100
    assert ask.post(EVENTS, example()).status_code == 401
