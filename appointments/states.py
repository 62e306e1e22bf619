"""How a booking's row changes: each step's outcome is one conditional UPDATE and its history, in one transaction.
Why it changes is decided in bookings.py."""

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from appointments import metrics, turns, writing
from appointments.models import Booking, TimelineEntry
from ghl.types import Call

log = logging.getLogger(__name__)

NEVER = None
# About a wish that may have changed since; that an appointment is made or cancelled is true in any case.
VERDICTS = (Booking.Status.REJECTED, Booking.Status.FAILED)


class LeaseLost(Exception):
    """Another worker has the booking now. Nothing was written; whoever has it sees the intent, if one was."""


class WishChanged(Exception):
    """The tenant has changed the wish since this worker read it; the lease is still held."""


def move(
    booking: Booking,
    status: Booking.Status,
    *,
    reason: str,
    calls: Sequence[Call] = (),
    again_in: timedelta | None = NEVER,
    seen: int | None = None,
    if_wish_stands: dict[str, Any] | None = None,
    noted: bool = False,
    **facts: Any,
) -> None:
    """Write the outcome of a step and give the lease back. `again_in`: when to go on by itself.

    `facts` are written in any case. An outcome never overwrites a wish (rule 9): where the tenant has changed it
    since the version that the outcome is about (`seen`; the one this worker read), `if_wish_stands` is left out,
    a refusal ends nothing, and the booking is due at once. So it is where there is news from HighLevel since this
    worker claimed it, or where it would rest with news that no step has seen. `noted`: a line of history though the
    state stays.

    Raises LeaseLost, or the IntegrityError of a change that collides with another booking.
    """
    if again_in is NEVER and booking.news > facts.get("news_seen", booking.news_seen):
        again_in = timedelta(0)
    seen = seen or booking.wish_version
    changes = {"status": status, **facts, **(if_wish_stands or {})}
    history = _history(booking, status, reason, calls, noted)
    stands = writing.moved(booking, changes, history, again_in, if_wish_is=seen)
    if not stands:
        status = booking.status_while_open if status in VERDICTS else status
        history = _history(booking, status, reason, calls, noted)
        if not writing.moved(booking, {"status": status, **facts}, history, timedelta(0)):
            raise LeaseLost
    if again_in is not None or not stands:
        turns.later(booking.location_id, again_in if stands and again_in else timedelta(0))
    if status != booking.status:
        metrics.bookings_moved.labels(status).inc()
        log.info("%s of location %s is %s: %s", booking, booking.location_id, status, reason)


def keep(booking: Booking, lease_for: timedelta, **changes: Any) -> None:
    """Write something in the middle of a step and stretch the lease, if it is still held. Raises LeaseLost.

    Where the wish has changed meanwhile it raises WishChanged: nothing that follows from the old one is begun.
    """
    if not writing.kept(booking, changes, lease_for):
        held = Booking.objects.filter(pk=booking.pk, lease=booking.lease, lease_until__gt=Now())
        raise WishChanged if held.exists() else LeaseLost


def _history(
    booking: Booking, status: str, reason: str, calls: Sequence[Call], noted: bool
) -> list[writing.Line]:
    lines = [_call_line(booking, call) for call in calls]
    if noted or status != booking.status:
        lines.append((timedelta(0), state_entry(booking, booking.status, status, reason)))
    return lines


def state_entry(booking: Booking, old: str, new: str, reason: str) -> TimelineEntry:
    return TimelineEntry(
        booking=booking,
        kind=TimelineEntry.Kind.STATE,
        from_status=old,
        to_status=new,
        reason=reason[:255],
    )


def _call_line(booking: Booking, call: Call) -> writing.Line:
    entry = TimelineEntry(
        booking=booking,
        kind=TimelineEntry.Kind.CALL,
        method=call.method,
        path=call.path[:255],
        http_status=call.status,
        duration_ms=int(call.duration.total_seconds() * 1000),
        outcome=call.outcome,
        trace_id=(call.trace_id or "")[:128],
    )
    return timedelta(seconds=time.monotonic() - call.started), entry
