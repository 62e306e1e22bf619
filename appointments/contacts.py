"""Contacts named by e-mail or phone: found, or created in HighLevel once, in whatever spelling (rule 16)."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from appointments import addresses, states
from appointments.attempts import Attempt, NotNow, call_time, lease_time
from appointments.contact_leases import ContactLease, ContactLeaseLost
from appointments.look import settle_time
from appointments.models import Booking, ContactMatch
from ghl.errors import DuplicateContact, HighLevelError
from ghl.types import Contact, contact_body
from oauth import upstream

BUSY_FOR = timedelta(seconds=1)
# HighLevel's search shows a new contact so much later.
INDEX_LAG = timedelta(seconds=10)
# Once more where HighLevel says that it does not know the contact it gave us.
MOST_ATTEMPTS = 2


def ensure(attempt: Attempt) -> None:
    """Make sure that the booking has a `contact_id`, committed before any create needs it.

    Raises NotNow while another booking is asking for the same contact, or what the calls raise.
    """
    booking = attempt.booking
    if booking.contact_id:
        return
    wanted = booking.contact or {}
    found_by = addresses.keys(wanted, booking.location.country)
    lease = ContactLease.take(booking.location_id, found_by, call_time() + settle_time())
    if lease is None:
        raise NotNow("another booking is asking for the same contact", BUSY_FOR)
    contact_id = _Search(attempt, lease, wanted).contact_id()
    booking.contact_id, booking.contact_attempts = contact_id, booking.contact_attempts + 1
    states.keep(booking, lease_time(), contact_id=contact_id, contact_attempts=booking.contact_attempts)


def may_ask_again(booking: Booking) -> bool:
    return booking.contact is not None and booking.contact_attempts < MOST_ATTEMPTS


def forget(booking: Booking) -> None:
    """HighLevel does not know the contact: what led to it is of no use to anybody."""
    ContactMatch.objects.filter(location_id=booking.location_id, contact_id=booking.contact_id).delete()


class _Search:
    """One search for a contact under its lease, and the creation of one where there is none."""

    def __init__(self, attempt: Attempt, lease: ContactLease, wanted: dict[str, Any]) -> None:
        self.attempt, self.lease, self.wanted = attempt, lease, wanted
        self.location = attempt.booking.location
        self.fields = {name: value for name, value in wanted.items() if name != "update_existing"}
        if phone := wanted.get("phone"):
            self.fields["phone"] = addresses.phone_number(phone, self.location.country) or phone
        self.may_have_written = False

    def contact_id(self) -> str:
        """The contact's id, with the lease given back: but where a call that creates has an unknown outcome. Then it
        lasts until that has settled, for another call beside it could create a second contact.
        """
        search = self._updated if self.wanted.get("update_existing") else self._found_or_created
        try:
            return search()
        except ContactLeaseLost as error:
            raise NotNow("another booking is asking for the same contact", BUSY_FOR) from error
        except Exception:
            if not self.may_have_written:
                self.lease.release()
            raise

    def _found_or_created(self) -> str:
        """Whom an address leads to, the e-mail address first: found and left as they are, or created."""
        unknown = list[ContactMatch]()
        for match in self.lease.matches:
            if contact_id := match.contact_id or self._searched(match):
                # The phone number of whom the e-mail address leads to may be somebody else's.
                self.lease.release([*unknown, match], contact_id=contact_id)
                return contact_id
            unknown.append(match)
        contact_id = self._created()
        self.lease.release(self.lease.matches, contact_id=contact_id)
        return contact_id

    def _searched(self, match: ContactMatch) -> str:
        if match.pk in self.lease.absent:
            return ""
        by_email = match.address.startswith("email:")
        how = {"email": self.fields["email"].lower()} if by_email else {"number": self.fields["phone"]}
        found = self.attempt.ask(
            lambda token: upstream.client().search_duplicate(
                token, location_id=self.location.pk, calls=self.attempt.calls, **how
            )
        )
        if found is None:
            self.lease.note_absent(match)
            return ""
        return found.id

    def _created(self) -> str:
        try:
            return self._write(upstream.client().create_contact).id
        except DuplicateContact as error:
            if error.contact_id is None:
                raise NotNow("HighLevel has the contact, but does not show it yet", INDEX_LAG) from error
            return error.contact_id

    def _updated(self) -> str:
        """The contact as HighLevel finds and overwrites it, unless it was given the same before."""
        first, digest = self.lease.matches[0], self._digest()
        if first.contact_id and first.digest is not None and bytes(first.digest) == digest:
            self.lease.release()
            return first.contact_id
        upserted = self._write(upstream.client().upsert_contact)
        # Of an e-mail address and a phone number of two contacts HighLevel ignores the one.
        found_by = self.lease.matches if upserted.created else [first]
        self.lease.release(found_by, contact_id=upserted.id, digest=digest)
        return upserted.id

    def _write(self, call: Callable[..., Contact]) -> Contact:
        body = contact_body({**self.fields, "location_id": self.location.pk})

        def send(token: str) -> Contact:
            # Nobody is created for a booking that was cancelled meanwhile, or that another worker has.
            booking = self.attempt.booking
            states.keep(booking, lease_time(), contact_attempts=booking.contact_attempts)
            self.lease.arm(call_time() + settle_time())
            self.may_have_written = True
            try:
                return call(token, body, calls=self.attempt.calls)
            except HighLevelError as error:
                self.may_have_written = error.outcome_unknown
                raise

        return self.attempt.ask(send)

    def _digest(self) -> bytes:
        return hashlib.sha256(json.dumps(self.fields, sort_keys=True).encode()).digest()
