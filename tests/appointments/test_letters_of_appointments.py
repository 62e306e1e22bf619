"""HighLevel's letters about appointments: in any order, twice or late, they lead to what HighLevel has (rule 12)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from django.db.models import F

from appointments import sweeping
from appointments.models import Booking, TimelineEntry
from oauth.models import Account, Location
from sandbox import World
from sandbox.letters import PUBLIC_KEY_PEM
from sandbox.records import Appointment
from tests.appointments.conftest import beside, calls, finished, order, sent, settle, until
from tests.appointments.post import deliver, letters, process_again
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
from webhooks.models import Letter

NOON, EVENING = datetime(2027, 6, 24, 12, tzinfo=UTC), datetime(2027, 6, 24, 18, tzinfo=UTC)
SERIES = {
    "rrule": "FREQ=DAILY;COUNT=3",
    "ignoreFreeSlotValidation": True,
    "assignedUserId": "0007BWpSzSwfiuSl0tR2",
}


@pytest.fixture(autouse=True)
def _sandboxs_key(settings: Any, other_highlevel: Callable[..., None]) -> None:
    settings.GHL_WEBHOOK_PUBLIC_KEYS = PUBLIC_KEY_PEM
    # Late answers are waited for, however busy the machine is.
    other_highlevel(timeout=20)


def only_entry(highlevel: World) -> Appointment:
    [entry] = highlevel.diary.everything()
    return entry


def reads(highlevel: World) -> int:
    return calls(highlevel, "get_appointment")


def noted(booking: Booking | None = None) -> list[str]:
    """The reasons in the timeline, from the booking of it on."""
    entries = TimelineEntry.objects.filter(booking=booking or only_booking(), kind="state")
    return list(entries.order_by("id").values_list("reason", flat=True))


def answer_late(highlevel: World, operation: str) -> None:
    """HighLevel does the next such call at once, and its answer takes its time."""
    order(highlevel, "dribble", operation, seconds=1.2)


def is_done(highlevel: World, operation: str) -> bool:
    return calls(highlevel, operation) > 0 and finished(highlevel)


def told(highlevel: World) -> None:
    """All that HighLevel has written until now is delivered, and worked off."""
    deliver(letters(highlevel))
    work_once()


def told_by_hand(highlevel: World, kind: str, **changes: Any) -> None:
    """A letter like the first one, with something changed."""
    first = letters(highlevel)[0].content
    content = {"type": kind, "webhookId": "by hand", "appointment": {**first["appointment"], **changes}}
    deliver([highlevel.letters.post({**first, **content})])
    work_once()


# --- What staff does --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "start"),
    [
        ("offset", "2027-06-24T17:30:00+05:30"),
        ("utc", "2027-06-24T12:00:00Z"),
        ("utc_milliseconds", "2027-06-24T12:00:00Z"),
    ],
)
def test_it_takes_over_a_move(acme: Persona, highlevel: World, times: str, start: str) -> None:
    highlevel.forms.pin(times=times)
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), start_time=NOON)

    told(highlevel)

    moved = shown(acme)
    assert only_booking().starts_at == NOON
    assert moved["startTime"] == start
    assert (moved["status"], moved["inSync"], moved["nextAttemptAt"]) == ("booked", True, None)
    assert noted()[-1] == "changed in HighLevel"
    assert sent(highlevel) == []


def test_it_takes_over_what_else_is_changed(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), title="Staff's", description="Notes")

    told(highlevel)

    assert (shown(acme)["title"], shown(acme)["description"]) == ("Staff's", "Notes")
    assert noted()[-1] == "changed in HighLevel"


@pytest.mark.parametrize("status", ["showed", "noshow", "new", "confirmed"])
def test_it_shows_what_became_of_the_appointment(acme: Persona, highlevel: World, status: str) -> None:
    booking = booked(acme, appointmentStatus="new" if status == "confirmed" else "confirmed")
    highlevel.staff_change(str(booking.appointment_id), status=status)

    told(highlevel)

    assert (shown(acme)["status"], shown(acme)["appointmentStatus"]) == ("booked", status)


@pytest.mark.parametrize("status", ["cancelled", "invalid"])
def test_it_ends_with_what_is_cancelled(acme: Persona, highlevel: World, status: str) -> None:
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), status=status)

    told(highlevel)

    ended = shown(acme)
    assert (ended["status"], ended["appointmentStatus"], ended["inSync"]) == ("cancelled", status, True)
    assert noted()[-1] == "cancelled in HighLevel"
    assert sent(highlevel) == []


def test_it_does_not_take_for_cancelled_what_the_tenant_calls_invalid(
    acme: Persona, highlevel: World
) -> None:
    booking = booked(acme, appointmentStatus="invalid")
    highlevel.staff_change(str(booking.appointment_id), title="Staff's")

    told(highlevel)

    assert (shown(acme)["status"], shown(acme)["title"]) == ("booked", "Staff's")


@pytest.mark.parametrize("kinds", [("AppointmentDelete",), ("AppointmentUpdate",)])
def test_it_ends_with_what_is_deleted(acme: Persona, highlevel: World, kinds: tuple[str, ...]) -> None:
    """Also where the letter of the end is lost and another one comes."""
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), title="Staff's")
    highlevel.staff_delete(str(booking.appointment_id))

    deliver(letters(highlevel, *kinds))
    work_once()

    assert (shown(acme)["status"], shown(acme)["appointmentStatus"]) == ("cancelled", "cancelled")
    assert noted()[-1] == "deleted in HighLevel"
    assert shown(acme)["nextAttemptAt"] is None


@pytest.mark.parametrize("changes", [{}, {"appointmentStatus": "cancelled"}, {"title": "Forged"}])
@pytest.mark.parametrize("kind", ["AppointmentCreate", "AppointmentUpdate", "AppointmentDelete"])
def test_it_believes_no_event_but_what_highlevel_answers(
    acme: Persona, highlevel: World, kind: str, changes: dict[str, str]
) -> None:
    booked(acme)

    told_by_hand(highlevel, kind, **changes, dateUpdated="2027-01-01T00:00:00Z")

    assert (shown(acme)["status"], shown(acme)["title"]) == ("booked", "Test Event")
    assert reads(highlevel) == 1


def test_an_events_time_to_come_hides_nothing_that_follows(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)
    told_by_hand(highlevel, "AppointmentUpdate", dateUpdated="2099-01-01T00:00:00Z")
    highlevel.staff_change(str(booking.appointment_id), start_time=NOON)

    told(highlevel)

    assert only_booking().starts_at == NOON


def test_it_notes_what_is_brought_back_and_stays_ended(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), status="cancelled")
    told(highlevel)
    highlevel.staff_change(str(booking.appointment_id), status="confirmed")

    told(highlevel)

    assert (shown(acme)["status"], shown(acme)["appointmentStatus"]) == ("cancelled", "confirmed")
    assert noted()[-2:] == ["cancelled in HighLevel", "active again in HighLevel"]
    assert only_entry(highlevel).status == "confirmed"


def test_it_keeps_what_the_tenant_wished_since(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), start_time=NOON, title="Staff's")
    patch(acme, {"startTime": NEW_START})

    told(highlevel)

    assert starts(highlevel) == [NEW_START]
    assert (shown(acme)["startTime"], shown(acme)["title"]) == (NEW_START, "Staff's")
    assert shown(acme)["inSync"] is True


# --- Our own voice ----------------------------------------------------------------------------------------------


def test_it_knows_its_own_acts(acme: Persona, highlevel: World) -> None:
    """A create, a change and a cancel come back by letter, and nothing is asked or noted for them."""
    # By the second, a change soon after cannot be told from what it follows.
    highlevel.forms.pin(dates="utc_milliseconds")
    booked(acme, description="Tenant's")
    told(highlevel)
    assert only_booking().known_as_of == only_entry(highlevel).updated_at.replace(
        microsecond=only_entry(highlevel).updated_at.microsecond // 1000 * 1000
    )
    patch(acme, {"title": "Other", "description": "Other too"})
    work_once()
    asked, written = reads(highlevel), noted()
    told(highlevel)
    assert (reads(highlevel), noted()) == (asked, written)

    acme.api.post(f"/api/v1/bookings/{only_booking().pk}/cancel")
    work_once()
    written = noted()
    told(highlevel)

    assert (reads(highlevel), noted()) == (asked, written)
    assert not only_booking().has_news


def test_it_takes_what_highlevel_fills_in_for_no_change(acme: Persona, highlevel: World) -> None:
    """A new appointment's letter may show more than the answer to its create did."""
    booked(acme)

    told_by_hand(highlevel, "AppointmentCreate", notes="Filled in")

    assert reads(highlevel) == 0


@pytest.mark.django_db(transaction=True)
def test_it_knows_its_own_create_before_its_answer(acme: Persona, highlevel: World) -> None:
    acme.book()
    answer_late(highlevel, "create_appointment")
    with beside():
        until(lambda: is_done(highlevel, "create_appointment"))
        deliver(letters(highlevel))

    assert only_booking().status == Booking.Status.BOOKED
    assert (reads(highlevel), calls(highlevel)) == (0, 1)
    assert not only_booking().has_news


@pytest.mark.django_db(transaction=True)
def test_it_knows_its_own_change_before_its_answer(acme: Persona, highlevel: World) -> None:
    # What no answer has shown before is read once more.
    highlevel.forms.pin(dates="utc_milliseconds", created_answer="full", event_optional="full")
    booked(acme)
    patch(acme, {"title": "Other"})
    answer_late(highlevel, "update_appointment")
    with beside():
        until(lambda: is_done(highlevel, "update_appointment"))
        deliver(letters(highlevel))

    assert shown(acme)["inSync"] is True
    assert reads(highlevel) == 1, "the one before the change"
    assert not only_booking().has_news


@pytest.mark.django_db(transaction=True)
def test_it_does_not_lose_what_happens_before_its_create_is_answered(acme: Persona, highlevel: World) -> None:
    """Staff moves what we have not heard of yet; its letter comes while nobody owns it."""
    acme.book()
    answer_late(highlevel, "create_appointment")
    with beside():
        until(lambda: is_done(highlevel, "create_appointment"))
        highlevel.staff_change(only_entry(highlevel).id, start_time=NOON)
        deliver(letters(highlevel))
    work_once()

    assert only_booking().starts_at == NOON
    assert shown(acme)["inSync"] is True


@pytest.mark.parametrize("how", ["deleted", "cancelled"])
@pytest.mark.django_db(transaction=True)
def test_it_ends_with_what_ends_before_its_create_is_answered(
    acme: Persona, highlevel: World, how: str
) -> None:
    acme.book()
    answer_late(highlevel, "create_appointment")
    with beside():
        until(lambda: is_done(highlevel, "create_appointment"))
        entry = only_entry(highlevel)
        if how == "deleted":
            highlevel.staff_delete(entry.id)
        else:
            highlevel.staff_change(entry.id, status="cancelled")
        deliver(letters(highlevel))
    work_once()

    assert shown(acme)["status"] == "cancelled"
    assert noted()[-1] == f"{how} in HighLevel"


# --- Order and number -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sequence", list(permutations(range(4))))
def test_it_ends_up_with_the_newest_in_whatever_order_letters_come(
    acme: Persona, highlevel: World, sequence: tuple[int, ...]
) -> None:
    booking = booked(acme)
    for changes in ({"start_time": NOON}, {"title": "Staff's"}, {"start_time": EVENING, "status": "showed"}):
        highlevel.staff_change(str(booking.appointment_id), **changes)  # type: ignore[arg-type]
    written = letters(highlevel)

    for number in sequence:
        deliver([written[number]])
        work_once()

    assert only_booking().starts_at == EVENING
    assert (shown(acme)["title"], shown(acme)["appointmentStatus"]) == ("Staff's", "showed")
    assert sent(highlevel) == []


def test_it_asks_nothing_for_older_news(acme: Persona, highlevel: World) -> None:
    highlevel.forms.pin(dates="utc_milliseconds")
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), start_time=NOON)
    highlevel.staff_change(str(booking.appointment_id), start_time=EVENING)
    older, newer = letters(highlevel, "AppointmentUpdate")
    deliver([newer])
    work_once()
    asked, written = reads(highlevel), noted()

    deliver([older])
    work_once()

    assert (reads(highlevel), noted()) == (asked, written)
    assert only_booking().starts_at == EVENING


def test_it_takes_a_letter_twice_for_one(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), start_time=NOON)
    told(highlevel)
    asked, written = reads(highlevel), noted()

    told(highlevel)
    process_again(letters(highlevel)[-1])
    work_once()

    assert (reads(highlevel), noted()) == (asked, written)


@pytest.mark.django_db(transaction=True)
def test_it_looks_once_more_at_what_happens_while_it_looks(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), title="First")
    deliver(letters(highlevel))
    answer_late(highlevel, "get_appointment")
    with beside():
        until(lambda: is_done(highlevel, "get_appointment"))
        highlevel.staff_change(str(booking.appointment_id), title="Second")
        deliver(letters(highlevel))
    work_once()

    assert shown(acme)["title"] == "Second"
    assert not only_booking().has_news


@pytest.mark.django_db(transaction=True)
def test_it_does_not_mistake_what_is_changed_back_while_it_looks(acme: Persona, highlevel: World) -> None:
    """What is read is about to become the known; the letter says what still is the known."""
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), title="Staff's")
    deliver(letters(highlevel))
    answer_late(highlevel, "get_appointment")
    with beside():
        until(lambda: is_done(highlevel, "get_appointment"))
        highlevel.staff_change(str(booking.appointment_id), title="Test Event")
        deliver(letters(highlevel))
    work_once()

    assert shown(acme)["title"] == "Test Event"


def test_it_loses_no_news_with_its_worker(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)
    claimed = Booking.objects.filter(pk=booking.pk).update(lease="019d0000-0000-7000-8000-000000000000")
    Booking.objects.filter(pk=booking.pk).update(lease_until=F("updated_at") + timedelta(minutes=1))
    highlevel.staff_change(str(booking.appointment_id), start_time=NOON)
    told(highlevel)
    assert claimed
    assert only_booking().starts_at != NOON, "somebody else is at it"

    Booking.objects.update(lease_until=F("updated_at") - timedelta(minutes=1))
    work_once()

    assert only_booking().starts_at == NOON


# --- Trouble ----------------------------------------------------------------------------------------------------


def test_it_comes_back_where_the_appointment_could_not_be_read(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), start_time=NOON)
    order(highlevel, "error_500_before", "get_appointment")
    told(highlevel)

    waiting = shown(acme)
    assert (waiting["status"], waiting["inSync"], waiting["error"]) == ("booked", True, None)
    assert waiting["nextAttemptAt"] is not None

    assert hurry(only_booking()).starts_at == NOON


def test_it_lets_news_rest_where_the_app_is_gone(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), start_time=NOON)
    acme.location.disconnect()
    told(highlevel)
    sweeping.sweep()
    work_once()

    resting = only_booking()
    assert (resting.status, resting.error, resting.next_attempt_at) == ("booked", None, None)
    assert "taken back" not in " ".join(noted())


def test_it_goes_on_with_a_change_that_was_taken_back_and_reads_what_it_has_not_seen(
    acme: Persona, highlevel: World
) -> None:
    booking = booked(acme)
    patch(acme, {"title": "Other"})
    Booking.objects.update(change_requested_at=F("change_requested_at") - timedelta(days=2))
    highlevel.staff_change(str(booking.appointment_id), start_time=NOON)

    told(highlevel)

    assert shown(acme)["error"]["code"] == "expired"
    assert (only_booking().starts_at, shown(acme)["title"]) == (NOON, "Test Event")


# --- Whose it is ------------------------------------------------------------------------------------------------


def test_it_ignores_what_people_book_themselves(acme: Persona, highlevel: World) -> None:
    booked(acme)
    entry = highlevel.staff_book(ACME_CALENDAR, ACME_CONTACT, NOON)
    highlevel.staff_change(entry.id, status="cancelled")
    highlevel.staff_delete(entry.id)
    asked = reads(highlevel)

    told(highlevel)

    assert only_booking().status == Booking.Status.BOOKED
    assert reads(highlevel) == asked
    assert not Letter.objects.exclude(status=Letter.Status.DONE).exists()


def test_it_believes_no_other_location_about_a_booking(
    acme: Persona, globex: Persona, highlevel: World
) -> None:
    booking = booked(acme)
    letter = highlevel.letters.post(
        {
            **letters(highlevel)[0].content,
            "type": "AppointmentDelete",
            "locationId": globex.location.pk,
            "webhookId": "another",
        }
    )

    deliver([letter])
    work_once()

    booking.refresh_from_db()
    assert (booking.status, booking.news) == (Booking.Status.BOOKED, 0)


@pytest.mark.parametrize(
    "appointment", [None, {}, {"id": ""}, {"id": "x"}, "text", {"id": "x", "contactId": 5}]
)
def test_it_survives_letters_that_say_little(acme: Persona, highlevel: World, appointment: Any) -> None:
    app = letters(highlevel)[0] if letters(highlevel) else None
    assert app is None
    envelope = {"appId": highlevel.settings.app_id, "locationId": ACME_LOCATION}
    for number, kind in enumerate(("AppointmentCreate", "AppointmentUpdate", "AppointmentDelete")):
        content = {"type": kind, "appointment": appointment, "webhookId": f"w{number}", **envelope}
        deliver([highlevel.letters.post(content)])

    assert Letter.objects.filter(status=Letter.Status.DONE).count() == 3


# --- Series -----------------------------------------------------------------------------------------------------


def test_it_ends_with_the_last_instance_of_a_series(acme: Persona, highlevel: World) -> None:
    booked(acme, **SERIES)
    told(highlevel)
    first, *others = sorted(entry.id for entry in highlevel.diary.everything())
    highlevel.staff_delete(others[0])
    told(highlevel)
    assert only_booking().status == Booking.Status.BOOKED

    highlevel.staff_delete(first)
    highlevel.staff_delete(others[1])
    told(highlevel)

    assert only_booking().status == Booking.Status.CANCELLED
    assert noted()[-1] == "deleted in HighLevel"


def test_it_takes_over_a_series_that_is_moved(acme: Persona, highlevel: World) -> None:
    booking = booked(acme, **SERIES)
    told(highlevel)
    highlevel.staff_change(str(booking.appointment_id), start_time=NOON)

    told(highlevel)

    assert only_booking().starts_at == NOON
    assert noted().count("changed in HighLevel") == 1
    assert reads(highlevel) <= 2, "not once for each instance"


# --- Before the look (rule 5) -----------------------------------------------------------------------------------


def unsure(acme: Persona, highlevel: World, **changes: Any) -> Appointment:
    order(highlevel, "error_500_after")
    acme.book(booking_body(**changes))
    work_once()
    assert only_booking().intent_open
    return only_entry(highlevel)


def test_it_finds_what_was_moved_and_renamed_before_the_look(acme: Persona, highlevel: World) -> None:
    entry = unsure(acme, highlevel)
    highlevel.staff_change(entry.id, start_time=NOON, title="Staff's")
    told(highlevel)

    assert only_booking().appointment_id == entry.id
    assert (only_booking().starts_at, shown(acme)["title"]) == (NOON, "Staff's")
    assert calls(highlevel) == 1


def test_it_finds_what_has_no_title_and_was_moved_before_the_look(acme: Persona, highlevel: World) -> None:
    entry = unsure(acme, highlevel, title=None)
    highlevel.staff_change(entry.id, start_time=NOON)
    told(highlevel)

    assert (only_booking().appointment_id, only_booking().starts_at) == (entry.id, NOON)


def test_it_finds_what_was_deleted_before_the_look(acme: Persona, highlevel: World) -> None:
    """Nobody asked for it again: it was made, and somebody wanted it gone."""
    entry = unsure(acme, highlevel)
    highlevel.staff_delete(entry.id)
    told(highlevel)
    for _ in range(3):
        settle(only_booking())

    assert shown(acme)["status"] == "cancelled"
    assert noted()[-1] == "deleted in HighLevel"
    assert (calls(highlevel), highlevel.diary.everything()) == (1, [])


def test_it_adopts_nothing_that_an_event_alone_tells_of(acme: Persona, highlevel: World) -> None:
    """One key signs for every app of the marketplace: HighLevel itself does not have what the event says was made."""
    entry = unsure(acme, highlevel)
    highlevel.diary.remove(entry)

    told(highlevel)
    for _ in range(3):
        settle(only_booking())

    assert shown(acme)["status"] == "booked"
    assert only_booking().appointment_id == only_entry(highlevel).id != entry.id


def test_it_adopts_no_other_contacts_appointment_that_an_event_says_is_ours(
    acme: Persona, highlevel: World
) -> None:
    entry = unsure(acme, highlevel)
    other = highlevel.add_contact(ACME_LOCATION, email="other@example.com").id
    highlevel.diary.keep(
        replace(entry, contact_id=other, calendar_id=highlevel.add_calendar(ACME_LOCATION).id)
    )

    told(highlevel)
    for _ in range(3):
        settle(only_booking())

    assert shown(acme)["status"] == "booked"
    assert only_booking().appointment_id != entry.id


def test_it_looks_at_once_where_a_letter_tells_of_it(acme: Persona, highlevel: World) -> None:
    unsure(acme, highlevel)
    Booking.objects.update(next_attempt_at=F("next_attempt_at") + timedelta(minutes=5))

    told(highlevel)

    assert only_booking().status == Booking.Status.BOOKED
    assert calls(highlevel) == 1


def test_it_waits_with_its_location(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)
    Location.objects.get(pk=ACME_LOCATION).brake(Account.Waiting.RATE_LIMITED, timedelta(minutes=5))
    highlevel.staff_change(str(booking.appointment_id), start_time=NOON)
    told(highlevel)
    assert reads(highlevel) == 0

    assert hurry(only_booking()).starts_at == NOON
