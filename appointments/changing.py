"""How an appointment that HighLevel has is changed or cancelled: read, merge, write (rule 12).
How it came about is in creating.py."""

from datetime import timedelta
from typing import Any

from django.db.models import F

from appointments import differences, look, outcomes, states
from appointments.attempts import RESOLVED, Attempt, lease_time
from appointments.models import Booking, Intent
from ghl.errors import AppointmentNotFound
from ghl.types import Appointment
from oauth import upstream

Status = Booking.Status
CANCELLED = "cancelled"
# A change that could not be made for so long is taken back; a cancel never is (rule 10).
CHANGE_LIFE = timedelta(days=1)


def cancel(attempt: Attempt) -> None:
    """Have HighLevel show the appointment as cancelled; it keeps its history there."""
    appointment_id = attempt.booking.appointment_id
    if appointment_id is None:
        attempt.end(Status.CANCELLED, reason="cancelled before it was booked", error=None)
        return
    _write(attempt, appointment_id, {"appointment_status": CANCELLED})


def change(attempt: Attempt) -> None:
    """Have HighLevel show what is wished, but for what somebody changed there since the tenant wished for it."""
    booking = attempt.booking
    if booking.change_requested_at and booking.change_requested_at + CHANGE_LIFE <= booking.claimed_at:
        outcomes.take_back(attempt, booking.error or outcomes.NOT_CHANGED)
        return
    appointment_id = str(booking.appointment_id)
    try:
        found = _read(attempt, appointment_id)
    except AppointmentNotFound:
        _gone(attempt)
        return
    if _is_cancelled(found) and "appointment_status" not in differences.unsent(booking.wish, booking.synced):
        _gone(attempt)
        return
    _take_over(attempt, found)
    todo = differences.unsent(booking.wish, booking.synced)
    if todo:
        # HighLevel sets a status that is left out to `confirmed`.
        kept = {"appointment_status": found.appointment_status} if found.appointment_status else {}
        _write(attempt, appointment_id, {**kept, **differences.options(booking.wish), **todo})
    else:
        _changed(attempt, found, {}, booking.wish_version)


def is_resolved(attempt: Attempt, intent: Intent) -> bool:
    """Find out what became of a change, as `creating.is_resolved` does of a create.

    A change would do no harm twice, but one that HighLevel is still busy with must not land after a newer one.
    """
    booking = attempt.booking
    try:
        found = _read(attempt, str(booking.appointment_id))
    except AppointmentNotFound:
        _gone(attempt)
        return False
    if differences.has(differences.shown(found), intent.fields):
        _changed(attempt, found, intent.fields, intent.version)
        return False
    wait = look.next_look(intent.call_deadline, booking.claimed_at, booking.looks + 1)
    if wait is not None:
        attempt.end(booking.status_while_open, reason="not seen yet", again_in=wait, looks=F("looks") + 1)
        return False
    states.keep(booking, lease_time(), **RESOLVED)
    attempt.unresolved = False
    return True


def _read(attempt: Attempt, appointment_id: str) -> Appointment:
    return attempt.ask(
        lambda token: upstream.client().get_appointment(token, appointment_id, calls=attempt.calls)
    )


def _write(attempt: Attempt, appointment_id: str, fields: dict[str, Any]) -> None:
    try:
        answer = attempt.change(appointment_id, fields)
    except AppointmentNotFound:
        _gone(attempt)
        return
    _changed(attempt, answer, fields, attempt.booking.wish_version)


def _take_over(attempt: Attempt, found: Appointment) -> None:
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


def _changed(attempt: Attempt, answer: Appointment, sent: dict[str, Any], version: int) -> None:
    booking = attempt.booking
    attempt.unresolved = False
    given = differences.properties(sent)
    cancelled = booking.cancel_requested_at is not None and given.get("appointment_status") == CANCELLED
    attempt.end(
        Status.CANCELLED if cancelled else Status.BOOKED,
        reason="cancelled" if cancelled else "changed",
        seen=version,
        if_wish_stands={"change_requested_at": None},
        appointment_status=(answer.appointment_status or booking.appointment_status)[:32],
        known={**booking.known, **differences.shown(answer)},
        # What was not asked for is not a wish: the status that was only passed through stays HighLevel's.
        synced={**booking.synced, **{name: given[name] for name in given if name in booking.wish}},
        known_version=version,
        failures=0,
        crashes=0,
        error=None,
    )


def _is_cancelled(found: Appointment) -> bool:
    return found.deleted or found.appointment_status == CANCELLED


def _gone(attempt: Attempt) -> None:
    """Somebody cancelled or deleted it in HighLevel."""
    attempt.unresolved = False
    attempt.end(
        Status.CANCELLED,
        reason="cancelled in HighLevel",
        appointment_status=CANCELLED,
        failures=0,
        error=None,
    )
