"""Bookings for benchmarks: wished for one by one as tenants do, or stored by the thousand, not due until released.
What becomes of them is the product's matter, how fast each benchmark's own."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models.functions import Now
from django.utils import timezone

from appointments import turns
from appointments.bookings import Wanted
from appointments.models import Booking
from oauth.models import Tenant

AT_ONCE = 1000
FIRST_START = datetime(2030, 1, 1, 9, tzinfo=UTC)


def wish(place: dict[str, Any], number: int) -> dict[str, Any]:
    """What a tenant asks for, at a time of its own in a place that desk.locations made."""
    return {
        "calendar_id": place["calendar_id"],
        "start_time": _start(number).isoformat(),
        "assigned_user_id": place["user_id"],
        # Slots are HighLevel's matter, and looking for them would cost the sandbox's time.
        "ignore_free_slot_validation": True,
        "title": f"Booking {number}",
    }


def wanted(place: dict[str, Any], number: int) -> Wanted:
    return Wanted(
        wish=wish(place, number),
        calendar_id=place["calendar_id"],
        starts_at=_start(number),
        digest=b"0" * 32,
        location_id=place["id"],
        contact_id=place["contact_id"],
    )


def store(tenant: Tenant, places: Iterable[dict[str, Any]], of_each: int) -> None:
    """So many bookings of each place, accepted in turn, that nobody takes up before `release`."""
    places = list(places)
    bookings = [_stored(tenant, place, number) for number in range(of_each) for place in places]
    Booking.objects.bulk_create(bookings, AT_ONCE)


def _stored(tenant: Tenant, place: dict[str, Any], number: int) -> Booking:
    return Booking(
        tenant=tenant,
        location_id=place["id"],
        request_digest=b"0" * 32,
        wish=wish(place, number),
        calendar_id=place["calendar_id"],
        contact_id=place["contact_id"],
        starts_at=_start(number),
        expires_at=timezone.now() + timedelta(days=1),
        next_attempt_at=None,
    )


def release() -> None:
    """All that is stored falls due at once."""
    waiting = Booking.objects.filter(status=Booking.Status.PENDING)
    locations = list(waiting.values_list("location_id", flat=True).distinct())
    waiting.update(next_attempt_at=Now())
    for location_id in locations:
        turns.wake(location_id)


def _start(number: int) -> datetime:
    return FIRST_START + timedelta(minutes=30 * number)
