"""The list of bookings with each of its filters, of a tenant with a million bookings, beside one with ten thousand.
The plan of each query must use an index."""

import time
from collections.abc import Mapping
from datetime import timedelta
from statistics import median

from django.db import connection
from django.utils import timezone

from appointments.models import Booking, BookingQuerySet
from appointments.requests import list_query
from benchmarks import accepted
from benchmarks.ratios import Ratio
from benchmarks.stack import Stack
from benchmarks.volume import multiply
from oauth import keys
from oauth.models import Agency, ApiKey, Location, Tenant

LOCATIONS = 1000
PAGE = 51  # the fifty that are shown, and one more that tells whether there is a next page
ROUNDS = 5

# By the number n of a stored booking; they were accepted one every 30 seconds, the last one just now.
COLUMNS = {
    "id": "uuidv7(make_interval(secs => (n - {count}) * 30))",
    "location_id": "'stored-' || 1 + n %% {locations}",
    "calendar_id": "'calendar-' || n %% (3 * {locations})",
    "contact_id": "'contact-' || n / 3",
    "external_reference": "CASE WHEN n %% 2 = 0 THEN 'reference-' || n END",
    "created_at": "now() + (n - {count}) * interval '30 seconds'",
    "starts_at": "now() + (n - {count}) * interval '30 seconds' + interval '10 days'",
    "status": "CASE WHEN n %% 100 = 0 THEN 'failed' WHEN n = 77 THEN 'on_hold' ELSE 'booked' END",
    # An appointment belongs to one booking, whichever tenant's.
    "appointment_id": "'appointment-' || {count} || '-' || n",
    "next_attempt_at": "NULL",
}


def measure(stack: Stack) -> list[Ratio]:
    small, large = (100, 2_000) if stack.short else (10_000, 1_000_000)
    keys_of = {count: store(f"tenant with {count}", count) for count in (small, large)}
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    ratios = []
    for name in filters(small):
        # One after the other, so that what else goes on concerns both.
        pairs = [
            [_seconds(key, filters(count)[name]) for count, key in keys_of.items()] for _ in range(ROUNDS)
        ]
        beside, measured = (1 / median(column) for column in zip(*pairs, strict=True))
        ratios.append(Ratio("listing", f"pages/s by {name}", beside, measured, at_least=0.2))
        if not stack.short:
            read = plan(keys_of[large], filters(large)[name])
            assert "Seq Scan on appointments_booking" not in read, read
    return ratios


def filters(count: int) -> dict[str, Mapping[str, str]]:
    """Each filter of the list with a value that few of so many bookings have."""

    def days(number: float) -> str:
        return (timezone.now() + timedelta(days=number)).isoformat()

    return {
        "nothing": {},
        "status": {"status": "on_hold"},
        "locationId": {"locationId": "stored-7"},
        "calendarId": {"calendarId": "calendar-6"},
        "contactId": {"contactId": "contact-11"},
        "externalReference": {"externalReference": "reference-44"},
        "appointmentId": {"appointmentId": f"appointment-{count}-8"},
        "startTime": {"startTimeFrom": days(9.99), "startTimeTo": days(10)},
        "created": {"createdFrom": days(-0.02), "createdTo": days(-0.01)},
    }


def store(name: str, count: int) -> ApiKey:
    """So many bookings of a tenant and a key for all of its agency's locations."""
    tenant, agency = Tenant.objects.create(name=name), Agency.objects.create(pk=name)
    like = Location.objects.create(pk=f"{name}'s", agency=agency)
    accepted.store(
        tenant, [{"calendar_id": "calendar", "user_id": "user", "contact_id": "contact", "id": like.pk}], 1
    )
    if not Location.objects.filter(pk="stored-1").exists():
        multiply(Location, like.pk, LOCATIONS, {"id": "'stored-' || n"})
    columns = {column: sql.format(count=count, locations=LOCATIONS) for column, sql in COLUMNS.items()}
    first = Booking.objects.get(location=like)
    multiply(Booking, first.pk, count, columns)
    key, _ = keys.issue(
        tenant, agency=agency, locations=list(Location.objects.filter(pk__startswith="stored-"))
    )
    return key


def plan(key: ApiKey, parameters: Mapping[str, str]) -> str:
    """How PostgreSQL reads the page."""
    return _page(key, parameters).explain()


def _seconds(key: ApiKey, parameters: Mapping[str, str]) -> float:
    began = time.monotonic()
    list(_page(key, parameters))
    return time.monotonic() - began


def _page(key: ApiKey, parameters: Mapping[str, str]) -> BookingQuerySet:
    """As appointments/api.py asks for it."""
    found = Booking.objects.seen_by(key).select_related("location")
    return found.filter(**list_query(parameters).filters()).order_by("-id")[:PAGE]
