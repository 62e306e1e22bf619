"""Appointments that turn up when nobody looks for them any more: whose they are, and what becomes of them (rule 11).
Those that are looked for are look.py's; who tells of them is sync.py and reconciling.py."""

import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from appointments import differences, look, metrics, states, turns
from appointments.attempts import CREATE, RESOLVED
from appointments.models import UNLEASED, Booking, Intent, LostCreate
from appointments.times import instant
from ghl.errors import AppointmentNotFound, HighLevelError
from ghl.types import Appointment
from oauth import calling, pace, upstream
from oauth.keeping import NeedsReconnect, TokenUnavailable
from oauth.vault import LocationTokens

log = logging.getLogger(__name__)

Status = Booking.Status
# HighLevel may have made it so long after it was asked to; what is newer was made by somebody else.
LATEST = timedelta(hours=1)
# Longer than an event waits for its next attempt.
UNTIL_IT_COMES_AGAIN = timedelta(minutes=7)


class Busy(Exception):
    """Its booking is being worked on: whoever told of it is to come back."""


def expect(booking: Booking, intent: Intent) -> None:
    """Remember a create that is taken not to have been done, should it turn out to have been."""
    LostCreate.objects.get_or_create(
        booking=booking,
        sent_at=intent.at,
        defaults={
            "fields": intent.fields,
            "calendar_id": intent.fields["calendar_id"],
            "contact_id": intent.fields["contact_id"],
            "starts_at": instant(intent.fields["start_time"]),
        },
    )


def are_expected(location_id: str) -> bool:
    """Whether any unowned appointment of the location could be a booking's."""
    return (
        LostCreate.objects.filter(booking__location_id=location_id, appointment_id=None).exists()
        or Booking.objects.filter(location_id=location_id, intent_open=True, intent_operation=CREATE).exists()
    )


def meet_claimed(location_id: str, claimed: Appointment) -> None:
    """The same for what an event tells of: HighLevel is asked for the appointment itself, and that is met.

    Raises Busy, a HighLevelError or TokenUnavailable.
    """
    lost = _lost(location_id, claimed)
    if lost is None:
        return
    try:
        found = calling.ask(
            LocationTokens(location_id),
            lost.booking.location,
            pace.Use.BOOKING,
            lambda token, calls: upstream.client().get_appointment(token, claimed.id, calls=calls),
        )
    except AppointmentNotFound:
        _put_off(lost, timedelta(0))
    except NeedsReconnect as error:
        log.warning("Nobody can ask HighLevel for %s of location %s: %s", claimed.id, location_id, error)
    except (HighLevelError, TokenUnavailable):
        # It must not be made once more before the event has come again.
        _put_off(lost, UNTIL_IT_COMES_AGAIN)
        raise
    else:
        _put_off(lost, timedelta(0))
        meet(location_id, found)


def _put_off(lost: LostCreate, wait: timedelta) -> None:
    waiting = Booking.objects.filter(UNLEASED, pk=lost.booking_id, next_attempt_at__isnull=False)
    waiting.filter(status__in=Booking.WAITING).update(next_attempt_at=Now() + wait)


def meet(location_id: str, found: Appointment) -> None:
    """Do what is to be done about an appointment that no booking owns, if it is one of ours. Raises Busy."""
    whole = replace(found, id=found.whole_id)
    lost = _lost(location_id, found)
    if lost is None:
        return
    try:
        with transaction.atomic():
            _settle(lost, whole)
    except IntegrityError:
        # Another booking has just taken it as its own (rule 7).
        return
    turns.wake(location_id)


def _lost(location_id: str, found: Appointment) -> LostCreate | None:
    """The oldest create that may have made it."""
    if found.date_added is None or found.starts_at is None or not found.contact_id:
        return None
    _expect_of_ended(location_id, found)
    lost = LostCreate.objects.filter(
        booking__location_id=location_id,
        contact_id=found.contact_id,
        sent_at__gte=found.date_added - LATEST,
        appointment_id=None,
    )
    for each in lost.select_related("booking__location").order_by("sent_at"):
        if look.is_match(found, each.booking, each.fields, each.sent_at):
            return each
    return None


def _expect_of_ended(location_id: str, found: Appointment) -> None:
    """Bookings that ended while nobody could ask what became of their last create."""
    ended = Booking.objects.filter(
        location_id=location_id,
        contact_id=found.contact_id,
        intent_open=True,
        intent_operation=CREATE,
        status__in=states.VERDICTS,
    )
    for booking in ended:
        if intent := booking.open_intent:
            expect(booking, intent)


def _settle(lost: LostCreate, found: Appointment) -> None:
    booking = _free(lost)
    cancelled = differences.is_cancelled(found)
    if booking.is_ended and cancelled:
        pass
    elif booking.status == Status.CANCELLED and not _has_another(booking):
        _have_cancelled(booking, found)
    elif booking.appointment_id is None:
        _adopt(booking, lost, found)
    elif not cancelled:
        _suspect(booking, found)
    LostCreate.objects.filter(pk=lost.pk).update(appointment_id=found.id)


def _free(lost: LostCreate) -> Booking:
    """The booking, which nobody works on or changes before this transaction ends."""
    booking = Booking.objects.filter(UNLEASED, pk=lost.booking_id).select_for_update(skip_locked=True).first()
    if booking is None:
        raise Busy("its booking is being worked on")
    if booking.intent_open and not booking.is_ended:
        raise Busy("the outcome of its booking's last call is being looked for")
    if booking.appointment_id and booking.cancel_requested_at and not booking.is_ended:
        raise Busy("its booking is being cancelled")
    return booking


def _has_another(booking: Booking) -> bool:
    """Somebody has brought back in HighLevel what was cancelled here."""
    return booking.appointment_id is not None and booking.appointment_status not in differences.ENDINGS


def _have_cancelled(booking: Booking, found: Appointment) -> None:
    _move(
        booking,
        Status.CANCELLED,
        f"{found.id} turned up in HighLevel, to be cancelled too",
        is_orphaned=True,
        appointment_id=found.id,
        appointment_status=(found.appointment_status or "")[:32],
        known=differences.shown(found),
    )


def _adopt(booking: Booking, lost: LostCreate, found: Appointment) -> None:
    """It is made after all; the next step takes over what became of it since."""
    _move(
        booking,
        Status.BOOKED,
        "turned up in HighLevel",
        appointment_id=found.id,
        appointment_status=(found.appointment_status or "")[:32],
        synced=lost.fields,
        known={},
        known_version=0,
        failures=0,
        crashes=0,
        error=None,
        **RESOLVED,
    )
    metrics.bookings_moved.labels(Status.BOOKED).inc()


def _suspect(booking: Booking, found: Appointment) -> None:
    """Which of the two is too many is for people to say."""
    log.warning("%s of location %s seems to have %s beside its own", booking, booking.location_id, found.id)
    metrics.duplicates_suspected.inc()
    reason = f"duplicate suspected: {found.id} stands in HighLevel too"
    _move(booking, Status(booking.status), reason, duplicate_suspected=True)


def _move(booking: Booking, status: Booking.Status, reason: str, **changes: Any) -> None:
    # Without its lease a worker that was taken for dead can write no outcome any more.
    changes |= {"lease": None, "lease_until": None, "next_attempt_at": Now(), "updated_at": Now()}
    Booking.objects.filter(pk=booking.pk).update(status=status, **changes)
    states.state_entry(booking, booking.status, status, reason).save()
