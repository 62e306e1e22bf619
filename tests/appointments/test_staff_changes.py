"""What somebody changes in HighLevel's own pages wins over what the tenant wished for before (rule 12)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from appointments.models import Booking
from sandbox import World
from tests.appointments.conftest import beside, calls, in_highlevel, order, sent, settle, until
from tests.appointments.test_changing import NEW_START, booked, patch, shown, starts
from tests.fixtures import (
    ACME_CALENDAR,
    ACME_CONTACT,
    ACME_LOCATION,
    Persona,
    booking_body,
    hurry,
    only_booking,
    work_once,
)

HOUR = timedelta(hours=1)
NOON = datetime(2027, 6, 24, 12, tzinfo=UTC)
OTHER_CALENDAR = "otherCalendar"
MOVED = "2027-06-23T04:30:00+05:30"


def move(highlevel: World, **changes: Any) -> None:
    [entry] = highlevel.diary.everything()
    in_highlevel(
        highlevel, entry.id, starts_at=entry.starts_at + HOUR, ends_at=entry.ends_at + HOUR, **changes
    )


def test_it_lets_a_move_stand(acme: Persona, highlevel: World) -> None:
    """Staff moves 10 to 11; the tenant's next change must not move it back."""
    highlevel.forms.pin(times="offset")
    booked(acme)
    move(highlevel)

    patch(acme, {"title": "Other"})
    work_once()

    assert starts(highlevel) == [MOVED]
    assert (shown(acme)["startTime"], shown(acme)["inSync"]) == (MOVED, True)
    assert shown(acme)["endTime"] == "2027-06-23T05:30:00+05:30"
    assert only_booking().starts_at.isoformat() == "2027-06-22T23:00:00+00:00"
    assert sent(highlevel) == [{"title": "Other", "appointmentStatus": "confirmed"}]


def test_it_keeps_what_the_tenant_wished_since(acme: Persona, highlevel: World) -> None:
    booked(acme)
    patch(acme, {"startTime": NEW_START})
    move(highlevel, title="Staff's", description="Staff's too")
    work_once()

    [entry] = highlevel.diary.everything()
    assert starts(highlevel) == [NEW_START]
    assert (entry.title, entry.description) == ("Staff's", "Staff's too")
    assert shown(acme)["title"] == "Staff's"
    assert shown(acme)["inSync"] is True


def test_it_takes_over_what_it_sent_and_had_not_seen_yet(acme: Persona, highlevel: World) -> None:
    """Answers to a create do not show the description."""
    booked(acme, description="Tenant's")
    in_highlevel(highlevel, only_booking().appointment_id, description="Staff's")
    patch(acme, {"title": "Other"})
    work_once()

    assert shown(acme)["description"] == "Staff's"
    assert [each.description for each in highlevel.diary.everything()] == ["Staff's"]


def test_it_takes_a_first_sight_for_no_change(acme: Persona, highlevel: World) -> None:
    booked(acme)
    in_highlevel(highlevel, only_booking().appointment_id, description="Notes")
    patch(acme, {"title": "Other"})
    work_once()

    assert "description" not in only_booking().wish
    assert shown(acme)["description"] == "Notes"


@pytest.mark.django_db(transaction=True)
def test_it_notices_later_what_was_changed_between_its_reading_and_writing(
    acme: Persona, highlevel: World
) -> None:
    highlevel.forms.pin(times="offset")
    booked(acme)
    patch(acme, {"title": "Other"})
    order(highlevel, "hang_after", "update_appointment", seconds=0.3)
    with beside():
        until(lambda: calls(highlevel, "update_appointment"))
        move(highlevel)
    patch(acme, {"title": "Third"})
    work_once()

    assert starts(highlevel) == [MOVED]
    assert shown(acme)["startTime"] == MOVED
    assert all("startTime" not in body for body in sent(highlevel))


@pytest.mark.parametrize("how", ["cancelled", "deleted"])
@pytest.mark.parametrize("when", ["before the read", "before the write"])
@pytest.mark.django_db(transaction=True)
def test_it_ends_with_what_was_cancelled_in_highlevel(
    acme: Persona, highlevel: World, how: str, when: str
) -> None:
    booking = booked(acme)

    def end() -> None:
        if how == "deleted":
            highlevel.diary.remove(highlevel.diary.everything()[0])
        else:
            in_highlevel(highlevel, booking.appointment_id, status="cancelled")

    patch(acme, {"title": "Other"})
    if when == "before the read" or how == "cancelled":
        end()
        work_once()
    else:
        order(highlevel, "hang_after", "update_appointment", seconds=0.3)
        with beside():
            until(lambda: calls(highlevel, "update_appointment"))
            end()

    ended = shown(acme)
    assert (ended["status"], ended["appointmentStatus"]) == ("cancelled", "cancelled")
    assert (ended["error"], ended["nextAttemptAt"], ended["inSync"]) == (None, None, True)
    assert all(each.status == "cancelled" for each in highlevel.diary.everything())


def test_it_revives_what_the_tenant_wishes_to_have_another_status(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)
    in_highlevel(highlevel, booking.appointment_id, status="cancelled")
    patch(acme, {"appointmentStatus": "new"})
    work_once()

    assert (shown(acme)["status"], shown(acme)["appointmentStatus"]) == ("booked", "new")
    assert [each.status for each in highlevel.diary.everything()] == ["new"]


# --- Before the look (rule 5) ---------------------------------------------------------------------------------


def unsure(acme: Persona, highlevel: World, **changes: Any) -> None:
    order(highlevel, "error_500_after")
    acme.book(booking_body(**changes))
    work_once()


def test_it_finds_what_was_moved_before_the_look(acme: Persona, highlevel: World) -> None:
    highlevel.forms.pin(times="offset")
    unsure(acme, highlevel)
    move(highlevel)

    hurry(only_booking())

    [entry] = highlevel.diary.everything()
    booking = shown(acme)
    assert (booking["status"], booking["appointmentId"]) == ("booked", entry.id)
    assert (booking["startTime"], booking["inSync"]) == (MOVED, True)
    assert starts(highlevel) == [MOVED]
    assert (calls(highlevel), sent(highlevel)) == (1, [])


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize(
    "changes",
    [
        {"start_time": NOON},
        {"start_time": NOON, "title": "Staff's"},
        {"start_time": NOON, "calendar_id": OTHER_CALENDAR},
        {"start_time": NOON, "status": "cancelled"},
    ],
    ids=["moved", "and renamed", "to another calendar", "and cancelled"],
)
def test_it_books_nothing_twice_however_the_contacts_list_writes_its_dates(
    acme: Persona, highlevel: World, changes: dict[str, Any], bare: bool
) -> None:
    """The create's answer is lost, staff changes it, no event comes, and the list's dates may have no offset."""
    highlevel.settings.bare_contact_dates = bare
    highlevel.add_calendar(ACME_LOCATION, "Other", id=OTHER_CALENDAR)
    unsure(acme, highlevel)
    [entry] = highlevel.diary.everything()
    # Dates may be to the second, by which a change within the same one cannot be told from none.
    highlevel.clock.advance(1)
    highlevel.staff_change(entry.id, **changes)

    for _ in range(3):
        settle(only_booking())

    assert calls(highlevel) == 1
    assert (only_booking().appointment_id, len(highlevel.diary.everything())) == (entry.id, 1)


def test_it_takes_no_older_appointment_of_the_contact_for_its_own(acme: Persona, highlevel: World) -> None:
    """A day older, changed by staff just now, and under the same title."""
    older = highlevel.staff_book(ACME_CALENDAR, ACME_CONTACT, NOON, title="Test Event")
    in_highlevel(highlevel, older.id, added_at=older.added_at - timedelta(days=1))
    order(highlevel, "error_500_before")
    acme.book()
    work_once()
    highlevel.staff_change(older.id, start_time=NOON + timedelta(hours=1))

    for _ in range(3):
        settle(only_booking())

    assert only_booking().status == "booked"
    assert only_booking().appointment_id != older.id
    assert calls(highlevel) == 2


def test_it_keeps_a_newer_wish_for_what_was_moved_before_the_look(acme: Persona, highlevel: World) -> None:
    unsure(acme, highlevel)
    patch(acme, {"startTime": NEW_START})
    move(highlevel)

    hurry(only_booking())

    assert starts(highlevel) == [NEW_START]
    assert shown(acme)["inSync"] is True
    assert calls(highlevel) == 1


def test_it_keeps_a_newer_title_of_what_was_moved_before_the_look(acme: Persona, highlevel: World) -> None:
    highlevel.forms.pin(times="offset")
    unsure(acme, highlevel)
    patch(acme, {"title": "Other"})
    move(highlevel)

    hurry(only_booking())

    [entry] = highlevel.diary.everything()
    assert (starts(highlevel), entry.title) == ([MOVED], "Other")
    assert shown(acme)["startTime"] == MOVED


@pytest.mark.parametrize("moved", [True, False])
def test_it_finds_what_was_cancelled_before_the_look(acme: Persona, highlevel: World, moved: bool) -> None:
    unsure(acme, highlevel)
    if moved:
        move(highlevel, status="cancelled")
    else:
        in_highlevel(highlevel, highlevel.diary.everything()[0].id, status="cancelled")

    hurry(only_booking())

    assert shown(acme)["status"] == Booking.Status.CANCELLED
    assert shown(acme)["inSync"] is True
    assert (calls(highlevel), sent(highlevel)) == (1, [])


def test_it_finds_what_was_renamed_before_the_look(acme: Persona, highlevel: World) -> None:
    unsure(acme, highlevel)
    in_highlevel(highlevel, highlevel.diary.everything()[0].id, title="Staff's")

    hurry(only_booking())

    assert (shown(acme)["title"], shown(acme)["inSync"]) == ("Staff's", True)
    assert calls(highlevel) == 1


def test_it_leaves_to_a_twin_what_stands_where_the_twin_wants_it(acme: Persona, highlevel: World) -> None:
    """Two bookings of a contact time out; only the second was done, an hour later than the first wants it."""
    order(highlevel, "error_500_before")
    order(highlevel, "error_500_after")
    acme.book()
    acme.book(booking_body(startTime=MOVED, endTime="2027-06-23T05:30:00+05:30"))
    work_once()
    first, second = Booking.objects.order_by("id")
    in_highlevel(highlevel, highlevel.diary.everything()[0].id, description="touched")

    assert hurry(first).appointment_id is None
    assert hurry(second).status == Booking.Status.BOOKED
