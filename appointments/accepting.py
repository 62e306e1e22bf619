"""Writing an accepted booking, as one statement: finds the location that the key covers and the idempotency key's
earlier booking, else writes the row and its first line of history. What it leads to is in bookings.py.

Each statement costs a web process more in round trip and in Python than its work costs PostgreSQL.
"""

import json
from functools import cache
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection
from psycopg.types.json import Jsonb

from appointments.models import Booking, TimelineEntry
from oauth import rows
from oauth.models import ApiKey, Location, covered_by, covering_values

# What a booking says itself; its location is the statement's to find, and so are its status and error.
GIVEN = (
    "id", "tenant_id", "idempotency_key", "request_digest", "created_at", "updated_at", "wish", "contact",
    "calendar_id", "contact_id", "starts_at", "external_reference", "metadata", "expires_at",
)  # fmt: skip
JSON = ("wish", "contact", "metadata")
FOUND = ("location_id", "status", "error")
LOCATION_NAMES = ("id", "status", "timezone")


class Found(NamedTuple):
    """The covered location, the earlier booking of the idempotency key, and what was written if there is none.

    Nothing was written and nothing is earlier: the location is uninstalled, the time is over, or another
    request with the key was being written at the same moment.
    """

    location_id: str
    location_status: str
    timezone: str
    is_braked: bool
    earlier_id: Any
    earlier_digest: bytes | None
    earlier_location_id: str | None
    status: str | None
    error: str | None


def accept(
    fields: dict[str, Any], key: ApiKey, location_id: str | None, held: str, *, in_time: bool
) -> list[Found]:
    """Write the booking for the location: an empty list where the key covers none, two where it does not say which.

    `fields`: those that GIVEN names. `held`: in JSON, the error of a booking that is accepted on hold, by what its
    location waits for. Two requests with one idempotency key at the same moment: the second waits for the first one's
    commit, writes nothing, and finds it if it asks again, for a statement sees what was committed before it began.
    """
    values = {
        **fields,
        **{name: Jsonb(fields[name]) for name in JSON if fields[name] is not None},
        **covering_values(key),
        "location": location_id,
        "held": held,
        "in_time": in_time,
    }
    has_key = fields["idempotency_key"] is not None
    with rows.prepared() as cursor:
        cursor.execute(_statement(key.agency_id is not None, location_id is not None, has_key), values)
        return [Found(*row) for row in cursor.fetchall()]


def written(fields: dict[str, Any], found: Found) -> Booking:
    """The booking as it was written, without reading it again."""
    error = json.loads(found.error) if found.error else None
    # PostgreSQL's clock decides what is due; for the answer ours is near enough.
    more = {"location_id": found.location_id, "status": found.status, "next_attempt_at": fields["created_at"]}
    booking = Booking.from_db(
        DEFAULT_DB_ALIAS, list(_fresh()), list({**_fresh(), **fields, **more, "error": error}.values())
    )
    booking.location = rows.instance(
        Location, LOCATION_NAMES, (found.location_id, found.location_status, found.timezone)
    )
    return booking


def _fresh() -> dict[str, Any]:
    """What a new booking holds, by field."""
    # Objects of its own, for it may change them.
    return {name: {} if value == {} else value for name, value in _defaults().items()}


@cache
def _defaults() -> dict[str, Any]:
    fresh = Booking()
    return {field.attname: getattr(fresh, field.attname) for field in Booking._meta.concrete_fields}


@cache
def _statement(of_agency: bool, says_which: bool, has_key: bool) -> str:
    """The statement for such a key and such a request; it is the same for all of them."""
    fields = [*GIVEN, *FOUND, *_constants()]
    values = [
        *(f"%({name})s::{_type(name)}" for name in GIVEN),
        "location.id",
        f"CASE WHEN location.is_held THEN '{Booking.Status.ON_HOLD}' ELSE '{Booking.Status.PENDING}' END",
        "CASE WHEN location.is_held THEN %(held)s::jsonb -> location.waiting_for END",
        *_constants().values(),
    ]
    return f"""
WITH covered AS (
    SELECT location.id, location.status, location.timezone, location.waiting_for,
        coalesce(location.not_before > %(created_at)s, false) AS is_braked,
        coalesce(location.not_before > %(created_at)s AND %(held)s::jsonb ? location.waiting_for, false) AS is_held
    FROM {Location._meta.db_table} AS location
    WHERE {"location.id = %(location)s AND" if says_which else ""} {covered_by(of_agency)}
    LIMIT 2
), earlier AS ({EARLIER if has_key else NONE}), accepted AS (
    INSERT INTO {Booking._meta.db_table} ({", ".join(fields)})
    SELECT {", ".join(values)}
    FROM covered AS location
    WHERE (SELECT count(*) FROM covered) = 1 AND location.status <> '{Location.Status.UNINSTALLED}' AND %(in_time)s
    AND NOT EXISTS (SELECT FROM earlier)
    {ON_CONFLICT if has_key else ""}
    RETURNING id, status, error
), history AS ({HISTORY})
SELECT covered.id, covered.status, covered.timezone, covered.is_braked,
    earlier.id, earlier.request_digest, earlier.location_id, accepted.status, accepted.error
FROM covered LEFT JOIN earlier ON true LEFT JOIN accepted ON true
"""  # noqa: S608  (no value is in it)


EARLIER = f"""
    SELECT booking.id, booking.request_digest, booking.location_id FROM {Booking._meta.db_table} AS booking
    WHERE booking.tenant_id = %(tenant_id)s AND booking.idempotency_key = %(idempotency_key)s
"""  # noqa: S608
NONE = "SELECT NULL::uuid AS id, NULL::bytea AS request_digest, NULL AS location_id WHERE false"
ON_CONFLICT = "ON CONFLICT (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING"
HISTORY = f"""
    INSERT INTO {TimelineEntry._meta.db_table}
        (booking_id, kind, from_status, to_status, reason, method, path, outcome, trace_id)
    SELECT id, '{TimelineEntry.Kind.STATE}', '', status, 'accepted', '', '', '', '' FROM accepted
"""  # noqa: S608


@cache
def _constants() -> dict[str, str]:
    """What every new booking has, by column; PostgreSQL sets what has a default of its own."""
    return {
        str(field.column): _literal(
            field.get_db_prep_save(_defaults()[field.attname], connection), field.attname
        )
        for field in Booking._meta.concrete_fields
        if field.attname not in {*GIVEN, *FOUND} and not field.has_db_default()
    }


def _literal(value: Any, name: str) -> str:
    with connection.cursor() as cursor:
        return f"{cursor.mogrify('%s', [value])}::{_type(name)}".replace("%", "%%")


def _type(name: str) -> str:
    """Of a column, without its length: a cast would cut what is too long instead of refusing it."""
    kind: str = Booking._meta.get_field(name).db_type(connection) or ""
    return kind.partition("(")[0]
