"""Somebody works in HighLevel's own calendar: books, moves, marks and deletes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox import World
from sandbox.seed import CALENDAR, CONTACT, LOCATION
from tests.sandbox.asking import EVENTS, Asker

NOON = datetime(2030, 1, 15, 12, tzinfo=UTC)


def last_told(world: World) -> tuple[str, dict[str, Any]]:
    letter = list(world.letters)[-1]
    return letter.type, letter.content["appointment"]


def read(ask: Asker, event_id: str) -> dict[str, Any]:
    event: dict[str, Any] = ask.get(f"{EVENTS}/{event_id}").json()["event"]
    return event


def test_it_books(world: World, ask: Asker) -> None:
    entry = world.staff_book(CALENDAR, CONTACT, NOON, "Walk-in")

    kind, told = last_told(world)
    assert (kind, told["id"], told["source"]) == ("AppointmentCreate", entry.id, "calendar_page")
    assert read(ask, entry.id)["title"] == "Walk-in"
    assert read(ask, entry.id)["createdBy"]["source"] == "calendar_page"
    assert entry.ends_at - entry.starts_at == timedelta(minutes=30)


def test_it_moves_and_keeps_length_and_status(world: World, ask: Asker) -> None:
    booked = ask.book(appointmentStatus="new")
    before = read(ask, booked["id"])

    world.staff_change(booked["id"], start_time=NOON)

    after = read(ask, booked["id"])
    kind, told = last_told(world)
    assert (kind, told["id"], told["source"]) == ("AppointmentUpdate", booked["id"], "calendar_page")
    assert told["startTime"] == after["startTime"] == "2030-01-15T17:30:00+05:30"
    assert told["endTime"] == after["endTime"] == "2030-01-15T18:30:00+05:30"
    assert after["appointmentStatus"] == "new"
    assert after["dateUpdated"] > before["dateUpdated"]


@pytest.mark.parametrize("status", ["cancelled", "showed", "noshow", "confirmed"])
def test_it_sets_a_status(world: World, ask: Asker, status: str) -> None:
    booked = ask.book(appointmentStatus="new")

    world.staff_change(booked["id"], status=status)

    assert read(ask, booked["id"])["appointmentStatus"] == status
    assert last_told(world)[1]["appointmentStatus"] == status


def test_it_moves_to_another_calendar(world: World, ask: Asker) -> None:
    other = world.add_calendar(LOCATION, "Other")
    booked = ask.book()

    world.staff_change(booked["id"], calendar_id=other.id, title="Elsewhere")

    assert [event["title"] for event in ask.events(calendarId=other.id)] == ["Elsewhere"]
    assert ask.events() == []


def test_it_moves_dateupdated_on_with_every_act(world: World, ask: Asker) -> None:
    booked = ask.book()
    seen = [read(ask, booked["id"])["dateUpdated"]]

    for number in range(5):
        world.staff_change(booked["id"], title=f"{number}")
        seen.append(read(ask, booked["id"])["dateUpdated"])

    assert seen == sorted(set(seen))


def test_it_deletes(world: World, ask: Asker) -> None:
    booked = ask.book()

    world.staff_delete(booked["id"])

    kind, told = last_told(world)
    assert (kind, told["id"], told["source"]) == ("AppointmentDelete", booked["id"], "calendar_page")
    assert ask.get(f"{EVENTS}/{booked['id']}").status_code == 400


def test_it_moves_a_series_as_a_whole(world: World, ask: Asker) -> None:
    booked = ask.book(rrule="FREQ=DAILY;COUNT=3")

    world.staff_change(booked["id"], start_time=NOON)

    starts = [event["startTime"] for event in ask.events()]
    assert starts == [f"2030-01-{day}T17:30:00+05:30" for day in (15, 16, 17)]


def test_it_changes_one_instance_alone(world: World, ask: Asker) -> None:
    ask.book(rrule="FREQ=DAILY;COUNT=3")
    second = ask.events()[1]["id"]

    world.staff_change(second, status="cancelled")

    assert [event["appointmentStatus"] for event in ask.events()] == ["confirmed", "cancelled", "confirmed"]


def test_it_does_not_know_a_strange_appointment(world: World) -> None:
    with pytest.raises(KeyError):
        world.staff_change("strange", title="?")
