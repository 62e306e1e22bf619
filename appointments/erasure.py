"""Personal data: erased for one contact, after an uninstall, and by age.

An erased booking keeps its ids, times, states and idempotency key, so that a request which comes again is still told
from a new one. A booking that work is left with is never erased: it could not be carried out any more.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from appointments import addresses
from appointments.models import Booking, BookingQuerySet, ContactMatch, LostCreate, TimelineEntry
from oauth.models import Account, Agency, Location
from webhooks.models import Letter, LetterQuerySet

log = logging.getLogger(__name__)

BATCH_SIZE = 1000


@dataclass(frozen=True)
class Erased:
    """How many rows were erased; `open_bookings` are those that could not be, since work is left with them."""

    bookings: int
    events: int
    open_bookings: Collection[str] = ()


def erase_contact(location_id: str, *, contact_id: str = "", email: str = "", phone: str = "") -> Erased:
    """Erase what is stored about a contact of a location, who is named by one or more of these."""
    country = Location.objects.filter(pk=location_id).values_list("country", flat=True).first() or ""
    keys = set(addresses.keys({"email": email, "phone": phone}, country))
    matches = ContactMatch.objects.filter(location_id=location_id)
    known = matches.filter(address__in=keys).exclude(contact_id="")
    ids = {*known.values_list("contact_id", flat=True), *filter(None, [contact_id])}
    theirs = _bookings_of(location_id, ids, keys, country)
    # Bookings by an address lead to the contact's id, and that to those that name the id alone.
    ids.update(filter(None, theirs.values_list("contact_id", flat=True)))
    theirs = _bookings_of(location_id, ids, keys, country)
    still_open = [str(pk) for pk in theirs.difference(theirs.settled()).values_list("pk", flat=True)]
    events = Letter.objects.filter(location_id=location_id, contact_id__in=ids)
    with transaction.atomic():
        erased = Erased(_erase_bookings(theirs.settled()), _erase_events(events), still_open)
        matches.filter(Q(contact_id__in=ids) | Q(address__in=keys)).delete()
    log.info("Erased a contact of %s: %d bookings, %d events", location_id, erased.bookings, erased.events)
    return erased


def erase_old() -> None:
    """Erase and remove what has been kept for as long as the settings say."""
    if days := settings.UNINSTALL_RETENTION_DAYS:
        for location in _uninstalled(Location, days):
            _erase_location(location)
        for agency in _uninstalled(Agency, days):
            Agency.objects.filter(pk=agency.pk).update(
                name="", brand_domain="", brand_logo_url="", erased_at=Now()
            )
    if days := settings.BOOKING_RETENTION_DAYS:
        old = Booking.objects.settled().filter(updated_at__lt=Now() - timedelta(days=days))
        removed = _in_batches(old, lambda batch: batch.delete()[1].get(Booking._meta.label, 0))
        log.info("Removed %d old bookings", removed)


def _uninstalled(model: type[Account], days: int) -> list[Account]:
    since = Now() - timedelta(days=days)
    rows = model._default_manager.filter(status=Account.Status.UNINSTALLED, disconnected_at__lt=since)
    return list(rows.filter(erased_at__isnull=True))


def _erase_location(location: Account) -> None:
    """What is left of an uninstalled location. Its bookings' work has ended long ago, but for what came late."""
    theirs = Booking.objects.filter(location_id=location.pk)
    bookings = _erase_bookings(theirs.filter(next_attempt_at__isnull=True))
    events = _erase_events(Letter.objects.filter(location_id=location.pk))
    ContactMatch.objects.filter(location_id=location.pk).delete()
    if not theirs.filter(erased_at__isnull=True).exists():
        Location.objects.filter(pk=location.pk).update(name="", erased_at=Now())
    log.info("Erased what %s left: %d bookings, %d events", location.pk, bookings, events)


def _bookings_of(location_id: str, ids: Collection[str], keys: set[str], country: str) -> BookingQuerySet:
    named = Booking.objects.filter(location_id=location_id, contact__isnull=False).only("contact")
    by_address = [
        each.pk
        for each in named.iterator()
        if not keys.isdisjoint(addresses.keys(each.contact or {}, country))
    ]
    theirs = Q(contact_id__in=[each for each in ids if each]) | Q(pk__in=by_address)
    return Booking.objects.filter(theirs, location_id=location_id, erased_at__isnull=True)


def _erase_bookings(bookings: BookingQuerySet) -> int:
    return _in_batches(bookings.filter(erased_at__isnull=True), _erase_batch)


def _erase_batch(batch: BookingQuerySet) -> int:
    LostCreate.objects.filter(booking__in=batch).delete()
    # The path of a call may name the contact.
    TimelineEntry.objects.filter(booking__in=batch, path__startswith="/contacts/").update(path="/contacts/…")
    return batch.erase()


def _in_batches(rows: BookingQuerySet, act: Callable[[BookingQuerySet], int]) -> int:
    """Act on rows, which `act` takes out of the queryset, a batch and transaction at a time; how many they were."""
    total = 0
    while batch := list(rows.values_list("pk", flat=True)[:BATCH_SIZE]):
        with transaction.atomic():
            done = act(Booking.objects.filter(pk__in=batch))
        total += done
        if not done:
            break
    return total


def _erase_events(events: LetterQuerySet) -> int:
    return events.exclude(body={}).erase()
