"""Taking a lease on what is due. One statement reads all that the step needs with it.
What is done with it is in bookings.py, whose turn it is in turns/."""

import uuid
from datetime import timedelta
from typing import Any

from django.db import connection

from appointments.models import Booking
from oauth import rows, vault

DUE = """
    booking.location_id = %(location)s
    AND booking.next_attempt_at <= statement_timestamp()
    AND (booking.lease_until IS NULL OR booking.lease_until < statement_timestamp())
"""
# Nobody waits until a claim is safe on disk. One that PostgreSQL's crash loses was never acted on: the intent comes
# after it in the log and is waited for, and without the lease it is not written (rule 2).
UNHURRIED = "set_config('synchronous_commit', 'off', true)"
FIELDS = Booking._meta.concrete_fields
NAMES = [field.attname for field in FIELDS]
CLAIM = f"""
WITH oldest AS (
    SELECT booking.id AS booking_id, {", ".join(f"token.{name}" for name in vault.AT_HAND)}
    FROM appointments_booking AS booking
    JOIN oauth_location AS location ON location.id = booking.location_id
    {vault.JOIN_AT_HAND}
    WHERE {DUE} AND (location.not_before IS NULL OR location.not_before <= statement_timestamp())
    ORDER BY booking.id
    LIMIT 1
    FOR UPDATE OF booking SKIP LOCKED
)
UPDATE appointments_booking AS claimed
SET lease = %(lease)s, lease_until = statement_timestamp() + %(lease_for)s
FROM oldest
WHERE claimed.id = oldest.booking_id
RETURNING {", ".join(f"claimed.{field.column}" for field in FIELDS)},
    {", ".join(f"oldest.{name}" for name in vault.AT_HAND)},
    statement_timestamp(),
    EXISTS (SELECT FROM appointments_booking AS booking WHERE {DUE} AND booking.id <> oldest.booking_id),
    {UNHURRIED}
"""  # noqa: S608  (no value is in it)


def claim(location_id: str, lease_for: timedelta) -> Booking | None:
    """Take a lease on the location's oldest due booking; None where there is nothing to do (rule 1).

    One statement: of two workers one gets the row, and the other the next row instead of waiting.
    """
    with connection.cursor() as cursor:
        values: dict[str, Any] = {"location": location_id, "lease": uuid.uuid4(), "lease_for": lease_for}
        cursor.execute(CLAIM, values)
        row = cursor.fetchone()
    if row is None:
        return None
    booking = rows.instance(Booking, NAMES, row[: len(NAMES)])
    *token, booking.claimed_at, booking.more_due, _ = row[len(NAMES) :]
    booking.token = vault.at_hand(token)
    return booking
