"""Contacts named by e-mail or phone: found or created in HighLevel once, whoever names them (rule 16)."""

import hashlib
import json
import re
from datetime import timedelta
from typing import Any

from appointments import states
from appointments.attempts import Attempt, NotNow, call_time, lease_time
from appointments.look import settle_time
from appointments.models import Booking, ContactMatch
from ghl.errors import HighLevelError
from ghl.types import contact_body
from oauth import upstream
from oauth.keeping import TokenUnavailable

BUSY_FOR = timedelta(seconds=1)
# One more upsert where HighLevel says that it does not know the contact it gave us.
MOST_UPSERTS = 2


def ensure(attempt: Attempt) -> None:
    """Make sure that the booking has a `contact_id`, committed before any create needs it.

    Raises NotNow while another booking is asking for the same contact, or what the upsert raises.
    """
    booking = attempt.booking
    if booking.contact_id:
        return
    wanted = booking.contact or {}
    match = ContactMatch.lease(booking.location_id, address(wanted), call_time() + settle_time())
    if match is None:
        raise NotNow("another booking is asking for the same contact", BUSY_FOR)
    contact_id = _known(match, wanted) or _upsert(attempt, match, wanted)
    match.release(contact_id=contact_id, digest=_digest(wanted))
    booking.contact_id, booking.contact_attempts = contact_id, booking.contact_attempts + 1
    states.keep(booking, lease_time(), contact_id=contact_id, contact_attempts=booking.contact_attempts)


def may_ask_again(booking: Booking) -> bool:
    return booking.contact is not None and booking.contact_attempts < MOST_UPSERTS


def forget(booking: Booking) -> None:
    """HighLevel does not know the contact: what led to it is of no use to anybody."""
    ContactMatch.objects.filter(
        location_id=booking.location_id, contact_id=booking.contact_id, address=address(booking.contact or {})
    ).delete()


def address(wanted: dict[str, Any]) -> str:
    """What a contact is found by, written so that the same e-mail or phone is always the same text."""
    if email := wanted.get("email"):
        return f"email:{email.strip().lower()}"
    return "phone:" + re.sub(r"[^0-9+]", "", wanted.get("phone", ""))


def _known(match: ContactMatch, wanted: dict[str, Any]) -> str:
    same = match.digest is not None and bytes(match.digest) == _digest(wanted)
    if not same:
        return ""
    return match.contact_id


def _upsert(attempt: Attempt, match: ContactMatch, wanted: dict[str, Any]) -> str:
    body = contact_body({**wanted, "location_id": attempt.booking.location_id})
    try:
        return attempt.ask(
            lambda token: upstream.client().upsert_contact(token, body, calls=attempt.calls)
        ).id
    except HighLevelError as error:
        # HighLevel may still be at work on one whose answer was lost: a second one beside it could make a second
        # contact, so the lease stays until that has settled.
        if not error.outcome_unknown:
            match.release()
        raise
    except TokenUnavailable:
        match.release()
        raise


def _digest(wanted: dict[str, Any]) -> bytes:
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).digest()
