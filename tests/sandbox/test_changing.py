"""Somebody reads, changes or deletes an appointment that is there."""

from typing import Any

import pytest

from sandbox import World
from sandbox.seed import SECOND_LOCATION
from tests.sandbox.asking import EVENTS, Asker, checked

UNKNOWN_EVENT = {"message": "The event id is invalid."}


def test_it_shows_one_appointment_as_an_event(ask: Asker) -> None:
    booked = ask.book()

    event = ask.get(f"{EVENTS}/{booked['id']}").json()["event"]

    assert {name: event[name] for name in ("id", "startTime", "title", "appointmentStatus")} == {
        name: booked[name] for name in ("id", "startTime", "title", "appointmentStatus")
    }
    assert event["users"] == [event["assignedUserId"]]
    assert event["dateAdded"].endswith("Z")


def test_it_moves_an_appointment_and_keeps_its_length(ask: Asker) -> None:
    booked = ask.book()

    moved = ask.put(f"{EVENTS}/{booked['id']}", {"startTime": "2021-06-23T10:00:00+05:30"}).json()

    assert moved["endTime"] == "2021-06-23T11:00:00+05:30"
    assert moved["title"] == "Test Event"
    assert [event["startTime"] for event in ask.events()] == ["2021-06-23T10:00:00+05:30"]


def test_it_sets_the_status_back_when_it_is_left_out(ask: Asker) -> None:
    booked = ask.book(appointmentStatus="new")

    changed = ask.put(f"{EVENTS}/{booked['id']}", {"title": "Other"}).json()

    assert changed["appointmentStatus"] == "confirmed"
    assert changed["statusDetails"]["oldStatus"] == "new"


def test_it_frees_the_slot_of_a_cancelled_appointment(ask: Asker) -> None:
    booked = ask.book()

    ask.put(f"{EVENTS}/{booked['id']}", {"appointmentStatus": "cancelled"})

    assert ask.post(EVENTS, checked()).status_code == 200


def test_it_does_not_move_onto_a_taken_slot(ask: Asker) -> None:
    ask.book()
    other = ask.book(startTime="2021-06-24T03:30:00+05:30", endTime="2021-06-24T04:30:00+05:30")

    refused = ask.put(f"{EVENTS}/{other['id']}", {"startTime": "2021-06-23T03:30:00+05:30"})

    assert refused.status_code == 400
    assert ask.get(f"{EVENTS}/{other['id']}").json()["event"]["startTime"] == other["startTime"]


def test_it_moves_within_its_own_slot(ask: Asker) -> None:
    booked = ask.book()

    moved = ask.put(f"{EVENTS}/{booked['id']}", {"startTime": "2021-06-23T03:45:00+05:30"})

    assert moved.status_code == 200


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"contactId": "x"}, "property contactId should not exist"),
        ({"locationId": "C2QujeCh8ZnC7al2InWR"}, "property locationId should not exist"),
        ({"endTime": 5}, "endTime must be a valid ISO 8601 date string"),
    ],
)
def test_it_takes_only_the_fields_of_an_update(ask: Asker, body: dict[str, Any], complaint: str) -> None:
    booked = ask.book()

    refused = ask.put(f"{EVENTS}/{booked['id']}", body)

    assert (refused.status_code, refused.json()["message"]) == (422, [complaint])


def test_it_changes_all_instances_by_the_id_of_the_series(ask: Asker) -> None:
    booked = ask.book(rrule="FREQ=DAILY;COUNT=3")

    ask.put(f"{EVENTS}/{booked['id']}", {"appointmentStatus": "cancelled"})

    assert [event["appointmentStatus"] for event in ask.events()] == ["cancelled"] * 3


def test_it_changes_one_instance_by_its_own_id(ask: Asker) -> None:
    ask.book(rrule="FREQ=DAILY;COUNT=3")
    second = ask.events()[1]

    ask.put(f"{EVENTS}/{second['id']}", {"appointmentStatus": "cancelled"})

    assert [event["appointmentStatus"] for event in ask.events()] == ["confirmed", "cancelled", "confirmed"]


def test_it_deletes_an_appointment(ask: Asker) -> None:
    booked = ask.book()

    answer = ask("DELETE", f"/calendars/events/{booked['id']}", json={})

    assert (answer.status_code, answer.json()) == (201, {"succeeded": True})
    assert ask.events() == []


def test_it_wants_a_json_body_to_delete(ask: Asker) -> None:
    booked = ask.book()

    assert ask("DELETE", f"/calendars/events/{booked['id']}").status_code == 400
    assert len(ask.events()) == 1


def test_it_knows_no_delete_under_appointments(ask: Asker) -> None:
    booked = ask.book()

    refused = ask("DELETE", f"{EVENTS}/{booked['id']}", json={})

    assert refused.status_code == 401
    assert refused.json()["message"].startswith("This route is not yet supported by the IAM Service")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", EVENTS), ("PUT", EVENTS), ("DELETE", "/calendars/events")]
)
def test_it_does_not_know_a_strange_id(ask: Asker, method: str, path: str) -> None:
    refused = ask(method, f"{path}/strange", json={})

    assert (refused.status_code, refused.json()) == (400, UNKNOWN_EVENT)


def test_it_keeps_appointments_from_other_locations_tokens(world: World, ask: Asker) -> None:
    booked = ask.book()
    stranger = Asker(ask.client, world.issue_location_token(SECOND_LOCATION)["access_token"])

    assert stranger.get(f"{EVENTS}/{booked['id']}").status_code == 403
    assert stranger.put(f"{EVENTS}/{booked['id']}", {}).status_code == 403
