"""The sweep: finds what no message woke, and shows which bookings wait with their location (rules 13 and 14).
What a woken worker does is in working.py."""

from typing import Any

from django.db import transaction
from django.db.models import Exists, Q, QuerySet
from django.db.models.functions import Now

from appointments import following, metrics, outcomes, states, turns
from appointments.attempts import Attempt
from appointments.changing import CHANGE_LIFE
from appointments.models import UNLEASED, Booking, TimelineEntry
from oauth.models import Upstream, unbraked

Status = Booking.Status
SWEPT_AT_ONCE = 500
# Something is to be done yet: the predicate of the indexes, without which these would read the whole history.
OPEN = Q(next_attempt_at__isnull=False)


def sweep() -> None:
    """Find what no message woke: bookings that are due, and those whose location has changed or waits."""
    following.follow()
    _release_held()
    _hold_waiting()
    _expire()
    _take_back()
    due = list(Booking.objects.due().values_list("location_id", flat=True).distinct())
    for start in range(0, len(due), SWEPT_AT_ONCE):
        turns.wake(*due[start : start + SWEPT_AT_ONCE])
    turns.send_missing()


def _release_held() -> None:
    held = Booking.objects.filter(unbraked("location__"), OPEN, status=Status.ON_HOLD)
    _move_all(held, Status.PENDING, "the location goes on")


def _hold_waiting() -> None:
    for waiting_for in outcomes.HOLDS:
        waiting = Booking.objects.filter(
            status=Status.PENDING,
            next_attempt_at__lte=Now(),
            location__not_before__gt=Now(),
            location__waiting_for=waiting_for,
        )
        _move_all(waiting, Status.ON_HOLD, waiting_for, error=outcomes.held(waiting_for))


def _expire() -> None:
    """Bookings of a location that waits are claimed by nobody, and expire all the same."""
    late = Booking.objects.filter(
        OPEN, _waits(), status__in=Booking.WAITING, intent_open=False, expires_at__lte=Now()
    )
    _move_all(late, Status.FAILED, "expired", error=outcomes.EXPIRED, next_attempt_at=None)


def _take_back() -> None:
    """Changes that could not be made in time because their location waits, likewise."""
    late = Booking.objects.filter(
        OPEN,
        _waits(),
        status=Status.BOOKED,
        intent_open=False,
        cancel_requested_at__isnull=True,
        change_requested_at__lte=Now() - CHANGE_LIFE,
    )
    with transaction.atomic():
        for each in _free(late):
            outcomes.take_back(Attempt(each), outcomes.not_changed(each))


def _waits() -> Q:
    """Nothing is claimed for it: its location waits, or everybody does for HighLevel as a whole."""
    everybody = Exists(Upstream.objects.filter(not_before__gt=Now()))
    return Q(location__not_before__gt=Now()) | Q(everybody)


def _free(bookings: "QuerySet[Booking]") -> "QuerySet[Booking]":
    """Those that nobody works on, for this transaction alone."""
    return bookings.filter(UNLEASED).select_for_update(of=("self",), skip_locked=True)[:SWEPT_AT_ONCE]


def _move_all(bookings: "QuerySet[Booking]", status: Booking.Status, reason: str, **changes: Any) -> None:
    """Move bookings that nobody works on, each with its line of history."""
    with transaction.atomic():
        entries = [states.state_entry(each, each.status, status, reason) for each in _free(bookings)]
        moved = [entry.booking_id for entry in entries]
        Booking.objects.filter(pk__in=moved).update(status=status, updated_at=Now(), **changes)
        TimelineEntry.objects.bulk_create(entries)
    metrics.bookings_moved.labels(status).inc(len(moved))
