"""How a booking's appointment comes about: created, or found where a create's outcome was unknown.
How it is changed afterwards is in changing.py."""

from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F

from appointments import contacts, differences, look, orphans, states
from appointments.attempts import RESOLVED, Attempt, NotNow, lease_time
from appointments.models import Booking, Intent
from ghl.errors import (
    AccessRefused,
    CalendarNotFound,
    ClientBlocked,
    ContactNotFound,
    Refused,
    RouteNotSupported,
    SlotUnavailable,
)
from ghl.types import Appointment

Status = Booking.Status
# Refusals that come before HighLevel does anything: nothing is to be looked for.
BELIEVED = (AccessRefused, ClientBlocked, RouteNotSupported, ContactNotFound, CalendarNotFound)


def create(attempt: Attempt) -> None:
    """Have HighLevel make the appointment, with its contact made first where only an address is known."""
    contacts.ensure(attempt)
    booking = attempt.booking
    fields = {**booking.wish, "location_id": booking.location_id, "contact_id": booking.contact_id}
    try:
        created = attempt.create(fields)
    except Refused as error:
        if isinstance(error, BELIEVED) or (isinstance(error, SlotUnavailable) and booking.attempts == 0):
            raise
        # Done all the same, perhaps: the intent stays open, so that later steps go on looking (rule 4).
        attempt.unresolved = True
        if _adopted(attempt, fields, booking.created_at, booking.wish_version):
            return
        raise
    try:
        _booked(attempt, created, "created", fields, booking.wish_version)
    except IntegrityError as error:
        # HighLevel named another booking's appointment (rule 7): what it did for this one is to be found out.
        raise NotNow("HighLevel gave an appointment that is not ours", look.FIRST_LOOK_AFTER) from error


def is_resolved(attempt: Attempt, intent: Intent) -> bool:
    """Find out what became of a create. False where the attempt has ended with that: adopted, or to be looked for
    again; True where it surely has not happened, and the booking goes on."""
    booking = attempt.booking
    try:
        if _adopted(attempt, intent.fields, intent.at, intent.version):
            return False
    except look.NotAllRead as error:
        attempt.end(booking.status_while_open, reason=str(error), again_in=error.wait, looks=F("looks") + 1)
        return False
    wait = look.next_look(intent, booking.claimed_at, booking.looks + 1)
    if wait is not None:
        attempt.end(booking.status_while_open, reason="not found yet", again_in=wait, looks=F("looks") + 1)
        return False
    with transaction.atomic():
        states.keep(booking, lease_time(), **RESOLVED)
        orphans.expect(booking, intent)
    attempt.unresolved = False
    return True


def _adopted(attempt: Attempt, sent: dict[str, Any], since: datetime, version: int) -> bool:
    for found, as_sent in look.find(attempt, sent, since):
        try:
            _booked(attempt, found, "found", sent, version, as_sent=as_sent)
        except IntegrityError:
            continue  # another booking has just taken it as its own (rule 7)
        return True
    return False


def _booked(
    attempt: Attempt,
    appointment: Appointment,
    reason: str,
    sent: dict[str, Any],
    version: int,
    *,
    as_sent: bool = True,
) -> None:
    """It is made. Where somebody moved or cancelled it before the look (`as_sent`), the next step takes that over."""
    attempt.end(
        Status.BOOKED,
        reason=reason,
        again_in=states.NEVER if as_sent else timedelta(0),
        seen=version,
        if_wish_stands={"change_requested_at": None},
        # Of a series the series, though HighLevel may name an instance of it.
        appointment_id=appointment.whole_id,
        appointment_status=(appointment.appointment_status or "")[:32],
        known=differences.shown(appointment) if as_sent else {},
        synced=sent,
        known_version=version if as_sent else 0,
        known_as_of=appointment.date_updated if as_sent else None,
        failures=0,
        crashes=0,
        error=None,
        **RESOLVED,
    )
