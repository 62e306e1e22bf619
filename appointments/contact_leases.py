"""Leases on the addresses of a contact: one booking at a time looks for somebody, or creates them (rule 16).
What is done under a lease is in contacts.py."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from appointments.models import ContactMatch

# For so long "nobody" need not be asked for again: a booking that had to wait between its calls would ask for ever.
ABSENCE_HOLDS = timedelta(minutes=1)


class ContactLeaseLost(Exception):
    """The lease ran out, and another booking may have taken it."""


@dataclass
class ContactLease:
    """The matches of all addresses of a contact, in the order given, for this caller alone.

    `absent` are the ids of those of which HighLevel has just known nobody.
    """

    matches: list[ContactMatch]
    absent: set[int]

    @classmethod
    def take(cls, location_id: str, addresses: Sequence[str], lease_for: timedelta) -> "ContactLease | None":
        """All of them or, while another has any of them, None.

        Rows are made and locked in one order by everybody, so that two callers never wait for each other.
        """
        rows = ContactMatch.objects.filter(location_id=location_id, address__in=addresses)
        with transaction.atomic():
            made = (ContactMatch(location_id=location_id, address=each) for each in sorted(addresses))
            ContactMatch.objects.bulk_create(made, ignore_conflicts=True)
            locked = [each.pk for each in rows.select_for_update().order_by("address")]
            free = ContactMatch.objects.filter(FREE, pk__in=locked)
            if free.count() < len(locked):
                return None
            free.update(claimed_until=Now() + lease_for)
            by_address = {each.address: each for each in rows}
            absent = rows.filter(absent_at__gt=Now() - ABSENCE_HOLDS).values_list("pk", flat=True)
            return cls([by_address[each] for each in addresses], set(absent))

    def arm(self, lease_for: timedelta) -> None:
        """Before a call that may create the contact: should its outcome stay unknown, the lease lasts until HighLevel
        is done with it, and "nobody" is true no longer. Raises ContactLeaseLost.
        """
        if self._mine().update(claimed_until=Now() + lease_for, absent_at=None) < len(self.matches):
            raise ContactLeaseLost
        for each in self.matches:
            each.refresh_from_db(fields=["claimed_until"])

    def note_absent(self, match: ContactMatch) -> None:
        self._mine().filter(pk=match.pk).update(absent_at=Now())

    def release(self, found_by: Collection[ContactMatch] = (), **found: Any) -> None:
        """Give it back, with what these matches led to; nothing where it has ended and is another's by now."""
        with transaction.atomic():
            self._mine().filter(pk__in=[each.pk for each in found_by]).update(**found, absent_at=None)
            self._mine().update(claimed_until=None)

    def _mine(self) -> QuerySet[ContactMatch]:
        # One statement leased all of them, until the same instant.
        return ContactMatch.objects.filter(pk__in=self._ids(), claimed_until=self.matches[0].claimed_until)

    def _ids(self) -> list[int]:
        return [each.pk for each in self.matches]


FREE = Q(claimed_until__isnull=True) | Q(claimed_until__lt=Now())
