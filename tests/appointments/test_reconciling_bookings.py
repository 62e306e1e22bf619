"""Bookings are compared with HighLevel's calendars, for letters get lost: what that finds, and what it costs."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from appointments import reconciling
from appointments.models import Booking, Comparison
from appointments.times import instant
from ghlapp.settings import PERIODIC_TASKS
from oauth import pace, upstream
from oauth.models import Account, Location
from sandbox import World
from sandbox.answers import refusal
from sandbox.letters import PUBLIC_KEY_PEM
from sandbox.records import Appointment
from tests.appointments import test_state_machine
from tests.appointments.conftest import at_once, calls, in_highlevel, order, sent
from tests.appointments.post import deliver, letters
from tests.appointments.test_changing import booked, shown
from tests.appointments.test_letters_of_appointments import SERIES, noted, only_entry, reads
from tests.fixtures import (
    ACME_CALENDAR,
    ACME_CONTACT,
    ACME_LOCATION,
    Persona,
    booking_body,
    only_booking,
    work_once,
)
from webhooks.models import Letter

NOON = datetime(2027, 6, 24, 12, tzinfo=UTC)
FAR = datetime(2027, 9, 1, 12, tzinfo=UTC)


def compare(times: int = 1) -> None:
    """As if the time had come."""
    reconciling._plan_new()
    for _ in range(times):
        Comparison.objects.update(due_at=Now())
        reconciling.compare_due()


def fresh_pace() -> None:
    """As if no call had left for a while."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()
    pace.nothing_sent_before()


def lists(highlevel: World) -> int:
    return calls(highlevel, "list_events")


def book_at(acme: Persona, day: int, hour: int = 10, **changes: Any) -> None:
    start = f"2027-07-{day:02}T{hour}:00:00+05:30"
    assert acme.book(booking_body(startTime=start, endTime=None, **changes)).status_code == 202


# --- What it finds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [NOON, FAR])
def test_it_finds_a_move(acme: Persona, highlevel: World, start: datetime) -> None:
    """Within the week that a list shows, and out of it."""
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), start_time=start)

    compare()
    work_once()

    assert only_booking().starts_at == start
    assert noted()[-1] == "changed in HighLevel"
    assert sent(highlevel) == []


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"title": "Staff's"}, "title", "Staff's"),
        ({"status": "showed"}, "appointmentStatus", "showed"),
        ({"status": "cancelled"}, "status", "cancelled"),
    ],
)
def test_it_finds_what_else_was_changed(
    acme: Persona, highlevel: World, changes: Any, field: str, value: str
) -> None:
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), **changes)

    compare()
    work_once()

    assert shown(acme)[field] == value


def test_it_finds_what_was_deleted(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)
    highlevel.staff_delete(str(booking.appointment_id))

    compare()
    work_once()

    assert shown(acme)["status"] == "cancelled"
    assert noted()[-1] == "deleted in HighLevel"


def test_it_finds_what_moved_to_another_calendar(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)
    other = highlevel.add_calendar(ACME_LOCATION, "Other")
    highlevel.staff_change(str(booking.appointment_id), calendar_id=other.id)

    compare()
    work_once()

    assert only_booking().calendar_id == other.id


@pytest.mark.parametrize("change", [{"start_time": NOON}, {"status": "showed"}])
def test_it_finds_what_became_of_a_series(acme: Persona, highlevel: World, change: Any) -> None:
    booking = booked(acme, **SERIES)
    compare()
    work_once()
    assert noted()[-1] == "created", "it has not changed"
    highlevel.staff_change(str(booking.appointment_id), **change)

    compare()
    work_once()

    assert noted()[-1] == "changed in HighLevel"


def test_it_does_not_let_a_late_list_overwrite_what_is_newer(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), start_time=NOON)
    compare()
    work_once()
    asked = reads(highlevel)
    highlevel.settings.list_lag_seconds = 3600

    compare()
    work_once()

    assert only_booking().starts_at == NOON
    # It was not in the list at all then; that had to be asked about, and nothing more.
    assert reads(highlevel) <= asked + 1
    assert sent(highlevel) == []


def test_it_leaves_older_news_unasked(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), title="Staff's")
    compare()
    work_once()
    asked = reads(highlevel)
    # HighLevel's list is behind: an older title, and the time of its change.
    newest = only_entry(highlevel).updated_at
    in_highlevel(highlevel, booking.appointment_id, title="Older")
    with highlevel.lock:
        entry = only_entry(highlevel)
        highlevel.diary.keep(type(entry)(**{**entry.__dict__, "updated_at": newest - timedelta(seconds=5)}))

    compare()
    work_once()

    assert reads(highlevel) == asked
    assert shown(acme)["title"] == "Staff's"


# --- What it costs ----------------------------------------------------------------------------------------------


def test_it_asks_once_for_a_week_of_a_calendar_and_nothing_more_where_all_is_as_known(
    acme: Persona, highlevel: World
) -> None:
    for day in range(1, 7):
        book_at(acme, day)
    work_once()
    assert Booking.objects.filter(status="booked").count() == 6

    compare()
    work_once()

    assert (lists(highlevel), reads(highlevel)) == (1, 0)
    assert set(Booking.objects.values_list("news", flat=True)) == {0}


def test_it_takes_what_highlevel_fills_in_for_no_change(acme: Persona, highlevel: World) -> None:
    booked(acme)
    highlevel.diary.keep(replace(only_entry(highlevel), description="Filled in"))

    compare()

    assert (lists(highlevel), only_booking().news) == (1, 0)


def test_it_goes_through_all_weeks_and_calendars(acme: Persona, highlevel: World) -> None:
    other = highlevel.add_calendar(ACME_LOCATION, "Other", team=("0007BWpSzSwfiuSl0tR2",)).id
    for day in (1, 5, 20, 27):
        book_at(acme, day)
        book_at(acme, day, calendarId=other)
    work_once()
    for entry in highlevel.diary.everything():
        highlevel.staff_change(entry.id, title="Staff's")

    compare()
    work_once()

    assert lists(highlevel) == 4
    assert {each.wish["title"] for each in Booking.objects.all()} == {"Staff's"}


@pytest.mark.parametrize("many", [1, 500])
def test_it_spends_a_twentieth_of_the_days_calls_at_most(acme: Persona, many: int) -> None:
    booked(acme)
    reconciling._plan_new()
    Comparison.objects.update(due_at=Now(), calls=many - 1, calendar_id="0", starts_at=Now())
    reconciling.compare_due()

    comparison = Comparison.objects.annotate(wait=F("due_at") - Now()).get()

    assert comparison.wait >= max(timedelta(minutes=14), many * timedelta(seconds=8.6)) - timedelta(minutes=1)
    assert (comparison.calls, comparison.starts_at) == (0, None)


def test_it_counts_what_bookings_have_to_ask_for(acme: Persona, highlevel: World) -> None:
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), title="Staff's")
    reconciling._plan_new()
    comparison = Comparison.objects.select_related("location").get()

    assert reconciling._compare_next(comparison)

    assert comparison.calls == 2


def test_it_waits_for_its_turn_and_goes_on_where_it_was(acme: Persona, highlevel: World) -> None:
    for day in (1, 15, 29):
        book_at(acme, day)
    work_once()
    highlevel.settings.rate_limit_burst = 40  # the share of that is two
    booked(acme)
    compare()
    first = lists(highlevel)
    assert 0 < first < 4
    waiting = Comparison.objects.annotate(wait=F("due_at") - Now()).get()
    assert waiting.starts_at is not None
    assert waiting.wait < timedelta(minutes=1)

    compare()
    assert lists(highlevel) == first, "nothing leaves before its time"


def test_it_lets_bookings_go_first(acme: Persona, highlevel: World) -> None:
    booked(acme)
    with suppress(pace.NoSlot):
        while True:
            pace.take(pace.location(ACME_LOCATION), pace.Use.BOOKING)

    compare()

    assert lists(highlevel) == 0


# --- When -------------------------------------------------------------------------------------------------------


def test_it_is_done_every_minute_for_whom_it_is_time(acme: Persona, highlevel: World) -> None:
    assert PERIODIC_TASKS["appointments.tasks.compare"] == 60
    booked(acme)

    reconciling.compare_due()

    planned = Comparison.objects.annotate(wait=F("due_at") - Now()).get()
    assert timedelta(0) < planned.wait <= reconciling.PERIOD
    assert lists(highlevel) == 0


def test_it_compares_at_once_who_is_to_be_compared_soon(acme: Persona, highlevel: World) -> None:
    booked(acme)
    reconciling._plan_new()

    assert reconciling.compare_soon(Location.objects.filter(pk=ACME_LOCATION)) == 1
    reconciling.compare_due()

    assert lists(highlevel) == 1


def test_it_forgets_locations_with_nothing_ahead(acme: Persona, highlevel: World) -> None:
    booked(acme)
    reconciling._plan_new()
    Booking.objects.update(starts_at=Now() - timedelta(days=2))

    compare()

    assert not Comparison.objects.exists()
    assert lists(highlevel) == 0


@pytest.mark.django_db(transaction=True)
def test_it_is_done_by_one_at_a_time(acme: Persona, highlevel: World) -> None:
    booked(acme)
    reconciling._plan_new()
    Comparison.objects.update(due_at=Now())

    at_once(*[reconciling.compare_due] * 4)

    assert lists(highlevel) == 1


def test_it_goes_on_after_a_worker_died(acme: Persona, highlevel: World) -> None:
    booked(acme)
    reconciling._plan_new()
    Comparison.objects.update(due_at=Now())
    assert reconciling._claim() is not None
    reconciling.compare_due()
    assert lists(highlevel) == 0, "somebody is at it"

    compare()

    assert lists(highlevel) == 1


@pytest.mark.parametrize("waiting", [True, False])
def test_it_leaves_alone_who_must_wait_or_is_gone(acme: Persona, highlevel: World, waiting: bool) -> None:
    booked(acme)
    if waiting:
        acme.location.brake(Account.Waiting.RATE_LIMITED, timedelta(minutes=5))
    else:
        acme.location.disconnect()

    compare()

    assert lists(highlevel) == 0
    assert Comparison.objects.exists()


@pytest.mark.parametrize("kind", ["error_500_before", "too_many_requests", "cut_before", "half_body"])
def test_it_comes_back_where_a_list_could_not_be_read(acme: Persona, highlevel: World, kind: Any) -> None:
    booking = booked(acme)
    highlevel.staff_change(str(booking.appointment_id), title="Staff's")
    order(highlevel, kind, "list_events", retry_after=1)
    compare()
    assert Comparison.objects.get().due_at > booking.created_at
    assert not only_booking().has_news, "what could not be read says nothing"

    Location.objects.update(not_before=None)
    fresh_pace()
    compare()
    work_once()

    assert shown(acme)["title"] == "Staff's"


def test_it_goes_on_with_the_others_where_a_calendar_is_refused(
    acme: Persona, highlevel: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = highlevel.add_calendar(ACME_LOCATION, "Other", team=("0007BWpSzSwfiuSl0tR2",)).id
    book_at(acme, 1)
    book_at(acme, 1, calendarId=other)
    work_once()
    for entry in highlevel.diary.everything():
        highlevel.staff_change(entry.id, title="Staff's")
    in_calendar = highlevel.diary.in_calendar

    def refusing(calendar_id: str, *rest: Any) -> Any:
        if calendar_id == min(other, ACME_CALENDAR):
            raise refusal(404, "Calendar not found")
        return in_calendar(calendar_id, *rest)

    monkeypatch.setattr(highlevel.diary, "in_calendar", refusing)
    compare()
    work_once()

    titles = {each.calendar_id: each.wish["title"] for each in Booking.objects.all()}
    assert titles == {min(other, ACME_CALENDAR): "Test Event", max(other, ACME_CALENDAR): "Staff's"}


def test_it_asks_for_nothing_that_somebody_works_on(acme: Persona, highlevel: World) -> None:
    booked(acme)
    highlevel.settings.list_lag_seconds = 3600
    Booking.objects.update(
        lease="019d0000-0000-7000-8000-000000000000", lease_until=Now() + timedelta(minutes=1)
    )

    compare()

    assert not only_booking().has_news


# --- All at once ------------------------------------------------------------------------------------------------

which = st.integers(0, 50)
WALK_IN = "Walk-in"


class TwoDesks(test_state_machine.Desk):
    """The tenants' desk and HighLevel's own, with a post that loses, doubles and mixes up what it carries."""

    def __init__(self, acme: Persona, highlevel: World) -> None:
        super().__init__(acme, highlevel)
        # An earlier life's letters would tell of what it left in the same places.
        Letter.objects.all().delete()
        self.earlier = len(letters(highlevel))

    @rule(numbers=st.lists(which, max_size=4))
    def post(self, numbers: list[int]) -> None:
        written = letters(self.highlevel)[self.earlier :]
        deliver([written[-1 - n % len(written)] for n in numbers] if written else [])

    @rule(n=which, status=st.sampled_from(["showed", "noshow", "confirmed", "cancelled"]))
    def mark_in_highlevel(self, n: int, status: str) -> None:
        entries = sorted(self.highlevel.diary.everything(), key=test_state_machine._age)
        if entries:
            self.highlevel.staff_change(entries[n % len(entries)].id, status=status)

    @precondition(lambda self: len(self.highlevel.diary.everything()) < 8)
    @rule(hour=st.integers(0, 20))
    def book_in_highlevel(self, hour: int) -> None:
        start = datetime(2027, 8, 20, tzinfo=UTC) + timedelta(hours=hour)
        # Under a title of no tenant's, or it would pass for one of theirs that was moved.
        self.highlevel.staff_book(ACME_CALENDAR, ACME_CONTACT, start, WALK_IN)

    @rule(n=which, how=st.sampled_from(["move", "cancel", "delete", "rename"]))
    def change_in_highlevel(self, n: int, how: str) -> None:
        entries = sorted(self.highlevel.diary.everything(), key=test_state_machine._age)
        if not entries:
            return
        entry = entries[n % len(entries)]
        self.minutes += 1
        match how:
            case "delete":
                self.highlevel.staff_delete(entry.id)
            case "cancel":
                self.highlevel.staff_change(entry.id, status="cancelled")
            case "move":
                start = datetime(2027, 8, 1, tzinfo=UTC) + timedelta(hours=self.minutes)
                self.highlevel.staff_change(entry.id, start_time=start)
            case "rename" if Booking.objects.filter(appointment_id=entry.id).exists():
                self.highlevel.staff_change(entry.id, title=f"Staff's {self.minutes}")

    def teardown(self) -> None:
        upstream.client()._line._on_call = self._called
        self.highlevel.faults.clear()
        self._work_off()
        self._compare()
        self._work_off()
        self._both_sides_agree()

    def _compare(self) -> None:
        """All that no letter has told of is found by one comparison."""
        Location.objects.update(not_before=None)
        fresh_pace()
        done = lists(self.highlevel)
        compare(times=3)
        assert lists(self.highlevel) > done or not Booking.objects.filter(status="booked").exists()

    def _both_sides_agree(self) -> None:
        entries = {entry.id: entry for entry in self.highlevel.diary.everything()}
        active = {key for key, entry in entries.items() if entry.status != "cancelled"}
        ended = set(Booking.objects.exclude(status="booked").values_list("appointment_id", flat=True))
        owned = set()
        for booking in Booking.objects.all():
            assert booking.is_ended or booking.status == Booking.Status.BOOKED, self._story()
            assert not any((booking.intent_open, booking.has_news, booking.duplicate_suspected))
            assert (booking.unresolved_slot, booking.lease, booking.in_sync) == (
                None, None, booking.status in {"booked", "cancelled"},
            ), self._story()  # fmt: skip
            if booking.pk in self.cancelled:
                assert booking.status == Booking.Status.CANCELLED, self._story()
            if booking.status == Booking.Status.BOOKED:
                self._is_shown(booking, entries[str(booking.appointment_id)])
                owned.add(booking.appointment_id)
        ours = {key for key in active if entries[key].title != WALK_IN}
        # What staff brings back after a booking has ended stays as it is.
        assert ours - ended == owned, self._story()

    def _is_shown(self, booking: Booking, entry: Appointment) -> None:
        assert entry.starts_at == instant(booking.wish["start_time"]) == booking.starts_at, self._story()
        assert (entry.title, entry.status) == (booking.wish["title"], booking.appointment_status), (
            self._story()
        )


@pytest.fixture
def _quick(other_highlevel: Callable[..., None], settings: Any) -> None:
    other_highlevel(timeout=0.2)
    settings.GHL_SETTLE_SECONDS = 60
    settings.GHL_WEBHOOK_PUBLIC_KEYS = PUBLIC_KEY_PEM


@pytest.mark.usefixtures("_quick")
@pytest.mark.timeout(0 if test_state_machine.IS_LARGE else 100)
def test_both_sides_agree_whatever_letters_are_lost(acme: Persona, highlevel: World) -> None:
    highlevel.settings.rate_limit_burst = highlevel.settings.rate_limit_daily = 10**9
    run_state_machine_as_test(lambda: TwoDesks(acme, highlevel), settings=test_state_machine.PROFILE)
