"""API keys: issued, shown once, found again. What a key covers is a queryset in models.py; how a request shows
its key is in access.py.

A key reads `bk_<prefix>_<secret>`. The prefix finds the row; of the secret (256 bits) only the SHA-256 is kept,
which needs no salt and no slow hash since nobody can guess 256 random bits.
"""

import hashlib
import hmac
import re
import secrets
import string
import time
from collections.abc import Sequence
from copy import copy
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from oauth import audit, rows
from oauth.models import Agency, ApiKey, Location, Tenant
from oauth.scopes import BOOKINGS_READ, BOOKINGS_WRITE

PREFIX_LENGTH = 12
PREFIX_LETTERS = string.ascii_lowercase + string.digits
SECRET_BYTES = 32
# What a key is given where nothing else is asked for.
DEFAULT_SCOPES = (BOOKINGS_READ, BOOKINGS_WRITE)
DEFAULT_LIFETIME = timedelta(days=365)
# The secret may contain underscores of its own. What does not look like this is not worth a query.
KEY_FORM = re.compile(rf"bk_(?P<prefix>[a-z0-9]{{{PREFIX_LENGTH}}})_(?P<secret>[\w-]+)", re.ASCII)
# The time of the last use is for people: once a minute is enough, and spares an UPDATE for each request.
LAST_USED_STEP = timedelta(minutes=1)
# Keys found lately, by prefix. They spare the most frequent requests a statement.
RECENT_SECONDS = 10
MAX_RECENT = 1_000
_found: dict[str, ApiKey] = {}
# Ids of locations in an audit line.
MAX_AUDITED_LOCATIONS = 20


def issue(
    tenant: Tenant,
    *,
    locations: Sequence[Location] = (),
    agency: Agency | None = None,
    scopes: Sequence[str] = DEFAULT_SCOPES,
    name: str = "",
    expires_at: datetime | None = None,
    never_expires: bool = False,
    by: str = "",
) -> tuple[ApiKey, str]:
    """A new key and its text, which cannot be had again. It expires after a year unless told otherwise.

    `by` names the person who has it issued, for the audit log.
    """
    if expires_at is None and not never_expires:
        expires_at = timezone.now() + DEFAULT_LIFETIME
    prefix = "".join(secrets.choice(PREFIX_LETTERS) for _ in range(PREFIX_LENGTH))
    secret = secrets.token_urlsafe(SECRET_BYTES)
    with transaction.atomic():
        key = ApiKey.objects.create(
            tenant=tenant,
            agency=agency,
            prefix=prefix,
            digest=_digest(secret),
            scopes=list(scopes),
            name=name,
            expires_at=expires_at,
        )
        key.locations.set(locations)
    audit.record(
        "api_key.issued",
        **_named(key),
        scopes=key.scopes,
        locations=[location.pk for location in locations[:MAX_AUDITED_LOCATIONS]],
        location_count=len(locations),
        agency=key.agency_id,
        expires_at=key.expires_at.isoformat() if key.expires_at else None,
        by=by,
    )
    return key, f"bk_{prefix}_{secret}"


def revoke(key: ApiKey, *, by: str = "") -> None:
    """From the next request on the key is refused."""
    if ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=Now()):
        audit.record("api_key.revoked", **_named(key), by=by)


def find(text: str, *, recent: bool = False) -> ApiKey | None:
    """The usable key that this text is, or None; takes the same time for a wrong secret as for a right one.

    `recent`: a key found in the last seconds will do, for a caller whose next statement holds it against the stored
    one (`models.covered_by`).
    """
    form = KEY_FORM.fullmatch(text)
    if form is None:
        return None
    key = (_recent(form["prefix"]) if recent else None) or _stored(form["prefix"])
    known = bytes(key.digest) if key else bytes(32)
    same = hmac.compare_digest(known, _digest(form["secret"]))
    if not (key and same and key.is_usable):
        return None
    if key.found_at is None:
        _remember(key)
    return key


def _recent(prefix: str) -> ApiKey | None:
    key = _found.get(prefix)
    return key if key and key.found_at and time.monotonic() - key.found_at < RECENT_SECONDS else None


def _remember(key: ApiKey) -> None:
    if len(_found) >= MAX_RECENT:
        _found.clear()
    # A copy: `found_at` tells a remembered key from one that was just read.
    remembered = _found[key.prefix] = copy(key)
    remembered.found_at = time.monotonic()


def _stored(prefix: str) -> ApiKey | None:
    """The key of that prefix with its tenant. Every request asks, and the ORM takes longer to ask than PostgreSQL."""
    with rows.prepared() as cursor:
        cursor.execute(STORED, [prefix])
        row = cursor.fetchone()
    if row is None:
        return None
    key = rows.instance(ApiKey, KEY_COLUMNS, row[: len(KEY_COLUMNS)])
    key.tenant = rows.instance(Tenant, TENANT_COLUMNS, row[len(KEY_COLUMNS) :])
    return key


KEY_COLUMNS = [field.attname for field in ApiKey._meta.concrete_fields]
TENANT_COLUMNS = [field.attname for field in Tenant._meta.concrete_fields]
STORED = f"""
SELECT {", ".join(f"key.{name}" for name in KEY_COLUMNS)}, {", ".join(f"tenant.{name}" for name in TENANT_COLUMNS)}
FROM oauth_apikey AS key JOIN oauth_tenant AS tenant ON tenant.id = key.tenant_id
WHERE key.prefix = %s
"""  # noqa: S608  (no value is in it)


def record_refusal(text: str) -> None:
    """Write an audit line about a key that `find` did not take: its prefix and the reason, not its secret."""
    suppressed = audit.refusals.admit()
    if suppressed is None:
        return
    form = KEY_FORM.fullmatch(text)
    key = _stored(form["prefix"]) if form else None
    if form is None or key is None:
        named = {"key": form["prefix"]} if form else {}
        audit.record_refusal("api_key.refused", suppressed=suppressed, reason="unknown", **named)
        return
    if not hmac.compare_digest(bytes(key.digest), _digest(form["secret"])):
        reason = "wrong_secret"
    else:
        reason = "revoked" if key.revoked_at else "expired"
    audit.record_refusal("api_key.refused", suppressed=suppressed, reason=reason, **_named(key))


def record_missing_scope(key: ApiKey, scope: str) -> None:
    """Write an audit line about a key that lacks the scope of what it asked for."""
    if (suppressed := audit.refusals.admit()) is not None:
        audit.record_refusal(
            "api_key.refused", suppressed=suppressed, reason="insufficient_scope", scope=scope, **_named(key)
        )


def _named(key: ApiKey) -> dict[str, str]:
    return {"key": key.prefix, "name": key.name, "tenant": key.tenant.name}


def prefix_of(text: str) -> str:
    """Of a whole key, or of what is the prefix already."""
    return text.removeprefix("bk_")[:PREFIX_LENGTH]


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def note_use(key: ApiKey) -> None:
    now = timezone.now()
    if key.last_used_at is None or key.last_used_at < now - LAST_USED_STEP:
        # Of many requests at that moment one writes.
        ApiKey.objects.filter(pk=key.pk, last_used_at=key.last_used_at).update(last_used_at=now)
        key.last_used_at = now
