"""What can be asked of bookings: `request`, `change`, `cancel`, `retry`, and `converge`, which brings what is
wished and HighLevel together.

`converge` is safe to call at any time, any number of times, from anywhere. The rules it keeps, each with the
interleaving that breaks a version without it, are in docs/CONVERGE.md. Its steps are in creating.py and
changing.py, what errors lead to is in outcomes.py, rows change in states.py.
"""

import json
import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from appointments import accepting, changing, creating, differences, metrics, outcomes, reading, states, turns
from appointments.attempts import CREATE, Attempt, NotNow
from appointments.models import Booking, Intent, new_id
from appointments.times import mistakes_of_end, moved
from ghl.errors import HighLevelError
from oauth import pace
from oauth.keeping import TokenUnavailable
from oauth.models import ApiKey, Location

log = logging.getLogger(__name__)

Status = Booking.Status
# What a booking shows that is accepted while its location waits.
HELD = json.dumps({waiting_for: outcomes.held(waiting_for) for waiting_for in outcomes.HOLDS})
# So often another request with the same idempotency key may be written between two looks for it.
RACES = 5
USUAL_LIFE = timedelta(days=1)
# While a request waits for its booking (RFC 7240, `wait`): soon at first, then less often.
FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.02, 0.25


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A valid request: `wish` are the appointment's fields under our names, `digest` is of the body as parsed."""

    wish: dict[str, Any]
    calendar_id: str
    starts_at: datetime
    digest: bytes
    # May be left out where the API key covers one.
    location_id: str | None = None
    contact_id: str | None = None
    contact: dict[str, Any] | None = None
    external_reference: str | None = None
    metadata: dict[str, str] | None = None
    expires_at: datetime | None = None
    idempotency_key: str | None = None


class NotCovered(Exception):
    """The API key does not cover the location, or there is none."""


class SeveralCovered(Exception):
    """No location was named, and the API key covers more than one."""


class KeyReused(Exception):
    """The idempotency key belongs to another request's booking."""


class Disconnected(Exception):
    """The app is no longer installed in the location."""


class TooLate(Exception):
    """It was to be given up before now."""


class Ended(Exception):
    """The booking has ended or is being cancelled: there is nothing to change."""


class ImpossibleEnd(Exception):
    """The change would give the appointment an end that cannot be; its arguments say why."""


class NotTheSame(Exception):
    """The booking has changed since the caller read it."""


class NotRetryable(Exception):
    """Only what failed or was rejected can be tried once more."""


# --- Asked by tenants -------------------------------------------------------------------------------------


def request(key: ApiKey, wanted: Wanted) -> tuple[Booking, bool]:
    """Accept a booking, durably, and wake a worker. True beside it: the key's earlier booking, as it stands now.

    Raises NotCovered, SeveralCovered, KeyReused, Disconnected or TooLate.
    """
    now = timezone.now()
    fields = _fields(key, wanted, now)
    # First, since the same request again is answered whatever has happened since.
    in_time = wanted.expires_at is None or wanted.expires_at > now
    for _ in range(RACES):
        found = _the_only(accepting.accept(fields, key, wanted.location_id, HELD, in_time=in_time))
        if found.earlier_id is not None:
            return _earlier(key, found, wanted), True
        if found.status is not None:
            return _accepted(fields, found), False
        if found.location_status == Location.Status.UNINSTALLED:
            raise Disconnected
        if not in_time:
            raise TooLate
        # Another request with this idempotency key was committed since the statement began: the next one sees it.
    raise OperationalError("The idempotency key's booking comes and goes")


def _fields(key: ApiKey, wanted: Wanted, now: datetime) -> dict[str, Any]:
    return {
        "id": new_id(),
        "tenant_id": key.tenant_id,
        "idempotency_key": wanted.idempotency_key,
        "request_digest": wanted.digest,
        "created_at": now,
        "updated_at": now,
        "wish": wanted.wish,
        "contact": wanted.contact,
        "calendar_id": wanted.calendar_id,
        "contact_id": wanted.contact_id or "",
        "starts_at": wanted.starts_at,
        "external_reference": wanted.external_reference,
        "metadata": wanted.metadata or {},
        "expires_at": wanted.expires_at or _usual_expiry(now, wanted.starts_at),
    }


def _the_only(found: list[accepting.Found]) -> accepting.Found:
    if not found:
        raise NotCovered
    if len(found) > 1:
        raise SeveralCovered
    return found[0]


def _earlier(key: ApiKey, found: accepting.Found, wanted: Wanted) -> Booking:
    # A body without locationId means another location under another API key.
    if bytes(found.earlier_digest or b"") != wanted.digest or found.earlier_location_id != found.location_id:
        raise KeyReused
    booking = reading.find(key, found.earlier_id)
    assert booking is not None  # noqa: S101  (the key covers its location)
    return booking


def _accepted(fields: dict[str, Any], found: accepting.Found) -> Booking:
    metrics.bookings_accepted.inc()
    if not found.is_braked:  # else nothing may be called for it, and the sweep sees the brake's end
        turns.wake(found.location_id)
    return accepting.written(fields, found)


def _usual_expiry(now: datetime, starts_at: datetime) -> datetime:
    a_day_on = now + USUAL_LIFE
    return min(a_day_on, starts_at) if starts_at > now else a_day_on


def change(
    booking: Booking,
    fields: dict[str, Any],
    if_match: Collection[str] | None = None,
    **ours: Any,
) -> Booking:
    """Wish for something else: `fields` under our names, `ours` for what HighLevel is not told of.

    Moving the start alone keeps the duration. Raises Ended, NotTheSame, or ImpossibleEnd.
    """
    with transaction.atomic():
        booking = _locked(booking, if_match)
        if booking.is_ended or booking.erased_at or (booking.cancel_requested_at and fields):
            raise Ended
        wish = _wish(booking.wish, fields)
        changes = {**ours, "updated_at": Now()}
        if wish != booking.wish:
            changes |= {
                **differences.wish_columns(wish),
                **_newer_wish(booking),
                "change_requested_at": Now(),
            }
        Booking.objects.filter(pk=booking.pk).update(**changes)
        if wish != booking.wish:
            states.state_entry(booking, booking.status, booking.status, "change requested").save()
    turns.wake(booking.location_id)
    booking.refresh_from_db()
    return booking


def _wish(wish: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    changed = {**wish, **fields}
    if "end_time" not in changed or not differences.TIMES & fields.keys():
        return changed
    try:
        if "end_time" not in fields:
            changed["end_time"] = moved(wish["end_time"], wish["start_time"], fields["start_time"])
    except ValueError as error:
        raise ImpossibleEnd(str(error)) from error
    if mistakes := mistakes_of_end(changed["start_time"], changed["end_time"]):
        raise ImpossibleEnd(*mistakes)
    return changed


def _newer_wish(booking: Booking) -> dict[str, Any]:
    # The error of a change that was taken back says nothing about the next one.
    error = None if booking.in_sync else booking.error
    return {"wish_version": F("wish_version") + 1, "next_attempt_at": Now(), "error": error}


def cancel(booking: Booking, if_match: Collection[str] | None = None) -> Booking:
    """Wish for it to be cancelled, which is never given up. Nothing happens to a booking that has ended.

    Where nothing can have been sent it is done at once: without its lease no worker can send anything.
    """
    with transaction.atomic():
        booking = _locked(booking, if_match)
        if booking.is_ended or booking.cancel_requested_at is not None:
            return booking
        changes = {"cancel_requested_at": Now(), "updated_at": Now(), **_newer_wish(booking)}
        status, reason = Status(booking.status), "cancel requested"
        if booking.appointment_id is None and not booking.intent_open:
            status, reason = Status.CANCELLED, "cancelled before it was booked"
            changes |= {"status": status, "lease": None, "lease_until": None}
            changes |= {"next_attempt_at": None, "error": None}
        Booking.objects.filter(pk=booking.pk).update(**changes)
        states.state_entry(booking, booking.status, status, reason).save()
    turns.wake(booking.location_id)
    booking.refresh_from_db()
    return booking


def retry(booking: Booking) -> Booking:
    """Try an ended booking once more; what was sent for it is looked for first. Raises NotRetryable."""
    with transaction.atomic():
        booking = _locked(booking)
        if booking.status not in states.VERDICTS or booking.erased_at:
            raise NotRetryable
        changes = {
            **_newer_wish(booking),
            "status": Status.PENDING,
            "expires_at": _usual_expiry(timezone.now(), booking.starts_at),
            # The newest wish counts.
            "cancel_requested_at": None,
            "error": None,
            "failures": 0,
            "crashes": 0,
            "contact_attempts": 0,
            "intent_open": booking.intent is not None,
            "looks": 0,
            "updated_at": Now(),
        }
        Booking.objects.filter(pk=booking.pk).update(**changes)
        states.state_entry(booking, booking.status, Status.PENDING, "retry requested").save()
    turns.wake(booking.location_id)
    booking.refresh_from_db()
    return booking


def _locked(booking: Booking, if_match: Collection[str] | None = None) -> Booking:
    """The row as it stands, which nobody changes before this transaction ends."""
    booking = Booking.objects.select_for_update().get(pk=booking.pk)
    if if_match is not None and booking.etag not in if_match:
        raise NotTheSame
    return booking


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


def converge(booking: Booking, slot: pace.Slot | None = None) -> None:
    """Take the next step of a claimed booking and write its outcome.

    `slot` is for the first call it makes.
    """
    attempt = Attempt(booking, slot)
    try:
        _converge(attempt)
    except states.LeaseLost:
        log.warning("Another worker took %s over; what it finds counts", booking)
    finally:
        attempt.give_slot_back()


def _converge(attempt: Attempt) -> None:
    try:
        _take_next_step(attempt)
    except (NotNow, states.WishChanged, HighLevelError, TokenUnavailable) as error:
        outcomes.record(attempt, error)
    except (states.LeaseLost, OperationalError, InterfaceError):
        raise
    except Exception as error:  # one poisoned booking must stop nobody else
        log.exception("%s failed unforeseen", attempt.booking)
        outcomes.crashed(attempt, error)


def _take_next_step(attempt: Attempt) -> None:
    booking = attempt.booking
    if (intent := booking.open_intent) and not _is_resolved(attempt, intent):
        return
    if booking.is_ended:
        changing.follow_ended(attempt)
    elif booking.cancel_requested_at is not None:
        changing.cancel(attempt)
    elif booking.appointment_id is not None:
        _bring_up_to_date(attempt)
    elif booking.expires_at <= booking.claimed_at:
        attempt.end(Status.FAILED, reason="expired", error=outcomes.expired(booking))
    else:
        creating.create(attempt)


def _is_resolved(attempt: Attempt, intent: Intent) -> bool:
    resolve = creating.is_resolved if intent.operation == CREATE else changing.is_resolved
    return resolve(attempt, intent)


def _bring_up_to_date(attempt: Attempt) -> None:
    booking = attempt.booking
    if booking.known_version < booking.wish_version:
        changing.change(attempt)
    elif booking.has_news:
        changing.read_again(attempt)
    else:
        attempt.end(Status.BOOKED, reason="nothing to do")
