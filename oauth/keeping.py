"""Tokens at rest: sealed, stored, opened; the only code that sees one in plain text beside the call it is for.
No HTTP: what is asked of HighLevel is in refreshing.py and minting.py, what others ask of us in vault.py."""

import logging
import random
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from ghl.types import TokenGrant
from oauth.models import FOREVER, Account, Token
from oauth.sealing import CannotOpen, Sealed, keyring

log = logging.getLogger(__name__)

# HighLevel documents 86,399 seconds; an answer without `expires_in` must not end refreshing.
USUAL_LIFE = timedelta(days=1)
LONGEST_LIFE = timedelta(days=366)
EARLY = timedelta(minutes=15)
# Tokens granted together are refreshed apart.
JITTER = timedelta(hours=1)
# A token this close to its end may run out on the way to HighLevel.
USABLE_FOR = timedelta(seconds=30)
SUSPENDED_FOR = timedelta(hours=1)


class TokenUnavailable(Exception):
    """There is no usable token now. `retry_after` says when to ask again."""

    retry_after = timedelta(seconds=1)


class TokenBusy(TokenUnavailable):
    """Another process is getting a new one."""


class LocationSuspended(TokenUnavailable):
    """HighLevel says the account is paused; the token is kept and tried again slowly."""

    retry_after = SUSPENDED_FOR


class NeedsReconnect(TokenUnavailable):
    """No token works and none can be had: somebody must install again."""

    retry_after = SUSPENDED_FOR


class TokenUnreadable(TokenUnavailable):
    """Stored, but sealed with a key that TOKEN_ENCRYPTION_KEYS no longer holds, or changed: the operator's matter."""

    retry_after = timedelta(minutes=5)


def is_usable(token: Token) -> bool:
    return token.expires_at > timezone.now() + USABLE_FOR


def store(account: Account, grant: TokenGrant) -> bool:
    """Seal and keep a granted pair, replacing whatever there was; False where that is newer.

    The newest wins, by HighLevel's clock. The caller's transaction holds the account's row, so that two
    grants for an account without a token come one after the other.
    """
    token = _row(account)
    if token.issued_at and grant.issued_at and grant.issued_at < token.issued_at:
        return False
    columns = {"refresh_token": Sealed(""), "scopes": [], **columns_of(token, grant)}
    _replace(token, kind=Token.Kind.OAUTH, **columns)
    return True


def store_private(account: Account, access_token: str) -> None:
    """Seal and keep a Private Integration Token: nothing but its refusal ends it."""
    token = _row(account)
    _replace(
        token,
        kind=Token.Kind.PRIVATE,
        access_token=_seal(token, "access_token", access_token),
        refresh_token=Sealed(""),
        scopes=[],
        issued_at=None,
        expires_at=FOREVER,
    )


def _row(account: Account) -> Token:
    name = account._meta.model_name or ""
    return Token.objects.of(account).first() or Token(**{name: account}, version=0)


def _replace(token: Token, **columns: Any) -> None:
    token.version += 1
    for name, value in columns.items():
        setattr(token, name, value)
    if not (token.refresh_token or _has_minting_agency(token)):
        token.refresh_due_at = None
    token.save()


def _has_minting_agency(token: Token) -> bool:
    """Whether its agency is to bring the next one, as of a location that was given no refresh token."""
    is_private = token.kind == Token.Kind.PRIVATE
    return not is_private and token.location is not None and token.location.connected_agency is not None


def columns_of(token: Token, grant: TokenGrant) -> dict[str, object]:
    """The columns that a grant fills, sealed for this row."""
    life = _life(grant)
    now = timezone.now()
    columns: dict[str, object] = {
        "access_token": _seal(token, "access_token", grant.access_token),
        "issued_at": grant.issued_at,
        "expires_at": now + life,
        "refresh_due_at": _refresh_due_at(now, life),
        "refresh_started_at": None,
        "updated_at": now,
    }
    if grant.refresh_token:
        columns["refresh_token"] = _seal(token, "refresh_token", grant.refresh_token)
    if grant.scopes:
        columns["scopes"] = sorted(grant.scopes)
    if grant.user_type:
        columns["user_type"] = grant.user_type
    return columns


def _life(grant: TokenGrant) -> timedelta:
    said = grant.expires_in
    return min(said, LONGEST_LIFE) if said and said > timedelta(0) else USUAL_LIFE


def _refresh_due_at(now: datetime, life: timedelta) -> datetime:
    """Before its end, by no more than half its life, and not all tokens at once."""
    head_start = min(EARLY, life / 4) + min(JITTER, life / 4) * random.random()  # noqa: S311
    return now + life - head_start


def opened(token: Token, field: str) -> str:
    """A sealed column in plain text. Raises NeedsReconnect where there is nothing in it, TokenUnreadable."""
    sealed: Sealed = getattr(token, field)
    if not sealed:
        raise NeedsReconnect(f"HighLevel gave no {field.replace('_', ' ')}")
    try:
        return keyring().open(sealed, _context(token, field))
    except CannotOpen as error:
        log.error("The %s of the %s cannot be opened: %s", field, token, error)  # noqa: TRY400
        raise TokenUnreadable(str(error)) from error


def _seal(token: Token, field: str, plain: str) -> Sealed:
    return keyring().seal(plain, _context(token, field))


def _context(token: Token, field: str) -> str:
    return f"{Token._meta.db_table}:{token.pk}:{field}"
