"""A tenant changes a booking: when that is possible, what HighLevel is told of it, and when it is taken back."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db.models.functions import Now

from appointments import sweeping
from appointments.changing import CHANGE_LIFE
from appointments.models import Booking
from appointments.requests import ChangeRequest
from oauth import keys
from oauth.models import Location
from oauth.scopes import BOOKINGS_READ
from sandbox import World
from sandbox.faults import Fault
from tests.appointments.conftest import beside, calls, in_highlevel, order, sent, until
from tests.appointments.test_access import is_problem
from tests.fixtures import ACME_CALENDAR, Persona, booking_body, hurry, only_booking, work_once

NEW_START, NEW_END = "2027-06-23T10:00:00+05:30", "2027-06-23T11:00:00+05:30"
INDIA = ZoneInfo("Asia/Kolkata")
NOBODY = "http://127.0.0.1:9"


def booked(acme: Persona, **changes: Any) -> Booking:
    answer = acme.book(booking_body(**changes))
    assert answer.status_code == 202, answer.json()
    work_once()
    booking = Booking.objects.get(pk=answer.json()["id"])
    assert booking.status == Booking.Status.BOOKED
    return booking


def patch(acme: Persona, body: dict[str, Any], booking: Booking | None = None, **headers: str) -> Any:
    path = f"/api/v1/bookings/{(booking or only_booking()).pk}"
    return acme.api.patch(path, body, format="json", headers=headers)


def shown(acme: Persona) -> dict[str, Any]:
    answer: dict[str, Any] = acme.api.get(f"/api/v1/bookings/{only_booking().pk}").json()
    return answer


def starts(highlevel: World) -> list[str]:
    """When HighLevel's appointments begin, in the location's zone."""
    return [each.starts_at.astimezone(INDIA).isoformat() for each in highlevel.diary.everything()]


# --- In every state -------------------------------------------------------------------------------------------


def test_it_changes_what_is_booked(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)

    answer = patch(acme, {"startTime": NEW_START, "endTime": NEW_END})

    assert answer.status_code == 202
    assert answer.json() == acme.api.get(f"/api/v1/bookings/{booking.pk}").json()
    assert answer.json()["inSync"] is False
    assert answer.json()["status"] == "booked"
    assert answer.json()["startTime"] == NEW_START
    assert starts(highlevel) == ["2027-06-23T03:30:00+05:30"]

    work_once()

    assert shown(acme)["inSync"] is True
    assert shown(acme)["nextAttemptAt"] is None
    assert starts(highlevel) == [NEW_START]
    assert shown(acme)["appointmentId"] == booking.appointment_id


def test_it_books_what_was_changed_before_the_first_attempt(acme: Persona, highlevel: World) -> None:
    acme.book()
    patch(acme, {"startTime": NEW_START, "title": "Other"})

    work_once()

    assert calls(highlevel) == 1
    assert calls(highlevel, "update_appointment") == 0
    assert starts(highlevel) == [NEW_START]
    assert shown(acme)["inSync"] is True


@pytest.mark.django_db(transaction=True)
def test_it_changes_what_is_just_being_made(acme: Persona, highlevel: World) -> None:
    """The create was sent with the old wish; its outcome must not pass for the new one."""
    order(highlevel, "hang_after", seconds=0.4)
    acme.book()
    with beside():
        until(lambda: calls(highlevel))
        patch(acme, {"startTime": NEW_START})
    work_once()

    assert starts(highlevel) == [NEW_START]
    assert shown(acme)["inSync"] is True
    assert calls(highlevel) == 1


def test_it_changes_what_may_have_been_made(acme: Persona, highlevel: World) -> None:
    order(highlevel, "error_500_after")
    acme.book()
    work_once()
    patch(acme, {"startTime": NEW_START})

    hurry(only_booking())

    assert starts(highlevel) == [NEW_START]
    assert shown(acme)["inSync"] is True
    assert calls(highlevel) == 1


def test_it_changes_what_is_on_hold(acme: Persona, highlevel: World) -> None:
    acme.location.brake(Location.Waiting.SUSPENDED, timedelta(hours=1))
    acme.book()

    answer = patch(acme, {"startTime": NEW_START})

    assert answer.json()["status"] == "on_hold"
    assert answer.json()["error"]["code"] == "location_suspended"
    hurry(only_booking())
    assert starts(highlevel) == [NEW_START]


@pytest.mark.django_db(transaction=True)
def test_it_makes_the_last_of_several_changes_true(acme: Persona, highlevel: World) -> None:
    booked(acme)
    order(highlevel, "hang_after", "update_appointment", seconds=0.4)
    patch(acme, {"startTime": "2027-06-23T08:00:00+05:30"})
    with beside():
        until(lambda: calls(highlevel, "update_appointment"))
        patch(acme, {"startTime": "2027-06-23T09:00:00+05:30", "title": "Second"})
        patch(acme, {"startTime": NEW_START})
    work_once()

    [entry] = highlevel.diary.everything()
    assert starts(highlevel) == [NEW_START]
    assert entry.title == "Second"
    assert shown(acme)["inSync"] is True


@pytest.mark.django_db(transaction=True)
def test_it_sends_nothing_of_a_wish_that_changed_while_it_read(acme: Persona, highlevel: World) -> None:
    booked(acme)
    patch(acme, {"startTime": "2027-06-23T08:00:00+05:30"})
    order(highlevel, "hang_after", "get_appointment", seconds=0.4)
    with beside():
        until(lambda: calls(highlevel, "get_appointment"))
        patch(acme, {"startTime": NEW_START})
    work_once()

    assert [body["startTime"] for body in sent(highlevel)] == [NEW_START]
    assert shown(acme)["inSync"] is True


@pytest.mark.parametrize("status", Booking.ENDED)
@pytest.mark.parametrize("body", [{"title": "Other"}, {"metadata": {"a": "b"}}, {}])
def test_it_does_not_change_what_has_ended(acme: Persona, status: str, body: dict[str, Any]) -> None:
    acme.book()
    Booking.objects.update(status=status)

    is_problem(patch(acme, body), 409, "booking_ended")


def test_it_does_not_change_what_is_being_cancelled(acme: Persona) -> None:
    booking = booked(acme)
    acme.api.post(f"/api/v1/bookings/{booking.pk}/cancel")

    is_problem(patch(acme, {"title": "Other"}), 409, "booking_ended")
    assert patch(acme, {"metadata": {"a": "b"}}).json()["metadata"] == {"a": "b"}


# --- What may be asked ------------------------------------------------------------------------------------------


def test_it_keeps_the_duration_of_what_is_moved(acme: Persona, highlevel: World) -> None:
    booked(acme)

    assert patch(acme, {"startTime": "2027-06-24T23:30:00Z"}).json()["endTime"] == "2027-06-25T00:30:00Z"
    work_once()
    [entry] = highlevel.diary.everything()
    assert entry.ends_at - entry.starts_at == timedelta(hours=1)


def test_it_leaves_the_end_to_highlevel_where_there_was_none(acme: Persona, highlevel: World) -> None:
    highlevel.forms.pin(created_answer="full", times="offset")
    booked(acme, endTime=None)
    patch(acme, {"startTime": NEW_START})
    work_once()

    assert [sorted(body) for body in sent(highlevel)] == [["appointmentStatus", "startTime"]]
    assert shown(acme)["endTime"] == "2027-06-23T10:30:00+05:30"


@pytest.mark.parametrize(
    "body",
    [
        {"endTime": "2027-06-23T03:30:00+05:30"},
        {"endTime": "2027-06-23T02:30:00+05:30"},
        {"startTime": NEW_START, "endTime": "2027-06-23T04:30:00Z"},
        {"endTime": "2027-06-22T23:30:00Z"},
        {"startTime": "9998-12-31T23:30:00Z"},
        {"startTime": "9998-12-31T23:59:00-23:00"},
    ],
)
@pytest.mark.parametrize("is_booked", [True, False])
def test_it_refuses_an_end_that_cannot_be(acme: Persona, body: dict[str, str], is_booked: bool) -> None:
    _ = booked(acme) if is_booked else acme.book()

    answer = patch(acme, body)

    is_problem(answer, 400, "invalid_request")
    assert {error["pointer"] for error in answer.json()["errors"]} <= {"/endTime", "/startTime"}
    assert shown(acme)["startTime"] == "2027-06-23T03:30:00+05:30"


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"locationId": "x"}, ["/locationId"]),
        ({"contactId": "x"}, ["/contactId"]),
        ({"contact": {"email": "a@b.example"}, "title": "x"}, ["/contact"]),
        ({"rrule": "FREQ=DAILY"}, ["/rrule"]),
        ({"expiresAt": "2090-01-01T00:00:00Z", "rrule": "x"}, ["/rrule", "/expiresAt"]),
        ({"nonsense": 1}, ["/nonsense"]),
        ({"startTime": "soon"}, ["/startTime"]),
        ({"startTime": "2027-06-23T03:30:00.5Z"}, ["/startTime"]),
        ({"metadata": {"a": 1}}, ["/metadata/a"]),
        ([], [""]),
    ],
)
def test_it_points_at_what_cannot_be_changed(acme: Persona, body: Any, pointers: list[str]) -> None:
    acme.book()

    answer = patch(acme, body)

    is_problem(answer, 400, "invalid_request")
    assert [error["pointer"] for error in answer.json()["errors"]] == pointers


def test_it_notes_our_own_fields_at_once_without_highlevel(acme: Persona, highlevel: World) -> None:
    booked(acme, metadata={"a": "b"}, externalReference="order 1")
    before = len(highlevel.calls.records)

    answer = patch(acme, {"metadata": {"c": "d"}, "externalReference": "order 2"}).json()

    assert (answer["metadata"], answer["externalReference"]) == ({"c": "d"}, "order 2")
    assert answer["inSync"] is True
    cleared = patch(acme, {"metadata": None, "externalReference": None}).json()
    assert (cleared["metadata"], cleared["externalReference"]) == ({}, None)
    work_once()
    assert len(highlevel.calls.records) == before
    assert acme.api.get("/api/v1/bookings?externalReference=order%202").json()["results"] == []


def test_it_empties_in_highlevel_what_null_clears(acme: Persona, highlevel: World) -> None:
    booked(acme, description="Bring the forms", address="12 MG Road")

    answer = patch(acme, {"description": None, "address": None})

    assert (answer.status_code, answer.json()["inSync"]) == (202, False)
    work_once()
    assert [(each.description, each.address) for each in highlevel.diary.everything()] == [("", "")]
    booking = shown(acme)
    assert (booking["description"], booking["address"], booking["inSync"]) == ("", "", True)
    work_once()
    assert len(sent(highlevel)) == 1


def test_it_books_without_what_null_cleared_before(acme: Persona, highlevel: World) -> None:
    acme.book(booking_body(description="Bring the forms"))

    patch(acme, {"description": None})
    work_once()

    assert [each.description for each in highlevel.diary.everything()] == [""]
    assert shown(acme)["inSync"] is True


NULLABLE = {"description", "address", "externalReference", "metadata"}


@pytest.mark.parametrize(
    "name", sorted({field.alias or name for name, field in ChangeRequest.model_fields.items()})
)
def test_it_clears_by_null_or_says_that_it_cannot(acme: Persona, name: str) -> None:
    booked(acme)

    answer = patch(acme, {name: None})

    if name in NULLABLE:
        assert answer.status_code == 202
        assert not answer.json()[name]
    else:
        is_problem(answer, 400, "invalid_request")
        assert [error["pointer"] for error in answer.json()["errors"]] == [f"/{name}"]
        assert shown(acme)["title"] == "Test Event"


def test_it_does_nothing_for_a_change_that_is_none(acme: Persona, highlevel: World) -> None:
    booked(acme)

    for body in ({}, {"title": "Test Event"}):
        answer = patch(acme, body)
        assert answer.status_code == 202
        assert answer.json()["inSync"] is True

    assert not Booking.objects.due().exists()


def test_it_is_found_by_what_it_was_changed_to(acme: Persona) -> None:
    booked(acme)
    patch(acme, {"startTime": NEW_START, "calendarId": "anotherCalendar"})

    def found(query: str) -> int:
        return len(acme.api.get(f"/api/v1/bookings?{query}").json()["results"])

    assert found("calendarId=anotherCalendar") == found("startTimeFrom=2027-06-23T04:30:00Z") == 1
    work_once()
    assert only_booking().error["code"] == "calendar_not_found"
    assert found("calendarId=anotherCalendar") == found("startTimeFrom=2027-06-23T04:30:00Z") == 0
    assert found(f"calendarId={ACME_CALENDAR}") == found("startTimeTo=2027-06-23T04:30:00Z") == 1


def test_it_answers_strangers_readers_and_the_uninstalled_as_ever(acme: Persona, globex: Persona) -> None:
    booking = booked(acme)
    key, text = keys.issue(acme.tenant, locations=[acme.location], scopes=[BOOKINGS_READ])
    reader = Persona(acme.tenant, acme.location, key, text)

    is_problem(patch(globex, {"title": "x"}, booking), 404, "not_found")
    is_problem(patch(reader, {"title": "x"}, booking), 403, "insufficient_scope")
    for route in ("cancel", "retry"):
        path = f"/api/v1/bookings/{booking.pk}/{route}"
        is_problem(globex.api.post(path), 404, "not_found")
        is_problem(reader.api.post(path), 403, "insufficient_scope")
    Location.objects.filter(pk=acme.location.pk).update(status=Location.Status.UNINSTALLED)
    is_problem(patch(acme, {"title": "x"}, booking), 403, "location_disconnected")
    is_problem(globex.api.post(f"/api/v1/bookings/{booking.pk}/cancel"), 404, "not_found")


# --- What HighLevel is told -------------------------------------------------------------------------------------


def test_it_sends_what_has_changed_and_the_status_as_it_stands(acme: Persona, highlevel: World) -> None:
    booked(acme, toNotify=False, description="Before")
    in_highlevel(highlevel, only_booking().appointment_id, status="showed")
    patch(acme, {"title": "Other"})
    work_once()

    assert sent(highlevel) == [{"title": "Other", "appointmentStatus": "showed", "toNotify": False}]
    [entry] = highlevel.diary.everything()
    assert (entry.title, entry.status, entry.description) == ("Other", "showed", "Before")
    assert shown(acme)["appointmentStatus"] == "showed"


def test_it_sends_the_status_that_is_wished(acme: Persona, highlevel: World) -> None:
    booked(acme)
    patch(acme, {"appointmentStatus": "noshow"})
    work_once()

    assert sent(highlevel) == [{"appointmentStatus": "noshow"}]
    assert shown(acme)["appointmentStatus"] == "noshow"
    patch(acme, {"title": "Other"})
    work_once()
    assert sent(highlevel)[1] == {"title": "Other", "appointmentStatus": "noshow"}


def test_it_sends_nothing_that_highlevel_has_already(acme: Persona, highlevel: World) -> None:
    booked(acme)
    patch(acme, {"title": "Other"})
    patch(acme, {"title": "Test Event"})
    work_once()

    assert sent(highlevel) == []
    assert shown(acme)["inSync"] is True


def test_it_takes_another_zone_for_no_change(acme: Persona, highlevel: World) -> None:
    """HighLevel writes times back in the location's zone."""
    booked(acme, startTime="2027-06-22T22:00:00Z", endTime="2027-06-22T23:00:00Z")
    patch(acme, {"title": "Other"})
    work_once()

    assert sent(highlevel) == [{"title": "Other", "appointmentStatus": "confirmed"}]
    assert shown(acme)["startTime"] == "2027-06-22T22:00:00Z"


def test_it_tells_in_the_timeline(acme: Persona, highlevel: World) -> None:
    booked(acme)
    patch(acme, {"title": "Other"})
    work_once()
    patch(acme, {"assignedUserId": "stranger"})
    work_once()

    entries = acme.api.get(f"/api/v1/bookings/{only_booking().pk}/timeline").json()["results"][3:]

    told = [entry["reason"] or f"{entry['call']['method']} {entry['call']['status']}" for entry in entries]
    assert told == [
        "change requested", "GET 200", "PUT 200", "changed",
        "change requested", "GET 200", "PUT 422", "change taken back: assigned_user_invalid",
    ]  # fmt: skip


# --- Taken back ------------------------------------------------------------------------------------------------


def test_it_takes_back_what_highlevel_refuses(acme: Persona, highlevel: World) -> None:
    booked(acme, startTime=NEW_START, endTime=NEW_END)
    other = acme.book().json()["id"]
    work_once()

    acme.api.patch(
        f"/api/v1/bookings/{other}",
        {"startTime": NEW_START, "ignoreDateRange": True, "externalReference": "mine"},
        format="json",
    )
    work_once()

    booking = acme.api.get(f"/api/v1/bookings/{other}").json()
    assert booking["status"] == "booked"
    assert (booking["startTime"], booking["endTime"]) == (
        "2027-06-23T03:30:00+05:30",
        "2027-06-23T04:30:00+05:30",
    )
    assert booking["ignoreDateRange"] is None
    assert booking["externalReference"] == "mine"
    assert booking["error"]["code"] == "slot_unavailable"
    assert booking["inSync"] is True
    assert booking["nextAttemptAt"] is None


def test_it_forgets_the_error_of_a_change_with_the_next(acme: Persona, highlevel: World) -> None:
    booked(acme)
    patch(acme, {"assignedUserId": "stranger"})
    work_once()

    assert patch(acme, {"title": "Other"}).json()["error"] is None
    work_once()
    assert shown(acme)["error"] is None
    assert [entry.title for entry in highlevel.diary.everything()] == ["Other"]


@pytest.mark.django_db(transaction=True)
def test_it_takes_back_no_newer_wish(acme: Persona, highlevel: World) -> None:
    booked(acme)
    patch(acme, {"assignedUserId": "stranger"})
    order(highlevel, "hang_after", "update_appointment", seconds=0.4)
    with beside():
        until(lambda: calls(highlevel, "update_appointment"))
        patch(acme, {"assignedUserId": "0007BWpSzSwfiuSl0tR2", "title": "Other"})
    work_once()

    [entry] = highlevel.diary.everything()
    assert entry.title == "Other"
    assert shown(acme)["inSync"] is True
    assert shown(acme)["error"] is None


def test_it_tries_again_what_did_not_come_through(
    acme: Persona, highlevel: World, other_highlevel: Callable[..., None], settings: Any
) -> None:
    here = settings.GHL_API_BASE_URL
    booked(acme)
    patch(acme, {"title": "Other"})
    other_highlevel(url=NOBODY)
    hurry(only_booking())
    assert shown(acme)["error"]["code"] == "upstream_unavailable"
    assert shown(acme)["nextAttemptAt"] is not None
    assert shown(acme)["status"] == "booked"
    other_highlevel(url=here)

    hurry(only_booking())

    assert shown(acme)["inSync"] is True
    assert shown(acme)["error"] is None


def test_it_takes_back_what_could_not_be_changed_for_a_day(
    acme: Persona, highlevel: World, other_highlevel: Callable[..., None]
) -> None:
    booked(acme)
    other_highlevel(url=NOBODY)
    patch(acme, {"title": "Other"})
    hurry(only_booking())
    Booking.objects.update(change_requested_at=Now() - CHANGE_LIFE + timedelta(minutes=1))
    assert hurry(only_booking()).wish["title"] == "Other"

    Booking.objects.update(change_requested_at=Now() - CHANGE_LIFE)
    hurry(only_booking())

    booking = shown(acme)
    assert (booking["title"], booking["inSync"], booking["nextAttemptAt"]) == ("Test Event", True, None)
    assert booking["error"]["code"] == "expired"
    assert "ConnectError" in booking["error"]["detail"]


def test_it_takes_back_what_its_location_kept_waiting_for_a_day(acme: Persona, highlevel: World) -> None:
    booked(acme)
    acme.location.brake(Location.Waiting.SUSPENDED, None, Location.Status.SUSPENDED)
    patch(acme, {"title": "Other"})
    sweeping.sweep()
    assert shown(acme)["title"] == "Other"
    Booking.objects.update(change_requested_at=Now() - CHANGE_LIFE)

    sweeping.sweep()

    booking = shown(acme)
    assert (booking["title"], booking["inSync"], booking["nextAttemptAt"]) == ("Test Event", True, None)
    assert booking["error"]["code"] == "expired"


def test_it_counts_the_day_from_the_last_change(acme: Persona, highlevel: World) -> None:
    booked(acme)
    patch(acme, {"title": "Other"})
    Booking.objects.update(change_requested_at=Now() - CHANGE_LIFE)
    patch(acme, {"title": "Third"})

    work_once()

    assert [entry.title for entry in highlevel.diary.everything()] == ["Third"]
    assert only_booking().change_requested_at is None


def test_it_takes_back_a_change_of_what_was_uninstalled(acme: Persona) -> None:
    booked(acme)
    patch(acme, {"title": "Other"})
    Location.objects.update(status=Location.Status.UNINSTALLED)

    work_once()

    assert shown(acme)["error"]["code"] == "location_uninstalled"
    assert (shown(acme)["status"], shown(acme)["title"]) == ("booked", "Test Event")


def test_it_holds_a_change_with_its_location(acme: Persona, highlevel: World) -> None:
    booked(acme)
    patch(acme, {"title": "Other"})
    highlevel.revoke_tokens(acme.location.pk, refresh=True)
    work_once()

    assert shown(acme)["status"] == "booked"
    assert shown(acme)["error"]["code"] == "location_needs_reconnect"
    assert shown(acme)["inSync"] is False


# --- Entity tags -----------------------------------------------------------------------------------------------


def test_it_gives_the_same_tag_everywhere(acme: Persona) -> None:
    accepted = acme.book()
    read = acme.api.get(accepted.headers["Location"])
    assert accepted.headers["ETag"] == read.headers["ETag"]
    assert read.headers["ETag"].startswith('"')
    changed = patch(acme, {"title": "Other"})
    assert changed.headers["ETag"] == acme.api.get(accepted.headers["Location"]).headers["ETag"]
    assert changed.headers["ETag"] != read.headers["ETag"]
    cancelled = acme.api.post(accepted.headers["Location"] + "/cancel")
    assert cancelled.headers["ETag"] == acme.api.get(accepted.headers["Location"]).headers["ETag"]
    assert cancelled.headers["ETag"] != changed.headers["ETag"]


def test_it_keeps_the_tag_while_workers_try(acme: Persona, highlevel: World) -> None:
    tag = acme.book().headers["ETag"]
    for kind in ("cut_before", "error_500_before"):
        order(highlevel, kind)
    for _ in range(3):
        hurry(only_booking())
        assert acme.api.get(f"/api/v1/bookings/{only_booking().pk}").headers["ETag"] == tag
    order(highlevel, "too_many_requests", "list_events", times=None)
    hurry(only_booking())

    assert patch(acme, {"title": "x"}, **{"If-Match": tag}).status_code == 202


def test_it_changes_only_what_the_caller_has_seen(acme: Persona) -> None:
    tag = acme.book().headers["ETag"]
    assert patch(acme, {"title": "A"}, **{"If-Match": f'"other", {tag}'}).status_code == 202

    for given in (tag, f'"x", {tag}', "", f"w/{only_booking().etag}", f"W/{tag}", '"*"', "W/", '"'):
        is_problem(patch(acme, {"title": "B"}, **{"If-Match": given}), 412, "precondition_failed")
        cancel = {"appointmentStatus": "cancelled"}
        is_problem(patch(acme, cancel, **{"If-Match": given}), 412, "precondition_failed")
        answer = acme.api.post(f"/api/v1/bookings/{only_booking().pk}/cancel", headers={"If-Match": given})
        is_problem(answer, 412, "precondition_failed")
    assert shown(acme)["title"] == "A"
    assert shown(acme)["cancelRequestedAt"] is None

    assert patch(acme, {"title": "B"}, **{"If-Match": "*"}).status_code == 202
    both = {"title": "C", "appointmentStatus": "cancelled"}
    assert patch(acme, both, **{"If-Match": only_booking().etag}).json()["status"] == "cancelled"


@pytest.mark.parametrize(
    "rewritten",
    [
        'W/"{}"',
        '"{}-gzip"',
        'W/"{}-gzip"',
        '"{}--gzip"',
        '"{};gzip"',
        '"{}-br"',
        '"x-gzip", W/"{}-zstd" , "y"',
    ],
)
def test_it_knows_a_tag_again_that_a_proxy_has_rewritten(acme: Persona, rewritten: str) -> None:
    tag = acme.book().headers["ETag"].strip('"')
    given = {"If-Match": rewritten.format(tag)}

    assert patch(acme, {"title": "A"}, **given).status_code == 202
    is_problem(patch(acme, {"title": "B"}, **given), 412, "precondition_failed")


@pytest.mark.parametrize(("changes", "status"), [({}, "pending"), ({"appointment_id": "a"}, "booked")])
def test_it_tells_two_states_apart(acme: Persona, changes: dict[str, str], status: str) -> None:
    tag = acme.book().headers["ETag"]
    Booking.objects.update(status=status, cancel_requested_at=Now(), **changes)

    is_problem(patch(acme, {"metadata": {}}, **{"If-Match": tag}), 412, "precondition_failed")


def test_it_spends_no_fault_on_itself(acme: Persona, highlevel: World) -> None:
    """A refused token is renewed in the middle of a change as in the middle of a create."""
    booked(acme)
    patch(acme, {"title": "Other"})
    highlevel.faults.add(Fault("token_revoked", "update_appointment"))

    work_once()

    assert shown(acme)["inSync"] is True
    assert calls(highlevel, "update_appointment") == 2
