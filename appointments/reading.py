"""One booking as an API key may see it, with what of its location an answer needs. Sets of them are the queryset's.

One statement written by hand: the ORM takes longer to put one together than PostgreSQL to answer it.
"""

from functools import cache
from uuid import UUID

from appointments.models import Booking
from oauth import rows
from oauth.models import ApiKey, Location, Upstream, covered_by, covering_values

NAMES = [field.attname for field in Booking._meta.concrete_fields]
LOCATION_NAMES = ["id", "status", "timezone"]


def find(key: ApiKey, booking_id: UUID) -> Booking | None:
    """The booking, if it is the key's tenant's and in a location that the key covers."""
    values = {"booking": booking_id, "tenant": key.tenant_id, **covering_values(key)}
    with rows.prepared() as cursor:
        cursor.execute(_statement(key.agency_id is not None), values)
        row = cursor.fetchone()
    if row is None:
        return None
    *columns, held_until = row
    booking = rows.instance(Booking, NAMES, columns[: len(NAMES)])
    booking.location = rows.instance(Location, LOCATION_NAMES, columns[len(NAMES) :])
    booking.__dict__["held_until"] = held_until  # as `seen_by` does
    return booking


@cache
def _statement(of_agency: bool) -> str:
    return f"""
SELECT {", ".join(f"booking.{name}" for name in NAMES)},
    {", ".join(f"location.{name}" for name in LOCATION_NAMES)},
    greatest(location.not_before, (SELECT not_before FROM {Upstream._meta.db_table} LIMIT 1))
FROM {Booking._meta.db_table} AS booking
JOIN {Location._meta.db_table} AS location ON location.id = booking.location_id
WHERE booking.id = %(booking)s AND booking.tenant_id = %(tenant)s AND {covered_by(of_agency)}
"""  # noqa: S608  (no value is in it)
