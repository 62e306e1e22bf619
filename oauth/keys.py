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
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from oauth.models import Agency, ApiKey, Location, Tenant
from oauth.scopes import KEY_SCOPES

PREFIX_LENGTH = 12
PREFIX_LETTERS = string.ascii_lowercase + string.digits
SECRET_BYTES = 32
# The secret may contain underscores of its own. What does not look like this is not worth a query.
KEY_FORM = re.compile(rf"bk_(?P<prefix>[a-z0-9]{{{PREFIX_LENGTH}}})_(?P<secret>[\w-]+)", re.ASCII)
# The time of the last use is for people: once a minute is enough, and spares an UPDATE for each request.
LAST_USED_STEP = timedelta(minutes=1)


def issue(
    tenant: Tenant,
    *,
    locations: Iterable[Location] = (),
    agency: Agency | None = None,
    scopes: Sequence[str] = KEY_SCOPES,
    name: str = "",
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its text, which cannot be had again."""
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
    return key, f"bk_{prefix}_{secret}"


def revoke(key: ApiKey) -> None:
    """From the next request on nobody gets in with it."""
    ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=Now())


def find(text: str) -> ApiKey | None:
    """The usable key that this text is, or None; takes the same time for a wrong secret as for a right one."""
    form = KEY_FORM.fullmatch(text)
    if form is None:
        return None
    key = ApiKey.objects.select_related("tenant").filter(prefix=form["prefix"]).first()
    known = bytes(key.digest) if key else bytes(32)
    same = hmac.compare_digest(known, _digest(form["secret"]))
    return key if key and same and key.is_usable else None


def prefix_of(text: str) -> str:
    """Of a whole key, or of what is the prefix already."""
    return text.removeprefix("bk_")[:PREFIX_LENGTH]


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def note_use(key: ApiKey) -> None:
    now = timezone.now()
    if key.last_used_at is None or key.last_used_at < now - LAST_USED_STEP:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
