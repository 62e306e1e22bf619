"""News of locations, as oauth leaves it for this room: what an uninstall or a reconnect means for open bookings.
Holding and releasing while a location waits is sweeping.py's."""

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from appointments import turns
from appointments.models import Booking
from oauth.models import Location, LocationChange, unbraked

READER = "appointments"
AT_ONCE = 100

# What waits for a time that has been overtaken, unless its location waits again by now; and what was left until
# somebody reconnects.
OPEN = (
    (Q(next_attempt_at__gt=Now()) & unbraked("location__"))
    | Q(next_attempt_at__isnull=True, status=Booking.Status.BOOKED, cancel_requested_at__isnull=False)
    | Q(next_attempt_at__isnull=True, is_orphaned=True)
)


def follow() -> None:
    """Act on what has changed since last time: each piece of news is gone in the transaction that acts on it."""
    while _follow_some() == AT_ONCE:
        continue


def _follow_some() -> int:
    with transaction.atomic():
        changes = list(LocationChange.objects.unread(READER)[:AT_ONCE])
        changed = {change.location_id for change in changes if change.status in ENDS_OR_GOES_ON}
        due = Booking.objects.filter(OPEN, location_id__in=changed)
        concerned = set(due.values_list("location_id", flat=True)) if changed else set()
        if concerned:
            due.update(next_attempt_at=Now())
        LocationChange.objects.filter(pk__in=[change.pk for change in changes]).delete()
    turns.wake(*sorted(concerned))
    return len(changes)


# Open bookings end with the one and go on with the other, in both cases by their next step; what is suspended or
# to be reconnected waits, which is its brake's matter.
ENDS_OR_GOES_ON = (Location.Status.UNINSTALLED, Location.Status.ACTIVE)
