"""Refreshing: one process trades a refresh token for a new pair, the others use what is at hand or come back.

No lock is held while HighLevel is asked: one conditional UPDATE of `refresh_started_at` makes one process the
refresher for ten seconds. A refresh whose answer was lost is thereby repeated with the same token inside
HighLevel's thirty seconds of grace. What follows from a dead refresh token is in vault.py.

The token endpoint counts towards no account's limit, so a refresh takes no permit of the pace. It passes the circuit
breaker, which hears of its outcome; but one that is repeated is not held back, for the grace might end meanwhile.
"""

import logging
import random
import time
from contextlib import nullcontext
from datetime import timedelta
from typing import NamedTuple

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from ghl.errors import HighLevelError, LocationInactive, OutcomeUnknown, RefreshTokenDead
from ghl.types import Call, TokenGrant
from oauth import calling, outage, upstream
from oauth.keeping import (
    SUSPENDED_FOR,
    LocationSuspended,
    NeedsReconnect,
    TokenBusy,
    columns_of,
    is_usable,
    opened,
)
from oauth.models import Account, Agency, Location, Token

log = logging.getLogger(__name__)

REFRESH_SECONDS = 8.0
WORTH_ASKING_SECONDS = 1.0
REPEAT_AFTER = timedelta(seconds=10)
# How long a new pair that PostgreSQL would not take is kept in memory and offered again.
STORE_FOR_SECONDS = 60.0


class Claim(NamedTuple):
    """A token that is this process's to refresh. `is_repeated`: an earlier refresh of it has had no result."""

    token: Token
    is_repeated: bool


def refresh(token: Token) -> Token:
    """Trade the refresh token for a new pair, unless another process is at it or has just done so.

    Raises a TokenUnavailable, RefreshTokenDead (the claim then stands, for the caller to find another way), or
    the HighLevelError of a refresh that is worth repeating.
    """
    if not _claim(token):
        return _what_another_process_did(token)
    return refresh_claimed(Claim(token, is_repeated=token.refresh_started_at is not None))


def refresh_claimed(claim: Claim) -> Token:
    """The same for a token that is this process's to refresh."""
    token, calls = claim.token, list[Call]()
    if not token.refresh_token:
        raise RefreshTokenDead("HighLevel gave no refresh token")
    try:
        with nullcontext() if claim.is_repeated else calling.passage():
            return _refreshed(token, calls)
    except calling.MustWaitItsTurn as error:
        # Nothing was sent: no doubt is left behind.
        unchanged = Token.objects.filter(pk=token.pk, version=token.version)
        unchanged.update(refresh_started_at=None, refresh_due_at=Now() + error.retry_after)
        raise


def _refreshed(token: Token, calls: list[Call]) -> Token:
    try:
        # The pair is stored before anything else is written: it is the only copy.
        return _keep(token, _ask(token, calls))
    except LocationInactive as error:
        return _suspend(token, error)
    except HighLevelError as error:
        # The claim stays: whatever it was, the same token is tried again when its ten seconds are over.
        log.warning("Refreshing the %s failed: %s", token, error)
        raise
    finally:
        for call in calls:
            outage.note(str(token.location_id or token.agency_id), call)


def claim_due() -> Claim | None:
    """The token that most needs refreshing, for this process to refresh; None where no time has come.

    First those whose refresh has had no result: HighLevel's grace ends thirty seconds after it began.
    """
    claimed = Token.objects.raw(CLAIM_DUE, {"repeat_after": REPEAT_AFTER, "gone": list(Account.DISCONNECTED)})
    # The last column is the statement's own.
    return next((Claim(token, token.is_repeated) for token in claimed), None)  # type: ignore[attr-defined]


CLAIM_DUE = """
WITH due AS MATERIALIZED (
    SELECT token.id, token.refresh_started_at IS NOT NULL AS is_repeated
    FROM oauth_token AS token
    LEFT JOIN oauth_location AS location ON location.id = token.location_id
    LEFT JOIN oauth_agency AS agency ON agency.id = token.agency_id
    WHERE token.refresh_due_at <= statement_timestamp()
      AND (token.refresh_started_at IS NULL
           OR token.refresh_started_at < statement_timestamp() - %(repeat_after)s)
      AND coalesce(location.status, agency.status) <> ALL(%(gone)s)
    ORDER BY token.refresh_started_at NULLS LAST, token.refresh_due_at
    LIMIT 1
    FOR UPDATE OF token SKIP LOCKED
)
UPDATE oauth_token AS token
SET refresh_started_at = statement_timestamp(), refresh_due_at = statement_timestamp() + %(repeat_after)s
FROM due
WHERE token.id = due.id
RETURNING token.*, due.is_repeated
"""


def _claim(token: Token) -> bool:
    unclaimed = Q(refresh_started_at__isnull=True) | Q(refresh_started_at__lt=Now() - REPEAT_AFTER)
    mine = Token.objects.filter(unclaimed, pk=token.pk, version=token.version)
    return mine.update(refresh_started_at=Now(), refresh_due_at=Now() + REPEAT_AFTER) == 1


def _what_another_process_did(token: Token) -> Token:
    now_stored = stored_now(token)
    if now_stored.version != token.version and is_usable(now_stored):
        return now_stored
    raise TokenBusy("Another process is refreshing this token")


def _ask(token: Token, calls: list[Call]) -> TokenGrant:
    """Ask for the new pair, and once more where the answer was lost soon enough: the grace is for that, and an
    outage of ours right afterwards might outlast it."""
    refresh_token, until = opened(token, "refresh_token"), time.monotonic() + REFRESH_SECONDS

    def ask(seconds: float) -> TokenGrant:
        return upstream.client().refresh(
            refresh_token, user_type=token.user_type, timeout=seconds, calls=calls
        )

    try:
        return ask(REFRESH_SECONDS)
    except OutcomeUnknown as error:
        left = until - time.monotonic()
        if left < WORTH_ASKING_SECONDS:
            raise
        log.warning("The answer to refreshing the %s was lost: %s", token, error)
        return ask(left)


def give_up(token: Token, error: RefreshTokenDead) -> Token:
    """The token's successor, if it has one by now; else its account is to be reconnected. Raises NeedsReconnect."""
    # Dead may also mean used: by an install or a refresh that overtook this one.
    waiting_for, status = Account.Waiting.NEEDS_RECONNECT, Account.Status.NEEDS_RECONNECT
    if newer := _overtaken(token, waiting_for, None, status):
        return newer
    log.warning("The refresh %s is dead; it must be reconnected", token)
    raise NeedsReconnect(str(error)) from error


def _suspend(token: Token, error: LocationInactive) -> Token:
    wait = SUSPENDED_FOR * random.uniform(0.8, 1.2)  # noqa: S311
    if newer := _overtaken(token, Account.Waiting.SUSPENDED, wait, Account.Status.SUSPENDED):
        return newer
    log.warning("The account of the %s is not active; it is tried again later", token)
    raise LocationSuspended(str(error)) from error


def _overtaken(
    token: Token, waiting_for: Account.Waiting, wait: timedelta | None, status: Account.Status
) -> Token | None:
    """The token's successor, if it has one; else its account is braked and the claim ends."""
    with transaction.atomic():
        account = _lock_account(token)
        unchanged = Token.objects.filter(pk=token.pk, version=token.version)
        due_at = None if wait is None else Now() + wait
        if unchanged.update(refresh_due_at=due_at, refresh_started_at=None):
            account.brake(waiting_for, wait, status)
            return None
    return stored_now(token)


def _keep(token: Token, grant: TokenGrant) -> Token:
    """Store a refreshed pair. It is the only copy: while PostgreSQL is away it is held and offered again."""
    give_up_at = time.monotonic() + STORE_FOR_SECONDS
    pause = 0.1
    while True:
        try:
            return _replace(token, grant)
        except (OperationalError, InterfaceError):
            if time.monotonic() > give_up_at:
                raise
            log.warning("The refreshed %s could not be stored yet", token)
            connection.close()
            time.sleep(pause)
            pause = min(2.0, pause * 2)


def _replace(token: Token, grant: TokenGrant) -> Token:
    columns = {"version": token.version + 1, **columns_of(token, grant)}
    with transaction.atomic():
        account = _lock_account(token)
        # Only over the pair that was traded in: an install meanwhile is newer, an uninstall has ended it.
        traded_in = Token.objects.filter(pk=token.pk, version=token.version).update(**columns)
        if traded_in and account.status in Account.LOCKED_OUT:
            account.release()
    if not traded_in:
        return stored_now(token)
    for name, value in columns.items():
        setattr(token, name, value)
    return token


def _lock_account(token: Token) -> Account:
    """Whoever writes both rows takes the account's first, as installs do: so none waits for the other for ever."""
    if token.location_id is not None:
        return Location.objects.select_for_update(no_key=True).get(pk=token.location_id)
    return Agency.objects.select_for_update(no_key=True).get(pk=token.agency_id)


def stored_now(token: Token) -> Token:
    """The row as it is by now. Raises NeedsReconnect where an uninstall has taken it away."""
    found = Token.objects.select_related("location", "agency").filter(pk=token.pk).first()
    if found is None:
        raise NeedsReconnect("The app was uninstalled")
    return found
