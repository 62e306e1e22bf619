"""What can be asked of bookings: `request`, and `converge`, which brings wish and HighLevel together.

`converge` is safe to call at any time, any number of times, from anywhere. The rules it keeps, each with the
interleaving that breaks a version without it, are in docs/CONVERGE.md. Rows change in states.py, an attempt's
calls are in attempts.py, what errors lead to is in outcomes.py.
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from appointments import contacts, look, metrics, outcomes, states, wakeups
from appointments.attempts import RESOLVED, Attempt, NotNow, lease_time
from appointments.models import Booking, Intent, TimelineEntry
from ghl.errors import HighLevelError, SlotUnavailable
from ghl.types import Appointment
from oauth.models import Location, Tenant
from oauth.vault import TokenUnavailable

log = logging.getLogger(__name__)

Status = Booking.Status
USUAL_LIFE = timedelta(days=1)
# One woken worker does so many in a row, then lets others have their turn.
IN_A_ROW = 20
SWEPT_AT_ONCE = 500
# While a request waits for its booking (RFC 7240, `wait`): soon at first, then less often.
FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.02, 0.25


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A valid request: `wish` are the appointment's fields under our names, `digest` is of the body as parsed."""

    wish: dict[str, Any]
    calendar_id: str
    starts_at: datetime
    digest: bytes
    contact_id: str | None = None
    contact: dict[str, Any] | None = None
    external_reference: str | None = None
    metadata: dict[str, str] | None = None
    expires_at: datetime | None = None
    idempotency_key: str | None = None


class KeyReused(Exception):
    """The idempotency key belongs to another request's booking."""


class Disconnected(Exception):
    """The app is no longer installed in the location."""


class TooLate(Exception):
    """It was to be given up before now."""


# --- Asked by tenants -------------------------------------------------------------------------------------


def request(tenant: Tenant, location: Location, wanted: Wanted) -> tuple[Booking, bool]:
    """Accept a booking, durably, and wake a worker. True beside it: the key's earlier booking, as it stands now.

    Raises KeyReused, Disconnected or TooLate.
    """
    # First, since the same request again is answered whatever has happened since.
    if earlier := _earlier(tenant, location, wanted):
        return earlier, True
    booking = _accepted(tenant, location, wanted)
    try:
        with transaction.atomic():
            booking.save(force_insert=True)
            states.state_entry(booking, "", booking.status, "accepted").save(force_insert=True)
    except IntegrityError:
        if earlier := _earlier(tenant, location, wanted):
            return earlier, True
        raise
    metrics.bookings_accepted.inc()
    # PostgreSQL's clock has decided; for the answer ours is near enough and spares a query.
    booking.next_attempt_at = booking.created_at
    wakeups.wake(location.pk)
    return booking, False


def _earlier(tenant: Tenant, location: Location, wanted: Wanted) -> Booking | None:
    if wanted.idempotency_key is None:
        return None
    booking = Booking.objects.filter(tenant=tenant, idempotency_key=wanted.idempotency_key).first()
    if booking is None:
        return None
    # A body without locationId means another location under another API key.
    if bytes(booking.request_digest) != wanted.digest or booking.location_id != location.pk:
        raise KeyReused
    return booking


def _accepted(tenant: Tenant, location: Location, wanted: Wanted) -> Booking:
    now = timezone.now()
    if location.status == Location.Status.UNINSTALLED:
        raise Disconnected
    if wanted.expires_at is not None and wanted.expires_at <= now:
        raise TooLate
    booking = Booking(
        tenant=tenant,
        location=location,
        idempotency_key=wanted.idempotency_key,
        request_digest=wanted.digest,
        created_at=now,
        updated_at=now,
        wish=wanted.wish,
        contact=wanted.contact,
        calendar_id=wanted.calendar_id,
        contact_id=wanted.contact_id or "",
        starts_at=wanted.starts_at,
        external_reference=wanted.external_reference,
        metadata=wanted.metadata or {},
        expires_at=wanted.expires_at or _usual_expiry(now, wanted.starts_at),
    )
    if location.is_waiting and location.waiting_for in outcomes.HOLDS:
        booking.status = Status.ON_HOLD
        booking.error = outcomes.held(location.waiting_for)
    return booking


def _usual_expiry(now: datetime, starts_at: datetime) -> datetime:
    a_day_on = now + USUAL_LIFE
    return min(a_day_on, starts_at) if starts_at > now else a_day_on


def wait(booking: Booking, seconds: float) -> Booking:
    """The booking once it no longer moves by itself, or as it stands when `seconds` have passed."""
    until = time.monotonic() + seconds
    pause = FIRST_POLL_SECONDS
    while booking.status == Status.PENDING and time.monotonic() < until:
        time.sleep(min(pause, max(0.0, until - time.monotonic())))
        pause = min(LONGEST_POLL_SECONDS, pause * 1.5)
        booking.refresh_from_db()
    return booking


# --- Done by workers --------------------------------------------------------------------------------------


def converge_due(location_id: str) -> None:
    """Converge what is due for a location, oldest first; where more is due, wake somebody else for it."""
    wakeups.clear(location_id)
    for _ in range(IN_A_ROW):
        booking = Booking.objects.claim(location_id, lease_time())
        if booking is None:
            return
        if Booking.objects.filter(location_id=location_id).due().exists():
            wakeups.wake(location_id)
        converge(booking)
    wakeups.wake(location_id)


def converge(booking: Booking) -> None:
    """Take the next step of a claimed booking and write its outcome."""
    attempt = Attempt(booking)
    try:
        try:
            _take_next_step(attempt)
        except (NotNow, HighLevelError, TokenUnavailable) as error:
            outcomes.record(attempt, error)
    except states.LeaseLost:
        log.warning("Another worker took %s over; what it finds counts", booking)


def _take_next_step(attempt: Attempt) -> None:
    booking = attempt.booking
    if (intent := booking.open_intent) and _looked_up(attempt, intent):
        return
    if booking.appointment_id is not None:
        attempt.end(booking.status_while_open, reason="nothing to do")
    elif booking.expires_at <= booking.claimed_at:
        attempt.end(Status.FAILED, reason="expired", error=outcomes.expired(booking))
    else:
        _create(attempt)


def _create(attempt: Attempt) -> None:
    contacts.ensure(attempt)
    booking = attempt.booking
    fields = {**booking.wish, "location_id": booking.location_id, "contact_id": booking.contact_id}
    try:
        created = attempt.create(fields)
    except SlotUnavailable:
        # After an earlier call of ours the slot may be taken by ourselves.
        if booking.attempts == 0 or not _adopted(attempt, fields, booking.created_at, booking.wish_version):
            raise
        return
    try:
        _booked(attempt, created, "created", booking.wish_version)
    except IntegrityError as error:
        # HighLevel named another booking's appointment (rule 7): what it did for this one is to be found out.
        attempt.unresolved = True
        raise NotNow("HighLevel gave an appointment that is not ours", look.FIRST_LOOK_AFTER) from error


def _looked_up(attempt: Attempt, intent: Intent) -> bool:
    """Find out what became of an intent; True where that is all to be done for now."""
    booking = attempt.booking
    if _adopted(attempt, intent.fields, intent.at, intent.version):
        return True
    wait = look.next_look(intent.call_deadline, booking.claimed_at, booking.looks + 1)
    if wait is not None:
        attempt.end(booking.status_while_open, reason="not found yet", again_in=wait, looks=F("looks") + 1)
        return True
    states.keep(booking, lease_time(), **RESOLVED)
    attempt.unresolved = False
    return False


def _adopted(attempt: Attempt, sent: dict[str, Any], since: datetime, version: int) -> bool:
    for found in look.find(attempt, sent, since):
        try:
            _booked(attempt, found, "found", version)
        except IntegrityError:
            continue  # another booking has just taken it as its own (rule 7)
        return True
    return False


def _booked(attempt: Attempt, appointment: Appointment, reason: str, version: int) -> None:
    attempt.unresolved = False
    attempt.end(
        Status.BOOKED,
        reason=reason,
        seen=version,
        appointment_id=appointment.id,
        appointment_status=(appointment.appointment_status or "")[:32],
        known=_known(appointment),
        known_version=version,
        failures=0,
        error=None,
    )


KNOWN_FIELDS = (
    "calendar_id", "start_time", "end_time", "title", "meeting_location_type", "appointment_status",
    "assigned_user_id", "address", "description", "rrule",
)  # fmt: skip


def _known(appointment: Appointment) -> dict[str, Any]:
    """What HighLevel says it has, under the wish's names."""
    values = {name: getattr(appointment, name) for name in KNOWN_FIELDS}
    return {name: value for name, value in values.items() if value is not None}


# --- Done by the sweep ------------------------------------------------------------------------------------


def sweep() -> None:
    """Find what no message woke: bookings that are due, and those whose location's brake was pulled or released."""
    _release_held()
    _hold_waiting()
    _expire()
    due = Booking.objects.due().values_list("location_id", flat=True).distinct()
    for location_id in due[:SWEPT_AT_ONCE]:
        wakeups.wake(location_id)


def _release_held() -> None:
    free = Q(location__not_before__isnull=True) | Q(location__not_before__lte=Now())
    _move_all(Booking.objects.filter(free, status=Status.ON_HOLD), Status.PENDING, "the location goes on")


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
        status__in=Booking.WAITING, intent__isnull=True, expires_at__lte=Now(), location__not_before__gt=Now()
    )
    _move_all(late, Status.FAILED, "expired", error=outcomes.EXPIRED, next_attempt_at=None)


def _move_all(bookings: "QuerySet[Booking]", status: Booking.Status, reason: str, **changes: Any) -> None:
    """Move bookings that nobody works on, each with its line of history."""
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=Now())
    with transaction.atomic():
        rows = bookings.filter(free).select_for_update(of=("self",), skip_locked=True)[:SWEPT_AT_ONCE]
        entries = [states.state_entry(each, each.status, status, reason) for each in rows]
        moved = [entry.booking_id for entry in entries]
        Booking.objects.filter(pk__in=moved).update(status=status, updated_at=Now(), **changes)
        TimelineEntry.objects.bulk_create(entries)
    metrics.bookings_moved.labels(status).inc(len(moved))
