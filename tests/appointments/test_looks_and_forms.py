"""A create's answer is lost, staff moves what it made, and the letters are lost too: it is found in whatever form
HighLevel lists it (rule 5), and what is somebody else's is left alone."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from appointments import look
from appointments.models import Booking
from sandbox import World
from sandbox.forms import FORMS
from sandbox.records import Appointment, new_id
from tests.appointments.conftest import calls, order, settle
from tests.appointments.test_staff_changes import HOUR, move, unsure
from tests.fixtures import (
    ACME_LOCATION,
    Persona,
    booking_body,
    hurry,
    only_booking,
    work_once,
)

ENTRIES = [{"contact_entry": form} for form in FORMS["contact_entry"]]
BARE = [{"bare_times": zone} for zone in FORMS["bare_times"]]
EVENTS = [{"dates": form} for form in FORMS["dates"]]
UNCHECKED = {"ignoreFreeSlotValidation": True, "assignedUserId": "0007BWpSzSwfiuSl0tR2"}


def staffs(highlevel: World, like: Appointment, **changes: Any) -> Appointment:
    """An appointment of the same contact that somebody else has made."""
    end = like.ends_at + 3 * HOUR
    entry = replace(like, id=new_id(), starts_at=like.starts_at + 3 * HOUR, ends_at=end, **changes)
    highlevel.diary.keep(entry)
    return entry


@pytest.mark.parametrize("form", [*ENTRIES, *BARE, *EVENTS, {"event_optional": "required_alone"}])
def test_it_finds_what_was_moved_in_whatever_form_it_is_listed(
    acme: Persona, highlevel: World, form: dict[str, str]
) -> None:
    highlevel.forms.pin(**form)
    unsure(acme, highlevel)
    move(highlevel)

    booking = settle(settle(only_booking()))

    [entry] = highlevel.diary.everything()
    assert (booking.status, booking.appointment_id) == (Booking.Status.BOOKED, entry.id)
    assert calls(highlevel) == 1


def test_it_finds_what_was_moved_with_dates_that_have_an_offset(acme: Persona, highlevel: World) -> None:
    highlevel.settings.bare_contact_dates = False
    unsure(acme, highlevel)
    move(highlevel)

    assert hurry(only_booking()).status == Booking.Status.BOOKED
    assert calls(highlevel) == 1


@pytest.mark.parametrize("title", ["Test Event", None])
@pytest.mark.parametrize("calendar", ["its own", "another"])
@pytest.mark.parametrize("renamed", [False, True])
def test_it_finds_what_was_moved_and_renamed(
    acme: Persona, highlevel: World, title: str | None, calendar: str, renamed: bool
) -> None:
    unsure(acme, highlevel, title=title)
    changes: dict[str, Any] = {"title": "Staff's"} if renamed else {}
    if calendar == "another":
        changes["calendar_id"] = highlevel.add_calendar(ACME_LOCATION).id
    # Dates may be to the second, by which a change within the same one cannot be told from none.
    highlevel.clock.advance(1)
    move(highlevel, **changes)

    booking = settle(settle(only_booking()))

    [entry] = highlevel.diary.everything()
    assert (booking.status, booking.appointment_id) == (Booking.Status.BOOKED, entry.id)
    assert calls(highlevel) == 1


@pytest.mark.parametrize("form", [*ENTRIES, *BARE])
@pytest.mark.parametrize(
    "older_by", [timedelta(minutes=10), timedelta(hours=5, minutes=30), timedelta(days=30)]
)
def test_it_adopts_no_older_appointment_of_the_contact(
    acme: Persona, highlevel: World, form: dict[str, str], older_by: timedelta
) -> None:
    """Under the same title, touched since, and of one calendar with it."""
    highlevel.forms.pin(**form)
    unsure(acme, highlevel)
    [made] = highlevel.diary.everything()
    highlevel.diary.remove(made)
    older = made.added_at - older_by
    staffs(highlevel, made, added_at=older, updated_at=made.updated_at + timedelta(milliseconds=5))

    booking = settle(settle(only_booking()))

    assert booking.status == Booking.Status.BOOKED
    assert calls(highlevel) == 2
    assert len(highlevel.diary.everything()) == 2


@pytest.mark.parametrize(
    "how", [{"source": "booking_widget", "title": "Theirs"}, {"minutes_later": 20, "title": "Theirs"}]
)
def test_it_adopts_nothing_of_another_title_that_people_made_or_that_came_later(
    acme: Persona, highlevel: World, how: dict[str, Any]
) -> None:
    highlevel.forms.pin(event_optional="full")
    unsure(acme, highlevel)
    [made] = highlevel.diary.everything()
    highlevel.diary.remove(made)
    added = made.added_at + timedelta(minutes=how.pop("minutes_later", 0))
    changed = added + timedelta(milliseconds=5)
    staffs(highlevel, made, added_at=added, updated_at=changed, **how)

    booking = settle(settle(only_booking()))

    assert booking.status == Booking.Status.BOOKED
    assert calls(highlevel) == 2


def test_it_leaves_to_another_create_what_stands_under_its_title(acme: Persona, highlevel: World) -> None:
    """Two creates of a contact get no answer; the second was done, and moved since."""
    order(highlevel, "error_500_before")
    order(highlevel, "error_500_after")
    acme.book()
    acme.book(booking_body(title="Other", startTime="2027-06-25T03:30:00+05:30", endTime=None))
    work_once()
    first, second = Booking.objects.order_by("id")
    move(highlevel)

    assert hurry(first).appointment_id is None
    assert hurry(second).status == Booking.Status.BOOKED


@pytest.mark.parametrize("done", [0, 1])
def test_it_leaves_what_staff_moved_and_renamed_to_the_create_that_made_it(
    acme: Persona, highlevel: World, done: int
) -> None:
    """Two creates of a contact get no answer, five seconds apart, and one was done: neither place nor title tells."""
    highlevel.forms.pin(event_optional="full")
    for number in range(2):
        order(highlevel, "error_500_after" if number == done else "error_500_before")
    acme.book()
    acme.book(booking_body(title="Other", startTime="2027-06-25T03:30:00+05:30", endTime=None))
    work_once()
    bookings = list(Booking.objects.order_by("id"))
    later = timedelta(seconds=5)
    Booking.objects.filter(pk=bookings[1].pk).update(
        intent_at=F("intent_at") + later, call_deadline=F("call_deadline") + later
    )
    [made] = highlevel.diary.everything()
    highlevel.diary.remove(made)
    highlevel.diary.keep(replace(made, added_at=made.added_at + done * later))
    highlevel.clock.advance(10)
    move(highlevel, title="Staff's")

    assert hurry(bookings[1 - done]).appointment_id is None
    assert hurry(bookings[done]).appointment_id == made.id


def test_it_reads_all_there_are_before_it_believes_that_there_is_none(
    acme: Persona, highlevel: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "MOST_READ", 2)
    highlevel.forms.pin(contact_entry="id_alone")
    unsure(acme, highlevel)
    [made] = highlevel.diary.everything()
    for number in range(5):
        other = staffs(highlevel, made, added_at=made.added_at - timedelta(days=1))
        highlevel.diary.remove(other)
        highlevel.diary.keep(replace(other, id=f"zzzzzzzzzzzzzzzzzz{number:02}"))
    move_later = {"starts_at": made.starts_at + HOUR, "ends_at": made.ends_at + HOUR}
    changed = made.updated_at + timedelta(seconds=5)
    highlevel.diary.remove(made)
    highlevel.diary.keep(replace(made, id="00000000000000000000", updated_at=changed, **move_later))

    looks = [settle(only_booking()).appointment_id for _ in range(3)]

    assert looks == [None, None, "00000000000000000000"]
    assert calls(highlevel) == 1
