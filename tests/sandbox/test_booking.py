"""Somebody creates an appointment."""

import threading
from typing import Any

import httpx2
import pytest

from sandbox import World, create_app
from sandbox.seed import CALENDAR, CONTACT, LOCATION, SECOND_CALENDAR, SECOND_CONTACT, USER
from tests.sandbox.asking import EVENTS, Asker, checked, example

SLOT_TAKEN = "The slot you have selected is no longer available."


def test_it_books_the_example_of_the_documentation(ask: Asker) -> None:
    booked = ask.post(EVENTS, example()).json()

    assert len(booked.pop("id")) == 20
    assert booked.pop("traceId")
    assert booked == {
        "calendarId": CALENDAR,
        "locationId": LOCATION,
        "contactId": CONTACT,
        "startTime": "2021-06-23T03:30:00+05:30",
        "endTime": "2021-06-23T04:30:00+05:30",
        "title": "Test Event",
        "meetingLocationType": "custom",
        "appointmentStatus": "confirmed",
        "appoinmentStatus": "confirmed",
        "assignedUserId": USER,
        "address": "Zoom",
        "isRecurring": False,
        "statusDetails": {"status": "confirmed", "state": "active", "oldStatus": "", "translatable": False},
    }


def test_it_books_with_the_four_required_fields_alone(ask: Asker) -> None:
    body = {name: example()[name] for name in ("calendarId", "locationId", "contactId", "startTime")}

    booked = ask.post(EVENTS, body).json()

    assert booked["endTime"] == "2021-06-23T04:00:00+05:30"
    assert booked["title"] == "Ravi Iyer"
    assert booked["assignedUserId"] == USER
    assert booked["appointmentStatus"] == "confirmed"


def test_it_writes_times_in_the_zone_of_the_location(ask: Asker) -> None:
    booked = ask.book(startTime="2030-01-01T10:00:00Z", endTime="2030-01-01T11:00:00Z")

    assert booked["startTime"] == "2030-01-01T15:30:00+05:30"


def test_it_keeps_emoji_and_right_to_left_titles(ask: Asker) -> None:
    booked = ask.book(title="👩‍⚕️ موعد")

    assert booked["title"] == "👩‍⚕️ موعد"
    assert ask.events()[0]["title"] == "👩‍⚕️ موعد"


def test_it_refuses_a_slot_that_is_taken(ask: Asker) -> None:
    ask.book()

    refused = ask.post(EVENTS, checked(startTime="2021-06-23T04:00:00+05:30"))

    body = refused.json()
    assert refused.status_code == 400
    assert body.pop("traceId")
    assert body == {"message": SLOT_TAKEN, "error": "Bad Request", "statusCode": 400}


def test_it_books_the_slot_next_to_a_taken_one(ask: Asker) -> None:
    ask.book()

    next_to_it = checked(startTime="2021-06-23T04:30:00+05:30", endTime=None)

    assert ask.post(EVENTS, next_to_it).status_code == 200


def test_it_books_a_taken_slot_when_told_not_to_look(ask: Asker) -> None:
    ask.book()
    ask.book(ignoreFreeSlotValidation=True)

    assert len(ask.events()) == 2


def test_it_books_as_many_as_the_calendar_has_seats(world: World, ask: Asker) -> None:
    world.calendars[CALENDAR].seats = 2

    statuses = [ask.post(EVENTS, checked()).status_code for _ in range(3)]

    assert statuses == [200, 200, 400]


@pytest.mark.parametrize("status", ["cancelled", "invalid"])
def test_it_gives_the_slot_of_an_inactive_appointment_away(ask: Asker, status: str) -> None:
    ask.book(appointmentStatus=status)

    assert ask.post(EVENTS, checked()).status_code == 200


def test_it_lets_one_of_many_simultaneous_calls_win(world: World, ask: Asker) -> None:
    transport = httpx2.WSGITransport(app=create_app(world))
    start = threading.Barrier(8)
    statuses = []

    def book() -> None:
        with httpx2.Client(transport=transport, base_url="http://sandbox") as client:
            start.wait()
            statuses.append(Asker(client, ask.access_token).post(EVENTS, checked()).status_code)

    threads = [threading.Thread(target=book) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200] + [400] * 7


@pytest.mark.parametrize(
    ("changes", "complaints"),
    [
        ({"foo": 1}, ["property foo should not exist"]),
        ({"title": 5}, ["title must be a string"]),
        ({"toNotify": "false"}, ["toNotify must be a boolean value"]),
        ({"appointmentStatus": "completed"}, ["appointmentStatus must be a valid enum value"]),
        ({"meetingLocationType": "teams"}, ["meetingLocationType must be a valid enum value"]),
        ({"contactId": None}, ["contactId should not be empty", "contactId must be a string"]),
        ({"calendarId": ""}, ["calendarId should not be empty"]),
        ({"startTime": "tomorrow"}, ["startTime must be a valid ISO 8601 date string"]),
        ({"startTime": "2021-06-23T03:30:00"}, ["startTime must be a valid ISO 8601 date string"]),
        ({"foo": 1, "title": 5}, ["property foo should not exist", "title must be a string"]),
        ({"rrule": "string"}, ["rrule must be a valid RRULE string"]),
    ],
)
def test_it_lists_what_is_wrong_with_the_body(
    ask: Asker, changes: dict[str, Any], complaints: list[str]
) -> None:
    refused = ask.post(EVENTS, example(**changes))

    assert refused.status_code == 422
    assert refused.json() == {"statusCode": 422, "message": complaints, "error": "Unprocessable Entity"}


@pytest.mark.parametrize(
    "changes",
    [
        {"startTime": "2021-06-23T03:30:00.000+05:30"},
        {"endTime": "2021-06-23T04:30:00.5+05:30"},
        {"endTime": "2021-06-22T23:00:00Z"},
        {"endTime": "2021-06-23T03:30:00+05:30"},
    ],
    ids=["zero fraction", "fraction", "Z with an offset", "no length"],
)
def test_it_answers_a_bare_400_to_badly_written_times(ask: Asker, changes: dict[str, Any]) -> None:
    refused = ask.post(EVENTS, example(**changes))

    assert refused.status_code == 400
    assert refused.json() == {"statusCode": 400, "message": "Bad Request"}


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"contactId": "nobody"}, 400, "Contact with id nobody not found"),
        ({"contactId": SECOND_CONTACT}, 400, f"Contact with id {SECOND_CONTACT} not found"),
        ({"calendarId": "nothing"}, 404, "Calendar not found"),
        ({"calendarId": SECOND_CALENDAR}, 404, "Calendar not found"),
        ({"assignedUserId": "stranger"}, 422, "The user id not part of calendar team."),
        (
            {"assignedUserId": None},
            422,
            "A team member needs to be selected. assignedUserId is missing",
        ),
    ],
)
def test_it_refuses_what_does_not_fit_its_location(
    ask: Asker, changes: dict[str, Any], status: int, message: str
) -> None:
    refused = ask.post(EVENTS, example(**changes))

    assert (refused.status_code, refused.json()["message"]) == (status, message)
    assert ask.events() == []


def test_it_refuses_an_inactive_calendar(world: World, ask: Asker) -> None:
    world.calendars[CALENDAR].active = False

    refused = ask.post(EVENTS, example())

    assert (refused.status_code, refused.json()["message"]) == (400, "Calendar is inactive")


def test_it_asks_for_nobody_where_the_calendar_has_no_team(world: World, ask: Asker) -> None:
    calendar = world.add_calendar(LOCATION, team=())

    booked = ask.book(calendarId=calendar.id, assignedUserId=None)

    assert booked["assignedUserId"] == ""


def test_it_makes_an_instance_of_every_recurrence(ask: Asker) -> None:
    booked = ask.book(rrule="RRULE:FREQ=WEEKLY;INTERVAL=1;COUNT=3")

    events = ask.events()
    assert booked["isRecurring"] is True
    assert [event["startTime"][:10] for event in events] == ["2021-06-23", "2021-06-30", "2021-07-07"]
    assert {event["masterEventId"] for event in events} == {booked["id"]}
    assert events[0]["id"] == f"{booked['id']}_1624399200000_3600"


@pytest.mark.parametrize(
    ("rrule", "count"),
    [("FREQ=DAILY", 60), ("FREQ=WEEKLY", 53), ("FREQ=YEARLY", 2), ("FREQ=DAILY;COUNT=7", 7)],
)
def test_it_bounds_an_endless_recurrence(ask: Asker, rrule: str, count: int) -> None:
    ask.book(rrule=rrule)

    assert len(ask.events()) == count


def test_it_leaves_an_rrule_aside_when_slots_are_checked(ask: Asker) -> None:
    booked = ask.post(EVENTS, checked(rrule="FREQ=DAILY;COUNT=3")).json()

    assert booked["isRecurring"] is False
    assert len(ask.events()) == 1


def test_it_keeps_a_weekly_hour_through_daylight_saving(world: World, client: httpx2.Client) -> None:
    location = world.add_location(timezone="America/Chicago")
    calendar = world.add_calendar(location.id)
    contact = world.add_contact(location.id, firstName="Ida")
    ask = Asker(client, world.issue_location_token(location.id)["access_token"])
    named = {"locationId": location.id, "calendarId": calendar.id}

    ask.book(
        **named,
        contactId=contact.id,
        assignedUserId=calendar.team[0],
        startTime="2030-03-04T09:00:00-06:00",
        endTime="2030-03-04T09:30:00-06:00",
        rrule="FREQ=WEEKLY;COUNT=2",
    )

    starts = [event["startTime"] for event in ask.events(**named)]
    assert starts == ["2030-03-04T09:00:00-06:00", "2030-03-11T09:00:00-05:00"]


def test_it_refuses_a_body_that_is_no_json_object(ask: Asker) -> None:
    assert ask("POST", EVENTS, content="nonsense").status_code == 400
    assert ask.post(EVENTS, ["a list"]).status_code == 400
