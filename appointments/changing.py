"""How an appointment that HighLevel has is changed or cancelled: read, merge, write (rule 12).
How it came about is in creating.py."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import DateTimeField, F, Value
from django.db.models.functions import Greatest

from appointments import differences, look, outcomes, states
from appointments.attempts import RESOLVED, Attempt, lease_time
from appointments.models import Booking, Intent
from ghl.errors import AppointmentNotFound
from ghl.types import Appointment

Status = Booking.Status
CANCELLED, INVALID = differences.CANCELLED, differences.INVALID
# A change that could not be made for so long is taken back; a cancel never is (rule 10).
CHANGE_LIFE = timedelta(days=1)


def cancel(attempt: Attempt) -> None:
    """Have HighLevel show the appointment as cancelled; it keeps its history there."""
    booking = attempt.booking
    if booking.appointment_id is None:
        _end_cancelled(attempt, "cancelled before it was booked")
        return
    has_it = booking.known.get("appointment_status") == CANCELLED
    if has_it or _write(attempt, {"appointment_status": CANCELLED}):
        _end_cancelled(attempt, "cancelled")


def read_again(attempt: Attempt) -> None:
    """Take over what somebody has done to the appointment in HighLevel, of which there is news."""
    booking = attempt.booking
    found = _read(attempt)
    if found is None or _is_over(booking, found):
        _end_cancelled(attempt, *_how_it_ended(found))
        return
    with transaction.atomic():
        changes = _take_over(attempt, found)
        attempt.end(
            Status.BOOKED,
            reason="changed in HighLevel",
            noted=bool(changes),
            appointment_status=(found.appointment_status or booking.appointment_status)[:32],
            known=booking.known,
            failures=0,
            crashes=0,
            **_heard(booking, found),
        )


def follow_ended(attempt: Attempt) -> None:
    """An ended booking stays what it is: its orphan is cancelled, and what happens to its appointment is noted."""
    booking = attempt.booking
    if booking.is_orphaned:
        cancel(attempt)
        return
    if not booking.has_news or booking.appointment_id is None:
        attempt.end(Status(booking.status), reason="ended", news_seen=booking.news)
        return
    found = _read(attempt)
    status = CANCELLED if found is None or found.deleted else found.appointment_status or ""
    is_revived = status not in differences.ENDINGS and booking.appointment_status in differences.ENDINGS
    attempt.end(
        Status(booking.status),
        reason="active again in HighLevel",
        noted=is_revived,
        appointment_status=status[:32],
        known={**booking.known, **(differences.shown(found) if found else {})},
        **_heard(booking, found),
    )


def change(attempt: Attempt) -> None:
    """Have HighLevel show what is wished, but for what somebody changed there since the tenant wished for it."""
    booking = attempt.booking
    if booking.change_requested_at and booking.change_requested_at + CHANGE_LIFE <= booking.claimed_at:
        outcomes.take_back(attempt, outcomes.not_changed(booking))
        return
    found = _read(attempt)
    if found is None or _is_over(booking, found):
        _end_cancelled(attempt, *_how_it_ended(found))
        return
    _take_over(attempt, found)
    todo = differences.unsent(booking.wish, booking.synced)
    if not todo:
        _end_changed(attempt, found, found, differences.options(booking.wish), "as HighLevel has it")
        return
    # HighLevel sets a status that is left out to `confirmed`.
    kept = {"appointment_status": found.appointment_status} if found.appointment_status else {}
    sent = {**kept, **differences.options(booking.wish), **todo}
    if answer := _write(attempt, sent):
        booking.known = differences.known_after(booking.known, sent, differences.shown(answer))
        _end_changed(attempt, found, answer, sent, "changed")


def is_resolved(attempt: Attempt, intent: Intent) -> bool:
    """Find out what became of a change, as `creating.is_resolved` does of a create.

    A change would do no harm twice, but one that HighLevel is still busy with must not land after a newer one.
    """
    booking = attempt.booking
    found = _read(attempt)
    if found is None:
        _end_cancelled(attempt, DELETED)
        return False
    before = {**booking.synced, **booking.known}
    landed = differences.has_landed(_asked(booking, intent.fields), before, differences.shown(found))
    wait = None if landed else look.next_look(intent, booking.claimed_at, booking.looks + 1)
    if wait is not None:
        attempt.end(booking.status_while_open, reason="not seen yet", again_in=wait, looks=F("looks") + 1)
        return False
    if landed:
        booking.synced = differences.synced_after(booking.wish, booking.synced, intent.fields)
        booking.known = differences.known_after(booking.known, intent.fields, intent.fields)
    else:
        booking.synced = differences.without_unseen(booking.synced, intent.fields)
    states.keep(booking, lease_time(), synced=booking.synced, known=booking.known, **RESOLVED)
    attempt.unresolved = False
    return True


def _asked(booking: Booking, sent: dict[str, Any]) -> dict[str, Any]:
    """Without a status that was only passed through: that it is there says nothing."""
    status = sent.get("appointment_status")
    passed_through = status != CANCELLED and "appointment_status" not in booking.wish
    return {name: sent[name] for name in sent if not (passed_through and name == "appointment_status")}


def _read(attempt: Attempt) -> Appointment | None:
    """The appointment as it stands; None where somebody deleted it."""
    appointment_id = str(attempt.booking.appointment_id)
    try:
        return attempt.read(appointment_id)
    except AppointmentNotFound:
        return None


def _write(attempt: Attempt, fields: dict[str, Any]) -> Appointment | None:
    """The changed appointment; None where somebody deleted it, with which the attempt has ended."""
    try:
        return attempt.change(str(attempt.booking.appointment_id), fields)
    except AppointmentNotFound:
        _end_cancelled(attempt, DELETED)
        return None


def _is_over(booking: Booking, found: Appointment) -> bool:
    """Deleted, or cancelled unless the tenant has wished for another status since."""
    newer = differences.unsent(booking.wish, booking.synced)
    invalid = found.appointment_status == INVALID != booking.wish.get("appointment_status")
    cancelled = differences.is_cancelled(found) or invalid
    return found.deleted or (cancelled and "appointment_status" not in newer)


def _how_it_ended(found: Appointment | None) -> tuple[str, str]:
    """The reason, and the status that HighLevel shows."""
    if found is None or found.deleted:
        return DELETED, CANCELLED
    return GONE, found.appointment_status or CANCELLED


def _take_over(attempt: Attempt, found: Appointment) -> dict[str, Any]:
    """Make what somebody changed in HighLevel the wish and the known, before anything is sent."""
    booking = attempt.booking
    seen = differences.shown(found)
    changes = differences.taken_over(booking.wish, booking.synced, booking.known, seen)
    booking.wish, booking.synced = {**booking.wish, **changes}, {**booking.synced, **changes}
    booking.known = {**booking.known, **seen}
    if changes:
        states.keep(
            booking,
            lease_time(),
            synced=booking.synced,
            known=booking.known,
            appointment_status=(found.appointment_status or "")[:32],
            **differences.wish_columns(booking.wish),
        )
    return changes


def _heard(booking: Booking, found: Appointment | None) -> dict[str, Any]:
    """What a step read is at least as new as all there was news of when it began."""
    as_of = Value(found.date_updated if found else None, DateTimeField())
    return {"news_seen": booking.news, "known_as_of": Greatest("known_as_of", as_of)}


def _end_changed(
    attempt: Attempt, read: Appointment, answer: Appointment, sent: dict[str, Any], reason: str
) -> None:
    booking = attempt.booking
    attempt.end(
        Status.BOOKED,
        reason=reason,
        noted=True,
        if_wish_stands={"change_requested_at": None},
        appointment_status=(answer.appointment_status or booking.appointment_status)[:32],
        known=booking.known,
        synced=differences.synced_after(booking.wish, booking.synced, sent),
        known_version=booking.wish_version,
        failures=0,
        crashes=0,
        error=None,
        **_heard(booking, read),
        **RESOLVED,
    )


GONE, DELETED = "cancelled in HighLevel", "deleted in HighLevel"


def _end_cancelled(attempt: Attempt, reason: str, status: str = CANCELLED) -> None:
    booking = attempt.booking
    attempt.end(
        Status.CANCELLED,
        reason=reason,
        appointment_status=status if booking.appointment_id else "",
        # So that HighLevel's letter about it is no news.
        known={**booking.known, "appointment_status": status},
        news_seen=booking.news,
        is_orphaned=False,
        failures=0,
        crashes=0,
        error=None,
        **RESOLVED,
    )
