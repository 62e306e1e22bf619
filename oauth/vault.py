"""Where tokens are sealed, opened and kept fresh; the only code that sees one in plain text.

Refreshing takes no lock while it calls HighLevel: one conditional UPDATE of `refresh_started_at` makes one
process the refresher for ten seconds, everybody else uses the token at hand or comes back. A refresh whose
answer was lost is thereby repeated with the same token inside HighLevel's thirty seconds of grace.
Who installs and what an install means is in installs.py.
"""

import logging
import random
import time
from datetime import timedelta

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from ghl.errors import HighLevelError, LocationInactive, NotSent, OutcomeUnknown, RefreshTokenDead
from ghl.types import TokenGrant
from oauth import upstream
from oauth.models import Location, Token
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
REFRESH_SECONDS = 8.0
WORTH_ASKING_SECONDS = 1.0
REPEAT_AFTER = timedelta(seconds=10)
SUSPENDED_FOR = timedelta(hours=1)
# How long a new pair that PostgreSQL would not take is kept in memory and offered again.
STORE_FOR_SECONDS = 60.0


class TokenUnavailable(Exception):
    """There is no usable token now. `retry_after` says when to ask again."""

    retry_after = timedelta(seconds=1)


class TokenBusy(TokenUnavailable):
    """Another process is refreshing it."""


class LocationSuspended(TokenUnavailable):
    """HighLevel says the account is paused; the token is kept and tried again slowly."""

    retry_after = SUSPENDED_FOR


class NeedsReconnect(TokenUnavailable):
    """The refresh token is dead: somebody must install again."""

    retry_after = SUSPENDED_FOR


class TokenUnreadable(TokenUnavailable):
    """Stored, but sealed with a key that TOKEN_ENCRYPTION_KEYS no longer holds, or changed: the operator's matter."""

    retry_after = timedelta(minutes=5)


class LocationTokens:
    """The access token of one location, as `ghl.auth.authorized` asks for it."""

    def __init__(self, location_id: str) -> None:
        self._location_id = location_id

    def token(self) -> str:
        """A usable access token, refreshed first where it has run out.

        Raises TokenUnavailable, or the HighLevelError of a refresh that failed.
        """
        stored = self._read()
        if not is_usable(stored):
            stored = self._refreshed(stored)
        return _open(stored, "access_token")

    def renew(self, failed: str) -> str:
        """A token other than `failed`: the stored one, if somebody has renewed it meanwhile, else a refreshed one."""
        stored = self._read()
        if _open(stored, "access_token") == failed or not is_usable(stored):
            stored = self._refreshed(stored)
        return _open(stored, "access_token")

    def _read(self) -> Token:
        stored = Token.objects.select_related("location").filter(location_id=self._location_id).first()
        if stored is None:
            # Whatever took the token away: the brake keeps its bookings from asking for it in vain.
            lost = Location.objects.get(pk=self._location_id)
            lost.brake(Location.Waiting.NEEDS_RECONNECT, None, Location.Status.NEEDS_RECONNECT)
        if stored is None or stored.location.status in Location.DISCONNECTED:
            raise NeedsReconnect("The location holds no working token")
        return stored

    def _refreshed(self, stored: Token) -> Token:
        # Slowly means whoever asks: not once more for each request that needs the token.
        if stored.location.status == Location.Status.SUSPENDED and stored.location.is_waiting:
            raise LocationSuspended("HighLevel says that the location's account is paused")
        return refresh(stored)


def is_usable(token: Token) -> bool:
    return token.expires_at > timezone.now() + USABLE_FOR


def store(location: Location, grant: TokenGrant) -> bool:
    """Seal and keep a pair from an install, replacing whatever there was; False where that is newer.

    The newest wins, by HighLevel's clock. The caller's transaction holds the location's row, so that two
    installs of a location without a token come one after the other.
    """
    token = Token.objects.filter(location=location).first() or Token(location=location, version=0)
    if token.issued_at and grant.issued_at and grant.issued_at < token.issued_at:
        return False
    token.version += 1
    for name, value in {"refresh_token": Sealed(""), **_sealed(token, grant)}.items():
        setattr(token, name, value)
    if not token.refresh_token:
        token.refresh_due_at = None
    token.save()
    return True


def refresh(token: Token) -> Token:
    """Trade the refresh token for a new pair, unless another process is at it or has just done so.

    Raises a TokenUnavailable, or the HighLevelError of a refresh that is worth repeating.
    """
    if not _claim(token):
        return _what_another_process_did(token)
    try:
        grant = _ask(token)
    except LocationInactive as error:
        return _suspend(token, error)
    except RefreshTokenDead as error:
        return _give_up(token, error)
    except HighLevelError as error:
        # The claim stays: whatever it was, the same token is tried again when its ten seconds are over.
        log.warning("Refreshing the %s failed: %s", token, error)
        raise
    return _keep(token, grant)


def _ask(token: Token) -> TokenGrant:
    """Ask for the new pair, and once more where the answer was lost soon enough: the grace is for that, and an
    outage of ours right afterwards might outlast it."""
    refresh_token, until = _open(token, "refresh_token"), time.monotonic() + REFRESH_SECONDS
    try:
        return upstream.client().refresh(refresh_token, user_type=token.user_type, timeout=REFRESH_SECONDS)
    except OutcomeUnknown as error:
        left = until - time.monotonic()
        if left < WORTH_ASKING_SECONDS:
            raise
        log.warning("The answer to refreshing the %s was lost: %s", token, error)
        return upstream.client().refresh(refresh_token, user_type=token.user_type, timeout=left)


def refresh_due(limit: int = 100) -> int:
    """Refresh tokens whose time has come, one by one; answers how many were refreshed.

    It ends early where HighLevel does not answer: a worker is not to sit out one time-out after the other.
    """
    refreshed = 0
    for token in _due(limit):
        try:
            refresh(token)
        except (NotSent, OutcomeUnknown):
            break
        except (TokenUnavailable, HighLevelError):
            continue  # logged and rescheduled where it happened
        refreshed += 1
    return refreshed


def _due(limit: int) -> "QuerySet[Token]":
    waiting = Token.objects.filter(_unclaimed(), refresh_due_at__lte=Now())
    connected = waiting.exclude(location__status__in=Location.DISCONNECTED).select_related("location")
    # First those whose refresh has had no result: HighLevel's grace ends thirty seconds after it began.
    return connected.order_by(F("refresh_started_at").asc(nulls_last=True), "refresh_due_at")[:limit]


def _unclaimed() -> Q:
    return Q(refresh_started_at__isnull=True) | Q(refresh_started_at__lt=Now() - REPEAT_AFTER)


def _claim(token: Token) -> bool:
    mine = Token.objects.filter(_unclaimed(), pk=token.pk, version=token.version)
    return mine.update(refresh_started_at=Now(), refresh_due_at=Now() + REPEAT_AFTER) == 1


def _what_another_process_did(token: Token) -> Token:
    now_stored = _stored_now(token)
    if now_stored.version != token.version and is_usable(now_stored):
        return now_stored
    raise TokenBusy("Another process is refreshing this token")


def _give_up(token: Token, error: RefreshTokenDead) -> Token:
    # Dead may also mean used: by an install or a refresh that overtook this one.
    if newer := _overtaken(token, Location.Waiting.NEEDS_RECONNECT, None, Location.Status.NEEDS_RECONNECT):
        return newer
    log.warning("The refresh token of %s is dead; it must be reconnected", token.location_id)
    raise NeedsReconnect(str(error)) from error


def _suspend(token: Token, error: LocationInactive) -> Token:
    wait = SUSPENDED_FOR * random.uniform(0.8, 1.2)  # noqa: S311
    if newer := _overtaken(token, Location.Waiting.SUSPENDED, wait, Location.Status.SUSPENDED):
        return newer
    log.warning("Location %s is not active; its token is tried again later", token.location_id)
    raise LocationSuspended(str(error)) from error


def _overtaken(
    token: Token, waiting_for: Location.Waiting, wait: timedelta | None, status: Location.Status
) -> Token | None:
    """The token's successor, if it has one; else its location is braked and the claim ends."""
    with transaction.atomic():
        location = _lock_location(token)
        unchanged = Token.objects.filter(pk=token.pk, version=token.version)
        due_at = None if wait is None else Now() + wait
        if unchanged.update(refresh_due_at=due_at, refresh_started_at=None):
            location.brake(waiting_for, wait, status)
            return None
    return _stored_now(token)


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
            log.warning("A refreshed token of %s could not be stored yet", token.location_id)
            connection.close()
            time.sleep(pause)
            pause = min(2.0, pause * 2)


def _replace(token: Token, grant: TokenGrant) -> Token:
    with transaction.atomic():
        location = _lock_location(token)
        # Only over the pair that was traded in: an install meanwhile is newer.
        traded_in = Token.objects.filter(pk=token.pk, version=token.version)
        if traded_in.update(version=F("version") + 1, **_sealed(token, grant)):
            location.release()
    return _stored_now(token)


def _lock_location(token: Token) -> Location:
    """Whoever writes both rows takes the location's first, as installs do: so none waits for the other for ever."""
    return Location.objects.select_for_update().get(pk=token.location_id)


def _stored_now(token: Token) -> Token:
    return Token.objects.select_related("location").get(pk=token.pk)


def _sealed(token: Token, grant: TokenGrant) -> dict[str, object]:
    """The columns that a grant fills."""
    life = _life(grant)
    now = timezone.now()
    columns: dict[str, object] = {
        "access_token": _seal(token, "access_token", grant.access_token),
        "issued_at": grant.issued_at,
        "expires_at": now + life,
        "refresh_due_at": now + life - _head_start(life),
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


def _head_start(life: timedelta) -> timedelta:
    """How long before its end a token is refreshed; never more than half its life."""
    return min(EARLY, life / 4) + min(JITTER, life / 4) * random.random()  # noqa: S311


def _seal(token: Token, field: str, plain: str) -> Sealed:
    return keyring().seal(plain, _context(token, field))


def _open(token: Token, field: str) -> str:
    sealed: Sealed = getattr(token, field)
    if not sealed:
        raise NeedsReconnect(f"HighLevel gave no {field.replace('_', ' ')}")
    try:
        return keyring().open(sealed, _context(token, field))
    except CannotOpen as error:
        log.error("The %s of location %s cannot be opened: %s", field, token.location_id, error)  # noqa: TRY400
        raise TokenUnreadable(str(error)) from error


def _context(token: Token, field: str) -> str:
    return f"{Token._meta.db_table}:{token.pk}:{field}"
