"""A request is accepted as HighLevel's documentation writes it, and answered in the shape this API promises."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from appointments.models import Booking
from oauth import keys
from oauth.models import Location
from sandbox import World
from tests.fixtures import (
    ACME_CALENDAR,
    ACME_CONTACT,
    ACME_LOCATION,
    GLOBEX_LOCATION,
    Persona,
    booking_body,
    from_now,
    only_booking,
    work_once,
)

# The body of HighLevel's create-appointment page, its placeholder "rrule": "string" replaced.
# https://marketplace.gohighlevel.com/docs/ghl/calendars/create-appointment
EXAMPLE: dict[str, Any] = {
    "title": "Test Event",
    "meetingLocationType": "custom",
    "meetingLocationId": "custom_0",
    "overrideLocationConfig": True,
    "appointmentStatus": "confirmed",
    "assignedUserId": "0007BWpSzSwfiuSl0tR2",
    "description": "Booking a call to discuss the project",
    "address": "Zoom",
    "ignoreDateRange": False,
    "toNotify": False,
    "ignoreFreeSlotValidation": True,
    "rrule": "RRULE:FREQ=DAILY;COUNT=2",
    "calendarId": "CVokAlI8fgw4WYWoCtQz",
    "locationId": "C2QujeCh8ZnC7al2InWR",
    "contactId": "0007BWpSzSwfiuSl0tR2",
    "startTime": "2021-06-23T03:30:00+05:30",
    "endTime": "2021-06-23T04:30:00+05:30",
}
REQUIRED = ("calendarId", "startTime")
OPTIONAL = [name for name in EXAMPLE if name not in {*REQUIRED, "contactId", "ignoreFreeSlotValidation"}]


def sent_to(highlevel: World) -> dict[str, Any]:
    """The body of the only create that HighLevel got."""
    [body] = [each.body for each in highlevel.calls.records if each.operation == "create_appointment"]
    return body


def test_it_books_the_documentations_example_with_every_field_unchanged(
    acme: Persona, highlevel: World
) -> None:
    answer = acme.book(EXAMPLE)
    work_once()

    assert answer.status_code == 202, answer.json()
    assert sent_to(highlevel) == EXAMPLE
    assert acme.api.get(answer.headers["Location"]).json()["status"] == "booked"
    assert {entry.master_event_id for entry in highlevel.diary.everything()} == {
        only_booking().appointment_id
    }


@pytest.mark.parametrize("name", OPTIONAL)
def test_it_sends_no_field_that_was_left_out(acme: Persona, highlevel: World, name: str) -> None:
    body = {key: value for key, value in EXAMPLE.items() if key != name}

    answer = acme.book(body)
    work_once()

    assert answer.status_code == 202, answer.json()
    assert sent_to(highlevel) == {**body, "locationId": ACME_LOCATION}


@pytest.mark.parametrize("name", REQUIRED)
def test_it_requires_what_highlevel_requires(acme: Persona, name: str) -> None:
    answer = acme.book({key: value for key, value in EXAMPLE.items() if key != name})

    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"pointer": f"/{name}", "detail": "This field is required."}]


def test_it_takes_null_for_left_out(acme: Persona, highlevel: World) -> None:
    acme.book({**booking_body(), "description": None, "rrule": None, "metadata": None})
    work_once()

    assert sent_to(highlevel) == booking_body()


def test_it_answers_with_every_promised_key(acme: Persona) -> None:
    body = booking_body()

    answer = acme.book(body)

    booking = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Location"] == f"/api/v1/bookings/{booking['id']}"
    assert booking.pop("createdAt") == booking.pop("updatedAt") == booking.pop("nextAttemptAt")
    assert booking == {
        "id": str(only_booking().pk),
        "status": "pending",
        **body,
        "contact": None,
        "meetingLocationType": None,
        "meetingLocationId": None,
        "overrideLocationConfig": None,
        "assignedUserId": None,
        "description": None,
        "address": None,
        "ignoreDateRange": None,
        "toNotify": None,
        "ignoreFreeSlotValidation": None,
        "rrule": None,
        "nextOccurrences": None,
        "appointmentId": None,
        "appointmentStatus": None,
        "externalReference": None,
        "metadata": {},
        "inSync": False,
        "attempts": 0,
        "expiresAt": booking["expiresAt"],
        "cancelRequestedAt": None,
        "error": None,
    }


def test_it_reads_the_same_booking_back(acme: Persona) -> None:
    answer = acme.book()

    read = acme.api.get(answer.headers["Location"]).json()

    accepted = answer.json()
    apart = datetime.fromisoformat(read.pop("nextAttemptAt")) - datetime.fromisoformat(
        accepted.pop("nextAttemptAt")
    )
    assert read == accepted
    assert abs(apart) < timedelta(seconds=1)


def test_it_fills_in_what_highlevel_knows_better(acme: Persona, highlevel: World) -> None:
    highlevel.forms.pin(created_answer="full", times="offset")
    answer = acme.book(booking_body(endTime=None, title=None))
    work_once()

    booking = acme.api.get(answer.headers["Location"]).json()
    assert booking["endTime"] == "2027-06-23T04:00:00+05:30"
    assert booking["title"] == "Ravi Iyer"
    assert booking["appointmentStatus"] == "confirmed"


def test_it_finds_the_location_of_a_key_that_covers_one(acme: Persona, highlevel: World) -> None:
    answer = acme.book(booking_body(locationId=None))
    work_once()

    assert answer.json()["locationId"] == ACME_LOCATION
    assert sent_to(highlevel)["locationId"] == ACME_LOCATION


def test_it_asks_which_location_where_a_key_covers_several(
    acme: Persona, connect: Callable[[str], Location]
) -> None:
    acme.key.locations.add(connect(GLOBEX_LOCATION))

    answer = acme.book(booking_body(locationId=None))

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/locationId"
    assert acme.book().status_code == 202


def test_it_books_in_a_location_that_the_keys_agency_gained_later(
    acme: Persona, connect: Callable[[str], Location]
) -> None:
    key, text = keys.issue(acme.tenant, agency=acme.location.agency)
    later = connect(GLOBEX_LOCATION)

    answer = Persona(acme.tenant, later, key, text).book(booking_body(locationId=GLOBEX_LOCATION))

    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2027-06-23T03:30:00+05:30", "2027-06-23T04:30:00+05:30"),
        ("2027-06-22T22:00:00Z", "2027-06-22T23:00:00Z"),
        ("2027-06-22T22:00Z", "2027-06-22T23:00Z"),
        ("2027-06-22T18:00:00-04:00", "2027-06-22T23:00:00+00:00"),
        ("2027-06-22T22:00:00.000Z", "2027-06-22T23:00:00.0Z"),
        ("2027-06-23T03:30:00.000+05:30", "2027-06-23T04:30:00+05:30"),
    ],
)
def test_it_sends_times_on_as_they_were_written_but_for_a_zero_fraction(
    acme: Persona, highlevel: World, start: str, end: str
) -> None:
    acme.book(booking_body(startTime=start, endTime=end))
    work_once()

    sent = sent_to(highlevel)
    whole = [time.replace(".000", "").replace(".0", "") for time in (start, end)]
    assert [sent["startTime"], sent["endTime"]] == whole
    assert only_booking().status == Booking.Status.BOOKED


def test_it_keeps_emoji_and_right_to_left_text_as_they_are(acme: Persona, highlevel: World) -> None:
    words = {
        "title": "👩🏽‍💻 اجتماع \u202bמפגש\u202c naïve ﷽",
        "description": "line one\nline two\t· «ok» \u0001",
        "metadata": {"clé 🔑": "ערך"},
        "externalReference": "№ 42 🎟️",
    }

    answer = acme.book(booking_body(**words))
    work_once()

    booking = acme.api.get(answer.headers["Location"]).json()
    assert {name: booking[name] for name in words} == words
    assert {name: answer.json()[name] for name in words} == words
    assert sent_to(highlevel)["title"] == words["title"]
    [appointment] = highlevel.diary.everything()
    assert (appointment.title, appointment.description) == (words["title"], words["description"])


def test_it_keeps_our_own_fields_from_highlevel(acme: Persona, highlevel: World) -> None:
    acme.book(booking_body(metadata={"a": "1"}, externalReference="r-1", expiresAt=from_now(days=30)))
    work_once()

    assert sent_to(highlevel) == booking_body()


def test_it_tries_for_a_day_by_default(acme: Persona) -> None:
    booking = acme.book().json()

    assert _life(booking) == timedelta(days=1)


def test_it_tries_for_a_day_where_the_start_is_past_already(acme: Persona) -> None:
    booking = acme.book(EXAMPLE).json()

    assert _life(booking) == timedelta(days=1)


def test_it_does_not_try_beyond_a_start_that_lies_ahead(acme: Persona) -> None:
    soon = (datetime.now().astimezone() + timedelta(hours=2)).replace(microsecond=0)

    booking = acme.book(booking_body(startTime=soon.isoformat(), endTime=None)).json()

    assert datetime.fromisoformat(booking["expiresAt"]) == soon


def test_it_tries_for_as_long_as_it_is_told(acme: Persona) -> None:
    until = from_now(days=30)

    booking = acme.book(booking_body(expiresAt=until.replace("Z", "+02:00"))).json()

    assert datetime.fromisoformat(until) - datetime.fromisoformat(booking["expiresAt"]) == timedelta(hours=2)


def test_it_takes_a_calendar_and_contact_it_has_never_seen(acme: Persona) -> None:
    answer = acme.book(booking_body(calendarId="neverSeen", contactId=ACME_CONTACT))

    assert answer.status_code == 202
    assert answer.json()["calendarId"] == "neverSeen" != ACME_CALENDAR


@pytest.mark.parametrize(
    "rrule",
    [
        "FREQ=WEEKLY;COUNT=3",
        "RRULE:FREQ=WEEKLY;COUNT=3",
        "RRULE:FREQ=DAILY;COUNT=3;INTERVAL=10\nEXDATE:20270624T220000Z",
        "RRULE:FREQ=DAILY;UNTIL=20270701T000000Z\r\nEXDATE:20270624T220000Z\r\nEXDATE:20270625T220000Z",
    ],
)
def test_it_sends_a_recurrence_on_as_it_was_written(acme: Persona, highlevel: World, rrule: str) -> None:
    answer = acme.book({**EXAMPLE, "rrule": rrule})
    work_once()

    assert answer.status_code == 202, answer.json()
    assert sent_to(highlevel)["rrule"] == rrule


def _life(booking: dict[str, Any]) -> timedelta:
    return datetime.fromisoformat(booking["expiresAt"]) - datetime.fromisoformat(booking["createdAt"])
