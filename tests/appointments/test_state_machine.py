"""Whatever tenants wish, HighLevel answers, its users change and crashes leave behind: in the end both sides agree.

HYPOTHESIS_PROFILE=large looks longer, and elsewhere each time.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from appointments import claiming, sweeping
from appointments.models import Booking, ContactMatch, TimelineEntry
from appointments.times import instant
from oauth import upstream
from sandbox import World
from sandbox.faults import Fault
from sandbox.records import Appointment
from tests.appointments.conftest import LONG, finished, until
from tests.fixtures import ACME_CALENDAR, ACME_LOCATION, Persona, booking_body, end_brake, work_once

IS_LARGE = os.environ.get("HYPOTHESIS_PROFILE") == "large"
PROFILE = settings(
    max_examples=2000 if IS_LARGE else 40,
    stateful_step_count=40 if IS_LARGE else 22,
    deadline=None,
    derandomize=not IS_LARGE,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink] if IS_LARGE else [Phase.generate],
)
SLOTS = tuple(f"2027-06-23T{hour:02}:00:00+05:30" for hour in (10, 12))
TITLES = ("A", "B")
WRITES = ("create_appointment", "update_appointment")
ASKED = (
    *WRITES,
    "get_appointment",
    "list_events",
    "contact_appointments",
    "search_duplicate",
    "create_contact",
)
# The hanging ones cost real time.
KINDS = (
    "error_500_before", "error_500_after", "cut_before", "cut_after", "html_502", "half_body",
    "truncated_json", "too_many_requests", "token_revoked", "hang_after", "hang_before",
)  # fmt: skip
ROUNDS = 30
which = st.integers(0, 5)


class Killed(BaseException):
    """The worker dies between a call to HighLevel and its outcome."""


class Desk(RuleBasedStateMachine):
    """Tenants, workers, HighLevel and its users, who all do as they please."""

    def __init__(self, acme: Persona, highlevel: World) -> None:
        super().__init__()
        self.acme, self.highlevel = acme, highlevel
        self.killing = False
        self.cancelled: set[Any] = set()
        self.minutes = 0
        TimelineEntry.objects.all().delete()
        Booking.objects.all().delete()
        ContactMatch.objects.all().delete()
        for entry in highlevel.diary.everything():
            highlevel.diary.remove(entry)
        highlevel.faults.clear()
        highlevel.calendars[ACME_CALENDAR].seats = 2
        upstream.client()._line._on_call = self._called

    def _called(self, _: Any) -> None:
        if self.killing:
            self.killing = False
            raise Killed

    # Tenants

    @precondition(lambda self: Booking.objects.count() < 6)
    @rule(slot=st.sampled_from(SLOTS), title=st.sampled_from(TITLES), is_new=st.booleans())
    def book(self, slot: str, title: str, is_new: bool) -> None:
        body = booking_body(startTime=slot, endTime=None, title=title)
        if is_new:
            body = {**body, "contactId": None, "contact": {"email": "new@example.com"}}
            del body["contactId"]
        assert self.acme.book(body).status_code == 202

    @rule(n=which, start=st.none() | st.sampled_from(SLOTS), title=st.none() | st.sampled_from(TITLES))
    def change(self, n: int, start: str | None, title: str | None) -> None:
        if booking := self._booking(n):
            body = {"startTime": start, "title": title}
            answer = self._ask("patch", booking, "", {k: v for k, v in body.items() if v})
            assert answer.status_code in {202, 409}

    @rule(n=which)
    def cancel(self, n: int) -> None:
        if booking := self._booking(n):
            asked = self._ask("post", booking, "/cancel").json()["cancelRequestedAt"]
            if asked:
                self.cancelled.add(booking.pk)

    @rule(n=which)
    def retry(self, n: int) -> None:
        if (booking := self._booking(n)) and self._ask("post", booking, "/retry").status_code == 202:
            self.cancelled.discard(booking.pk)

    @rule(n=which)
    def expire(self, n: int) -> None:
        if booking := self._booking(n):
            Booking.objects.filter(pk=booking.pk).update(expires_at=Now())

    # HighLevel and its users

    @rule(kind=st.sampled_from(KINDS), operation=st.sampled_from(ASKED), done=st.booleans())
    def fail(self, kind: Any, operation: Any, done: bool) -> None:
        self.highlevel.faults.add(Fault(kind, operation, seconds=0.3, retry_after=1, done=done))

    @rule(n=which, how=st.sampled_from(["move", "cancel", "delete", "rename"]))
    def change_in_highlevel(self, n: int, how: str) -> None:
        entries = sorted(self.highlevel.diary.everything(), key=_age)
        if not entries:
            return
        entry = entries[n % len(entries)]
        owned = Booking.objects.filter(appointment_id=entry.id).exists()
        self.minutes += 1
        with self.highlevel.lock:
            if how == "delete":
                self.highlevel.diary.remove(entry)
            elif how == "cancel":
                self._keep(entry, status="cancelled")
            elif how == "move":
                # To where no tenant wants anything.
                shift = datetime(2027, 8, 1, tzinfo=UTC) + timedelta(hours=self.minutes) - entry.starts_at
                self._keep(entry, starts_at=entry.starts_at + shift, ends_at=entry.ends_at + shift)
            elif owned:
                # Moved and renamed before anybody knows whose it is, nothing could tell.
                self._keep(entry, title=f"Staff's {self.minutes}")

    def _keep(self, entry: Appointment, **changes: Any) -> None:
        # HighLevel's clock has milliseconds.
        later = self.highlevel.clock.now() + timedelta(milliseconds=2)
        self.highlevel.diary.keep(replace(entry, updated_at=later, **changes))

    # Workers

    @rule()
    def work(self) -> None:
        self._hurry()
        work_once()

    @rule()
    def die_at_a_call(self) -> None:
        self._hurry()
        self.killing = True
        try:
            work_once()
        except Killed:
            pass
        finally:
            self.killing = False

    @rule()
    def die_before_any_call(self) -> None:
        self._hurry()
        claiming.claim(ACME_LOCATION, timedelta(seconds=30))

    @rule()
    def let_leases_end(self) -> None:
        """What a dead worker's call may still do is bounded by its deadline, not by its lease."""
        Booking.objects.update(lease_until=F("lease_until") - LONG)

    @rule()
    def let_time_pass(self) -> None:
        until(lambda: finished(self.highlevel))
        Booking.objects.update(lease_until=F("lease_until") - LONG, call_deadline=F("call_deadline") - LONG)
        ContactMatch.objects.update(claimed_until=F("claimed_until") - LONG)

    @rule()
    def sweep(self) -> None:
        sweeping.sweep()

    # The end

    def teardown(self) -> None:
        upstream.client()._line._on_call = self._called
        self.highlevel.faults.clear()
        self._work_off()
        # As reconciling will: look at each once more, for what nobody has told us of.
        Booking.objects.filter(status="booked").update(
            wish_version=F("wish_version") + 1, next_attempt_at=Now()
        )
        self._work_off()
        self._both_sides_agree()

    def _work_off(self) -> None:
        for _ in range(ROUNDS):
            if not Booking.objects.filter(next_attempt_at__isnull=False).exists():
                return
            self.let_time_pass()
            self.work()
        raise AssertionError(f"this is never done: {self._story()}")

    def _both_sides_agree(self) -> None:
        entries = {entry.id: entry for entry in self.highlevel.diary.everything()}
        active = {key for key, entry in entries.items() if entry.status != "cancelled"}
        owned = set()
        for booking in Booking.objects.all():
            if booking.status == Booking.Status.BOOKED:
                entry = entries[str(booking.appointment_id)]
                owned.add(entry.id)
                assert entry.starts_at == instant(booking.wish["start_time"]) == booking.starts_at, (
                    self._story()
                )
                assert entry.title == booking.wish["title"], self._story()
                assert entry.status == booking.appointment_status, self._story()
                assert booking.in_sync
            else:
                assert booking.is_ended
            if booking.status in {Booking.Status.REJECTED, Booking.Status.FAILED}:
                assert booking.appointment_id is None
                assert booking.error
            if booking.pk in self.cancelled:
                assert booking.status == Booking.Status.CANCELLED, self._story()
            assert not booking.intent_open, self._story()
            assert booking.unresolved_slot is None
            assert booking.lease is None
        assert owned == active, self._story()

    def _hurry(self) -> None:
        Booking.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=Now())
        end_brake()

    def _booking(self, n: int) -> Booking | None:
        found = list(Booking.objects.order_by("id"))
        return found[n % len(found)] if found else None

    def _ask(self, method: str, booking: Booking, route: str, body: Any = None) -> Any:
        ask = getattr(self.acme.api, method)
        return ask(f"/api/v1/bookings/{booking.pk}{route}", body, format="json")

    def _story(self) -> str:
        lines = [
            f"{each.status} {each.wish} {each.appointment_id} {each.error}"
            for each in Booking.objects.order_by("id")
        ]
        lines += [f"{e.id} {e.starts_at} {e.title} {e.status}" for e in self.highlevel.diary.everything()]
        lines += [
            f"{str(e.booking_id)[-4:]} {e.method}{e.path[-12:]} {e.outcome} {e.from_status}>{e.to_status} {e.reason}"
            for e in TimelineEntry.objects.order_by("id")
        ]
        return "\n".join(lines)


def _age(entry: Appointment) -> tuple[datetime, str]:
    return entry.added_at, entry.id


@pytest.fixture
def _quick(other_highlevel: Callable[..., None], settings: Any) -> None:
    other_highlevel(timeout=0.2)
    # Only `let_time_pass` lets it pass.
    settings.GHL_SETTLE_SECONDS = 60


@pytest.mark.usefixtures("_quick")
@pytest.mark.timeout(0 if IS_LARGE else 100)
def test_both_sides_always_agree_in_the_end(acme: Persona, highlevel: World) -> None:
    highlevel.settings.rate_limit_burst = highlevel.settings.rate_limit_daily = 10**9
    run_state_machine_as_test(lambda: Desk(acme, highlevel), settings=PROFILE)
