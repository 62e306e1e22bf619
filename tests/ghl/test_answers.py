"""What we read: HighLevel's answers as they are, not as they are documented."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import httpx2
import pytest

from ghl import errors
from ghl.client import Client
from ghl.types import Appointment, Contact, InstalledLocation, InstallPage, LocationDetails

from .conftest import Answering

TOKEN = "an.access.token"
START = datetime(2026, 1, 5, tzinfo=UTC)
END = START + timedelta(days=1)
EVENT = {
    "id": "apt1",
    "calendarId": "cal1",
    "locationId": "loc1",
    "contactId": "con1",
    "groupId": "grp1",
    "startTime": "2026-01-05T09:00:00+05:30",
    "endTime": "2026-01-05T09:30:00+05:30",
    "title": "Consultation",
    "appointmentStatus": "confirmed",
    "appoinmentStatus": "new",
    "assignedUserId": "usr1",
    "users": ["usr1"],
    "address": "Zoom",
    "meetingLocationType": "zoom",
    "notes": "Bring papers",
    "isRecurring": "true",
    "rrule": "FREQ=DAILY",
    "masterEventId": "apt0",
    "deleted": False,
    "dateAdded": "2026-01-01T10:00:00.000Z",
    "dateUpdated": "2026-01-02T10:00:00+05:30",
    "statusDetails": {"status": "booked"},
}
READ = Appointment(
    id="apt1",
    calendar_id="cal1",
    location_id="loc1",
    contact_id="con1",
    start_time="2026-01-05T09:00:00+05:30",
    end_time="2026-01-05T09:30:00+05:30",
    title="Consultation",
    appointment_status="confirmed",
    assigned_user_id="usr1",
    address="Zoom",
    meeting_location_type="zoom",
    description="Bring papers",
    is_recurring=True,
    rrule="FREQ=DAILY",
    master_event_id="apt0",
    date_added=datetime(2026, 1, 1, 10, tzinfo=UTC),
    date_updated=datetime(2026, 1, 2, 10, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    added_by=datetime(2026, 1, 1, 10, tzinfo=UTC),
    was_changed=True,
    trace_id="t-1",
)


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize(
    "answer",
    [
        {**EVENT, "traceId": "t-1"},
        {"event": EVENT, "traceId": "t-1"},
        {"appointment": EVENT, "traceId": "t-1"},
        {"event": None, "appointment": {**EVENT, "traceId": "t-1"}},
    ],
    ids=["bare", "event", "appointment", "own trace"],
)
def test_an_appointment_is_read_however_it_is_wrapped(
    status: int, answer: dict[str, object], answering: Answering
) -> None:
    assert answering(status, json=answer).create_appointment(TOKEN, {}) == READ


def test_an_appointment_needs_nothing_but_an_id(answering: Answering) -> None:
    everything_null = dict.fromkeys(EVENT, None) | {"id": "apt1", "somethingNew": {"a": [1]}}

    assert answering(json=everything_null).get_appointment(TOKEN, "apt1") == Appointment(id="apt1")


def test_the_misspelt_status_counts_where_the_other_is_missing(answering: Answering) -> None:
    found = answering(json={"id": "apt1", "appoinmentStatus": "showed"}).get_appointment(TOKEN, "apt1")

    assert found.appointment_status == "showed"


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("2026-01-05T09:00:00+05:30", datetime(2026, 1, 5, 3, 30, tzinfo=UTC)),
        ("2026-01-05T03:30:00.000Z", datetime(2026, 1, 5, 3, 30, tzinfo=UTC)),
        ("2026-01-05 09:00:00", None),
        ("tomorrow", None),
        (None, None),
        (1767600000000, None),
    ],
)
def test_a_start_is_an_instant_only_where_its_zone_is_written(
    written: object, instant: datetime | None, answering: Answering
) -> None:
    found = answering(json={"id": "apt1", "startTime": written}).get_appointment(TOKEN, "apt1")

    assert found.start_time == (written if isinstance(written, str) else None)
    assert found.starts_at == instant


def test_text_that_no_database_takes_is_made_harmless(answering: Answering) -> None:
    body = rb'{"id": "apt1", "title": "a\u0000b\ud800c"}'

    assert answering(content=body).get_appointment(TOKEN, "apt1").title == "ab?c"


def test_a_packed_answer_is_unpacked(answering: Answering) -> None:
    body = gzip.compress(json.dumps(EVENT).encode())
    client = answering(content=body, headers={"content-encoding": "gzip"})

    assert client.get_appointment(TOKEN, "apt1").id == "apt1"


LISTS: dict[str, Callable[[Client], list[Appointment]]] = {
    "events": lambda c: c.events(TOKEN, location_id="loc1", calendar_id="cal1", start=START, end=END),
    "contact": lambda c: c.contact_appointments(TOKEN, "con1"),
}
each_list = pytest.mark.parametrize("ask", LISTS.values(), ids=LISTS.keys())


@each_list
def test_a_list_of_appointments_leaves_out_what_has_no_id(
    ask: Callable[[Client], list[Appointment]], answering: Answering
) -> None:
    answer = {"events": [EVENT, {"id": None}, {}, "odd", None], "traceId": "t-1"}

    assert ask(answering(json=answer)) == [READ]


@each_list
def test_an_empty_list_is_believed(ask: Callable[[Client], list[Appointment]], answering: Answering) -> None:
    assert ask(answering(json={"events": []})) == []


@each_list
@pytest.mark.parametrize("answer", [{}, {"events": None}, {"events": {}}, {"traceId": "t"}], ids=str)
def test_a_missing_list_is_not_taken_for_an_empty_one(
    answer: object, ask: Callable[[Client], list[Appointment]], answering: Answering
) -> None:
    with pytest.raises(errors.UnreadableAnswer):
        ask(answering(json=answer))


def test_calendars_are_read_with_their_slots_and_team(answering: Answering) -> None:
    full = {
        "id": "cal1",
        "name": "Consultations",
        "locationId": "loc1",
        "calendarType": "round_robin",
        "isActive": True,
        "slotDuration": 45,
        "slotDurationUnit": "mins",
        "appoinmentPerSlot": "2",
        "teamMembers": [{"userId": "usr1", "priority": 0.5}, {"userId": None}, {"userId": "usr2"}, 7],
    }
    answer = {
        "calendars": [full, {"id": "cal2", "slotDuration": 1, "slotDurationUnit": "hours"}, {"name": "x"}]
    }

    first, second = answering(json=answer).calendars(TOKEN, location_id="loc1")

    assert (first.id, first.name, first.location_id, first.calendar_type, first.is_active) == (
        "cal1",
        "Consultations",
        "loc1",
        "round_robin",
        True,
    )
    assert (first.slot_duration, first.seats, first.team) == (timedelta(minutes=45), 2, ("usr1", "usr2"))
    assert (second.slot_duration, second.seats, second.team) == (timedelta(hours=1), None, ())


@pytest.mark.parametrize("duration", [True, None, "half", 1e300, -1e17, float("nan")], ids=str)
def test_a_senseless_duration_is_no_duration(duration: object, answering: Answering) -> None:
    body = json.dumps(
        {"calendars": [{"id": "cal1", "slotDuration": duration, "appoinmentPerSlot": duration}]}
    )

    (found,) = answering(content=body.encode()).calendars(TOKEN, location_id="loc1")

    assert found.slot_duration is None


def test_slots_come_back_exactly_as_written(answering: Answering) -> None:
    answer = {
        "2024-10-28": {"slots": ["2024-10-28T10:00:00-05:00", "2024-10-28T11:00:00-05:00"]},
        "2024-10-29": {"slots": []},
        "2024-10-30": None,
        "2024-10-31": {"slots": ["2024-10-31T10:00:00-05:00", None]},
        "traceId": "2024",
    }

    assert answering(json=answer).free_slots(TOKEN, "cal1", start=START, end=END) == [
        "2024-10-28T10:00:00-05:00",
        "2024-10-28T11:00:00-05:00",
        "2024-10-31T10:00:00-05:00",
    ]


def test_no_slots_is_an_answer(answering: Answering) -> None:
    assert answering(json={"traceId": "t"}).free_slots(TOKEN, "cal1", start=START, end=END) == []


@pytest.mark.parametrize("new", [True, False, None])
def test_an_upserted_contact_says_whether_it_is_new(new: bool | None, answering: Answering) -> None:
    answer = {
        "new": new,
        "contact": {"id": "con1", "locationId": "loc1", "email": "a@b.test"},
        "traceId": "t-1",
    }

    assert answering(201, json=answer).upsert_contact(TOKEN, {}) == Contact("con1", "loc1", new, "t-1")


@pytest.mark.parametrize("answer", [{"contact": None}, {"traceId": "t-1"}])
def test_a_search_may_find_nobody(answer: dict[str, object], answering: Answering) -> None:
    assert answering(json=answer).search_duplicate(TOKEN, location_id="loc1", email="a@b.test") is None


def test_a_search_finds_a_contact(answering: Answering) -> None:
    answer = {"contact": {"id": "con1", "locationId": "loc1"}, "traceId": "t-1"}

    found = answering(json=answer).search_duplicate(TOKEN, location_id="loc1", number="+15550100")

    assert found == Contact("con1", "loc1", None, "t-1")


def test_a_found_contact_without_an_id_is_not_nobody(answering: Answering) -> None:
    with pytest.raises(errors.UnreadableAnswer):
        answering(json={"contact": {"email": "a@b.test"}}).search_duplicate(TOKEN, location_id="loc1")


def test_a_location_is_read(answering: Answering) -> None:
    record = {
        "id": "loc1",
        "name": "Acme",
        "timezone": "America/Chicago",
        "companyId": "com1",
        "country": "US",
    }

    found = answering(json={"location": record, "traceId": "t-1"}).get_location(TOKEN, "loc1")

    assert found == LocationDetails("loc1", "Acme", "America/Chicago", "com1", "t-1", "US")


def test_a_page_of_installs_is_read(answering: Answering) -> None:
    listed = {
        "_id": "loc1",
        "name": "Acme",
        "isInstalled": True,
        "versionId": "v1",
        "installedAt": "2024-01-15T10:30:00.000Z",
    }
    answer = {"locations": [listed, {"name": "no id"}], "count": 7, "installToFutureLocations": True}

    page = answering(json=answer).installed_locations(TOKEN, "com1")

    installed_at = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
    assert page == InstallPage((InstalledLocation("loc1", "Acme", True, "v1", installed_at),), True)


def test_a_list_that_is_missing_says_nothing_about_installs(answering: Answering) -> None:
    with pytest.raises(errors.UnreadableAnswer):
        answering(json={"count": 0}).installed_locations(TOKEN, "com1")


UNREADABLE: dict[str, dict[str, object]] = {
    "nothing": {"content": b""},
    "a page": {"html": "<html>Welcome</html>"},
    "half a body": {"content": b'{"id": "ap'},
    "a list": {"json": [EVENT]},
    "no id": {"json": {"title": "x"}},
    "a null id": {"json": {"id": None}},
    "a number for an id": {"json": {"id": 7}},
    "an empty id": {"json": {"event": {"id": ""}}},
    "no real gzip": {"content": b"plain", "headers": {"content-encoding": "gzip"}},
    "too much": {"content": b'{"id": "apt1", "title": "' + b"x" * 5_000_000 + b'"}'},
    "too deep": {"content": b"[" * 100_000},
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_yes_that_cannot_be_read_leaves_the_outcome_unknown(
    answer: dict[str, object], answering: Answering
) -> None:
    with pytest.raises(errors.UnreadableAnswer) as unreadable:
        answering(200, **answer).create_appointment(TOKEN, {})

    assert unreadable.value.outcome_unknown


def test_more_than_we_read_is_left_where_it_is(answering: Answering) -> None:
    read = 0

    class Endless(httpx2.SyncByteStream):
        def __iter__(self) -> "Endless":
            return self

        def __next__(self) -> bytes:
            nonlocal read
            read += 65536
            return b"x" * 65536

    with pytest.raises(errors.ServerFailed):
        answering(lambda _: httpx2.Response(502, stream=Endless())).create_appointment(TOKEN, {})

    assert read < 5_000_000


def test_a_redirect_is_not_followed(answering: Answering) -> None:
    seen: list[str] = []

    def redirect(request: httpx2.Request) -> httpx2.Response:
        seen.append(str(request.url))
        return httpx2.Response(307, headers={"location": "https://elsewhere.test/"})

    with pytest.raises(errors.UnreadableAnswer):
        answering(redirect).create_appointment(TOKEN, {})

    assert len(seen) == 1


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda c: c.get_appointment(TOKEN, "a"), errors.AppointmentNotFound),
        (lambda c: c.change_appointment(TOKEN, "a", {}), errors.AppointmentNotFound),
        (lambda c: c.contact_appointments(TOKEN, "c"), errors.ContactNotFound),
        (lambda c: c.free_slots(TOKEN, "c", start=START, end=END), errors.CalendarNotFound),
        (lambda c: c.create_appointment(TOKEN, {}), errors.InvalidRequest),
        (lambda c: c.get_location(TOKEN, "l"), errors.LocationForbidden),
        (lambda c: c.refresh("a-refresh-token"), errors.ClientMisconfigured),
    ],
    ids=["get", "change", "contact", "slots", "create", "location", "refresh"],
)
def test_a_bare_404_is_about_the_endpoints_own_record(
    ask: Callable[[Client], object], error: type[Exception], answering: Answering
) -> None:
    with pytest.raises(error):
        ask(answering(404, json={"statusCode": 404, "message": "Not Found"}))


@pytest.mark.parametrize(
    ("added", "updated", "was_changed"),
    [
        ("2026-01-01T10:00:00.000Z", "2026-01-01T10:00:00.001Z", True),
        ("2026-01-01T10:00:00.000Z", "2026-01-01T10:00:00.000Z", False),
        ("2026-01-01T10:00:00+05:30", "2026-01-01T10:00:00+05:30", None),
        ("2026-01-01T10:00:00+05:30", "2026-01-01T04:30:01Z", True),
        ("2026-01-01 10:00:00", "2026-01-01 10:00:01", True),
        ("2026-01-01 10:00:00", "2026-01-01 10:00:00", None),
        ("2026-01-01 10:00:00", "2026-01-01T10:00:01Z", None),
        ("yesterday", "2026-01-01T10:00:01Z", None),
        (None, None, None),
    ],
)
def test_an_appointment_says_whether_it_was_changed(
    added: str | None, updated: str | None, was_changed: bool | None
) -> None:
    assert (
        Appointment.from_wire({"id": "a", "dateAdded": added, "dateUpdated": updated}).was_changed
        is was_changed
    )


@pytest.mark.parametrize(
    ("written", "added_by"),
    [
        ("2026-01-01T10:00:00+05:30", datetime(2026, 1, 1, 4, 30, tzinfo=UTC)),
        ("2026-01-01 10:00:00", datetime(2026, 1, 1, 22, tzinfo=UTC)),
        ("01/01/2026", None),
        (None, None),
    ],
)
def test_an_appointment_says_by_when_it_was_added(written: str | None, added_by: datetime | None) -> None:
    assert Appointment.from_wire({"id": "a", "dateAdded": written}).added_by == added_by
