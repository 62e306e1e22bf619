"""Somebody looks for appointments, free slots, calendars, locations."""

from datetime import UTC, datetime, timedelta

import pytest

from sandbox import World
from sandbox.seed import CALENDAR, COMPANY, CONTACT, LOCATION, SECOND_CALENDAR, SECOND_LOCATION, USER
from tests.sandbox.asking import EVENTS, Asker

DAY = {"startTime": "1624386600000", "endTime": "1624473000000"}  # 2021-06-23 in Kolkata


def free_slots(ask: Asker, **changes: str) -> dict[str, list[str]]:
    asked = {"startDate": DAY["startTime"], "endDate": DAY["endTime"], **changes}
    answer = ask.get(f"/calendars/{CALENDAR}/free-slots", **asked)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert isinstance(body.pop("traceId"), str)
    return {date: day["slots"] for date, day in body.items()}


def test_it_finds_events_in_the_time_asked_for(ask: Asker) -> None:
    booked = ask.book()
    ask.book(startTime="2021-06-25T03:30:00+05:30", endTime="2021-06-25T04:30:00+05:30")

    found = ask.events(**DAY)

    assert [event["id"] for event in found] == [booked["id"]]


def test_it_finds_cancelled_events_too(ask: Asker) -> None:
    ask.book(appointmentStatus="cancelled")

    assert [event["appointmentStatus"] for event in ask.events()] == ["cancelled"]


def test_it_finds_events_by_user_and_by_group(world: World, ask: Asker) -> None:
    booked = ask.book()
    group = world.calendars[CALENDAR].group_id

    def found(**by: str) -> list[str]:
        asked = {"locationId": LOCATION, **DAY, **by}
        return [event["id"] for event in ask.get("/calendars/events", **asked).json()["events"]]

    assert found(userId=USER) == [booked["id"]]
    assert found(userId="stranger") == []
    assert found(groupId=group) == [booked["id"]]
    assert found(groupId="strange") == []


def test_it_wants_a_user_calendar_or_group_for_events(ask: Asker) -> None:
    refused = ask.get("/calendars/events", locationId=LOCATION, **DAY)

    assert refused.status_code == 422
    assert isinstance(refused.json()["message"], list)


def test_it_wants_epoch_milliseconds_for_events(ask: Asker) -> None:
    span = {"startTime": "2021-06-23", "endTime": DAY["endTime"]}

    refused = ask.get("/calendars/events", locationId=LOCATION, calendarId=CALENDAR, **span)

    assert (refused.status_code, refused.json()["message"]) == (422, ["startTime must be a number string"])


def test_it_shows_a_contacts_appointments_in_local_time_without_an_offset(ask: Asker) -> None:
    booked = ask.book(startTime="2021-07-16T05:30:00Z", endTime="2021-07-16T06:00:00Z")

    (event,) = ask.get(f"/contacts/{CONTACT}/appointments").json()["events"]

    assert event["id"] == booked["id"]
    assert (event["startTime"], event["endTime"]) == ("2021-07-16 11:00:00", "2021-07-16 11:30:00")


def test_it_shows_new_appointments_late_where_lists_lag(world: World, ask: Asker) -> None:
    world.settings.list_lag_seconds = 10
    booked = ask.book()

    assert ask.events() == []
    assert ask.get(f"/contacts/{CONTACT}/appointments").json() == {"events": []}
    assert ask.get(f"{EVENTS}/{booked['id']}").status_code == 200

    world.clock.advance(11)

    assert [event["id"] for event in ask.events()] == [booked["id"]]
    assert len(ask.get(f"/contacts/{CONTACT}/appointments").json()["events"]) == 1


def test_it_shows_the_old_time_of_a_moved_appointment_where_lists_lag(world: World, ask: Asker) -> None:
    booked = ask.book()
    world.settings.list_lag_seconds = 10
    world.clock.advance(11)
    ask.put(f"{EVENTS}/{booked['id']}", {"startTime": "2021-08-01T10:00:00+05:30"})

    assert [event["startTime"] for event in ask.events()] == [booked["startTime"]]

    world.clock.advance(11)

    assert [event["startTime"] for event in ask.events()] == ["2021-08-01T10:00:00+05:30"]


def test_it_offers_the_free_slots_of_a_day(ask: Asker) -> None:
    slots = free_slots(ask)["2021-06-23"]

    assert slots[0] == "2021-06-23T09:00:00+05:30"
    assert slots[-1] == "2021-06-23T16:30:00+05:30"
    assert len(slots) == 16


def test_it_offers_no_slot_that_is_booked(ask: Asker) -> None:
    ask.book(startTime="2021-06-23T10:00:00+05:30", endTime="2021-06-23T10:30:00+05:30")

    slots = free_slots(ask)["2021-06-23"]

    assert "2021-06-23T10:00:00+05:30" not in slots
    assert len(slots) == 15


def test_it_writes_free_slots_in_the_zone_asked_for(ask: Asker) -> None:
    slots = free_slots(ask, timezone="America/Chicago")

    assert slots["2021-06-22"][0] == "2021-06-22T22:30:00-05:00"


def test_it_books_a_slot_it_offered_as_it_wrote_it(ask: Asker) -> None:
    offered = free_slots(ask, timezone="UTC")["2021-06-23"][3]

    ask.book(startTime=offered, endTime=None, ignoreFreeSlotValidation=False)

    assert offered not in free_slots(ask, timezone="UTC")["2021-06-23"]


def test_it_offers_slots_of_a_month_at_most(ask: Asker) -> None:
    first = datetime(2030, 1, 1, tzinfo=UTC)

    def status(days: int) -> int:
        last = first + timedelta(days=days)
        span = {"startDate": int(first.timestamp() * 1000), "endDate": int(last.timestamp() * 1000)}
        return ask.get(f"/calendars/{CALENDAR}/free-slots", **span).status_code

    assert status(31) == 200
    assert status(32) == 400


def test_it_lists_the_calendars_of_a_location(world: World, ask: Asker) -> None:
    world.calendars[CALENDAR].seats = 3

    (calendar,) = ask.get("/calendars/", locationId=LOCATION).json()["calendars"]

    assert calendar["id"] == CALENDAR
    assert calendar["teamMembers"][0]["userId"] == USER
    assert calendar["locationConfigurations"][0]["meetingId"] == "custom_0"
    assert (calendar["slotDuration"], calendar["appoinmentPerSlot"]) == (30, 3)


def test_it_shows_one_calendar(ask: Asker) -> None:
    assert ask.get(f"/calendars/{CALENDAR}").json()["calendar"]["name"] == "Discovery call"


@pytest.mark.parametrize(("calendar_id", "status"), [("strange", 404), (SECOND_CALENDAR, 403)])
def test_it_shows_no_strange_calendar(ask: Asker, calendar_id: str, status: int) -> None:
    assert ask.get(f"/calendars/{calendar_id}").status_code == status


def test_it_shows_the_location_with_its_zone_and_company(ask: Asker) -> None:
    location = ask.get(f"/locations/{LOCATION}").json()["location"]

    assert (location["id"], location["timezone"], location["companyId"]) == (
        LOCATION,
        "Asia/Kolkata",
        COMPANY,
    )


def test_it_shows_an_agency_all_its_locations_but_a_location_only_itself(
    ask: Asker, ask_as_agency: Asker
) -> None:
    assert ask_as_agency.get(f"/locations/{SECOND_LOCATION}").status_code == 200
    assert ask.get(f"/locations/{SECOND_LOCATION}").status_code == 403
