"""How a booking's row changes: each step's outcome is one conditional UPDATE and its history, in one transaction.
Why it changes is decided in bookings.py."""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Case, DateTimeField, Value, When
from django.db.models.functions import Coalesce, Greatest, Now

from appointments import metrics
from appointments.models import Booking, TimelineEntry
from ghl.types import Call

NEVER = None


class LeaseLost(Exception):
    """Another worker has the booking now. Nothing was written; whoever has it sees the intent, if one was."""


def move(
    booking: Booking,
    status: Booking.Status,
    *,
    reason: str,
    calls: Sequence[Call] = (),
    again_in: timedelta | None = NEVER,
    seen: int | None = None,
    **changes: Any,
) -> None:
    """Write the outcome of a step and give the lease back. `again_in`: when to go on by itself.

    An outcome never overwrites a wish (rule 9): where the tenant has changed it since the version that the
    outcome is about (`seen`; the one this worker read), the booking is due at once, whatever the outcome says.

    Raises LeaseLost, or the IntegrityError of a change that collides with another booking.
    """
    next_attempt_at = Value(None, DateTimeField()) if again_in is None else Now() + again_in
    with transaction.atomic():
        written = Booking.objects.filter(pk=booking.pk, lease=booking.lease).update(
            status=status,
            lease=None,
            lease_until=None,
            updated_at=Now(),
            next_attempt_at=Case(
                When(wish_version=seen or booking.wish_version, then=next_attempt_at),
                default=Now(),
            ),
            **changes,
        )
        if not written:
            raise LeaseLost
        _write_history(booking, status, reason, calls)
    if status != booking.status:
        metrics.bookings_moved.labels(status).inc()


def keep(booking: Booking, lease_for: timedelta, **changes: Any) -> None:
    """Write something in the middle of a step and stretch the lease, if it is still held. Raises LeaseLost."""
    held = Booking.objects.filter(pk=booking.pk, lease=booking.lease, lease_until__gt=Now())
    # Never shorten it: the intent stretches a lease past its call's deadline.
    lease_until = Greatest(Coalesce("lease_until", Now()), Now() + lease_for)
    if not held.update(lease_until=lease_until, updated_at=Now(), **changes):
        raise LeaseLost


def _write_history(booking: Booking, status: str, reason: str, calls: Sequence[Call]) -> None:
    entries = [call_entry(booking, call) for call in calls]
    if status != booking.status:
        entries.append(state_entry(booking, booking.status, status, reason))
    TimelineEntry.objects.bulk_create(entries)


def state_entry(booking: Booking, old: str, new: str, reason: str) -> TimelineEntry:
    return TimelineEntry(
        booking=booking,
        kind=TimelineEntry.Kind.STATE,
        from_status=old,
        to_status=new,
        reason=reason[:255],
    )


def call_entry(booking: Booking, call: Call) -> TimelineEntry:
    return TimelineEntry(
        booking=booking,
        # By PostgreSQL's clock, like everything in the history.
        at=Now() - timedelta(seconds=time.monotonic() - call.started),
        kind=TimelineEntry.Kind.CALL,
        method=call.method,
        path=call.path[:255],
        http_status=call.status,
        duration_ms=int(call.duration.total_seconds() * 1000),
        outcome=call.outcome,
        trace_id=(call.trace_id or "")[:128],
    )
