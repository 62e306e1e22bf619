"""What others ask of the key cabinet: an account's access token that works now, and keeping all of them fresh.
Sealing and storing is in keeping.py, how HighLevel is asked for tokens in refreshing.py and minting.py."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from django.db import connection, transaction

from ghl.errors import HighLevelError, NotSent, OutcomeUnknown, RateLimited, RefreshTokenDead
from oauth import keeping, minting, refreshing, rows
from oauth.calling import MustWaitItsTurn
from oauth.keeping import SUSPENDED_FOR, LocationSuspended, NeedsReconnect, TokenUnavailable, is_usable
from oauth.models import Account, Location, Token
from oauth.wakeups import WakeUp

log = logging.getLogger(__name__)
T = TypeVar("T")

REFRESH = WakeUp("oauth.tasks.refresh_due_tokens")
MINT = WakeUp("oauth.tasks.mint_due_tokens")
# So many threads of a process refresh at a time, and so many mint, who also wait for their agency's turn: the
# others are for bookings.
refreshers = threading.BoundedSemaphore(5)
minters = threading.BoundedSemaphore(3)
# One woken worker goes on for so long, then lets others have their turn.
IN_A_ROW_SECONDS = 20.0
# HighLevel's interval; who is to wait for longer comes back with the sweep.
LONGEST_NAP = timedelta(seconds=10)


class AccountTokens:
    """The access token of one account, as `ghl.auth.authorized` asks for it."""

    def token(self) -> str:
        """A usable access token, refreshed first where it has run out.

        Raises TokenUnavailable, or the HighLevelError of a refresh that failed.
        """
        stored = self._read()
        if not is_usable(stored):
            stored = _fresh(stored)
        return keeping.opened(stored, "access_token")

    def renew(self, failed: str) -> str:
        """A token other than `failed`: the stored one, if somebody has renewed it meanwhile, else a fresh one."""
        stored = self._read()
        if keeping.opened(stored, "access_token") == failed or not is_usable(stored):
            stored = _fresh(stored)
        return keeping.opened(stored, "access_token")

    def _read(self) -> Token:
        raise NotImplementedError


class LocationTokens(AccountTokens):
    """Of a location. One that has none yet, or no longer, gets it with its agency's token, at once."""

    def __init__(self, location_id: str, at_hand: Token | None = None) -> None:
        """`at_hand`: as just read with something else, for the first call; each later one reads it again."""
        self._location_id = location_id
        self._at_hand = at_hand

    def token(self) -> str:
        """As of any account; before each call, so it reads no more than it needs where the stored one works."""
        stored, self._at_hand = self._at_hand or _glance(self._location_id), None
        if stored is not None and is_usable(stored):
            return keeping.opened(stored, "access_token")
        return super().token()

    def _read(self) -> Token:
        stored = (
            Token.objects.select_related("location__agency").filter(location_id=self._location_id).first()
        )
        if stored is None:
            location = Location.objects.select_related("agency").get(pk=self._location_id)
            return _without_token(location)
        if stored.account.status in Account.DISCONNECTED:
            raise NeedsReconnect("The location holds no working token")
        return stored


# For a statement that reads a location and its token with it: what of it (in the model's order), how, and what
# `at_hand` makes of that.
AT_HAND = ("id", "location_id", "access_token", "expires_at")
JOIN_AT_HAND = f"""
    LEFT JOIN oauth_token AS token ON token.location_id = location.id
    AND location.status NOT IN ({", ".join(f"'{each}'" for each in Account.DISCONNECTED)})
"""
GLANCE = f"""
SELECT {", ".join(f"token.{name}" for name in AT_HAND)}
FROM oauth_location AS location {JOIN_AT_HAND}
WHERE location.id = %s
"""  # noqa: S608  (the names are this product's own)


def _glance(location_id: str) -> Token | None:
    with connection.cursor() as cursor:
        cursor.execute(GLANCE, [location_id])
        row = cursor.fetchone()
    return row and at_hand(row)


def at_hand(row: Sequence[Any]) -> Token | None:
    """The token for LocationTokens; None where the location has none, or has none any longer."""
    return rows.instance(Token, AT_HAND, row) if row[0] is not None else None


class AgencyTokens(AccountTokens):
    """Of an agency, for what is asked about its installs."""

    def __init__(self, agency_id: str) -> None:
        self._agency_id = agency_id

    def _read(self) -> Token:
        stored = Token.objects.select_related("agency").filter(agency_id=self._agency_id).first()
        if stored is None or stored.account.status in Account.DISCONNECTED:
            raise NeedsReconnect("The agency holds no working token")
        return stored


def _without_token(location: Location) -> Token:
    if location.status != Account.Status.UNINSTALLED and (token := _agencys(location)):
        return token
    # Whatever took the token away: the brake keeps its bookings from asking for it in vain.
    if token := _stored_meanwhile(location, None, Account.Waiting.NEEDS_RECONNECT, None):
        return token
    raise NeedsReconnect("The location holds no working token")


def _stored_meanwhile(
    location: Location, known: Token | None, waiting_for: Account.Waiting, wait: timedelta | None
) -> Token | None:
    """The token that an install has brought since `known` was read; else the location is braked."""
    with transaction.atomic():
        location = Location.objects.select_for_update(no_key=True).get(pk=location.pk)
        token = Token.objects.select_related("location__agency").filter(location=location).first()
        if token is not None and (known is None or (token.pk, token.version) != (known.pk, known.version)):
            return token
        location.brake(waiting_for, wait, Account.Status(waiting_for))
    return None


def _agencys(location: Location, instead_of: Token | None = None) -> Token | None:
    """The token that its agency's brings for it, at once; None where there is none to be had like that."""
    agency = location.connected_agency
    if agency is None:
        return None
    _wait_out_suspension(location)
    try:
        return minting.mint(location, AgencyTokens(agency.pk), instead_of=instead_of)
    except NeedsReconnect as error:
        log.warning("Location %s gets no token from its agency: %s", location.pk, error)
        return None
    except LocationSuspended:
        # The agency may be what is paused: for its locations that is the same.
        if token := _stored_meanwhile(location, instead_of, Account.Waiting.SUSPENDED, SUSPENDED_FOR):
            return token
        raise


def _fresh(stored: Token) -> Token:
    # Slowly means whoever asks: not once more for each request that needs the token.
    _wait_out_suspension(stored.account)
    if stored.kind == Token.Kind.PRIVATE:
        return _refused_private(stored)
    try:
        return refreshing.refresh(stored)
    except RefreshTokenDead as error:
        return _replaced(stored, error)


def _wait_out_suspension(account: Account) -> None:
    if account.status == Account.Status.SUSPENDED and account.is_waiting:
        raise LocationSuspended("HighLevel says that the account is paused")


def _refused_private(stored: Token) -> Token:
    """A Private Integration Token that HighLevel no longer takes: only the operator can bring another."""
    assert stored.location is not None  # noqa: S101  (agencies have none)
    if token := _stored_meanwhile(stored.location, stored, Account.Waiting.NEEDS_RECONNECT, None):
        return token
    raise NeedsReconnect("HighLevel refuses the Private Integration Token")


def _replaced(stored: Token, error: RefreshTokenDead) -> Token:
    """Another token for one whose refresh token is dead: the agency's help spares everybody a reconnect."""
    if stored.location is not None and minting.takes_over(stored):
        token = _agencys(stored.location, instead_of=stored)
        return token or refreshing.give_up(stored, error)
    return refreshing.give_up(stored, error)


def refresh_due() -> int:
    """Refresh tokens whose time has come, one by one, while other workers do the same; answers how many.

    It ends early where HighLevel does not answer: a worker is not to sit out one time-out after the other.
    """
    REFRESH.clear()
    return _in_a_row(refreshers, refreshing.claim_due, _refresh_claimed, REFRESH.send)


def mint_due(agency_id: str, *, seconds: float = IN_A_ROW_SECONDS) -> int:
    """Ask for the tokens that the agency's locations wait for, likewise, and waiting for the agency's turn."""
    MINT.clear(agency_id)
    agency = AgencyTokens(agency_id)
    return _in_a_row(
        minters,
        lambda: minting.claim_due(agency_id),
        lambda location: minting.mint_claimed(location, agency),
        lambda: MINT.send(agency_id),
        seconds,
    )


def wake_minting() -> None:
    """Wake a worker for each agency with locations that wait for a token."""
    for agency_id in minting.agencies_with_due():
        MINT.send(agency_id)


def _in_a_row(
    hands: threading.BoundedSemaphore,
    claim: Callable[[], T | None],
    work: Callable[[T], object],
    wake: Callable[[], None],
    seconds: float = IN_A_ROW_SECONDS,
) -> int:
    """Work on what is due, one by one, and wake another worker for as long as there is more; answers how many."""
    if not hands.acquire(blocking=False):
        return 0
    done, until = 0, time.monotonic() + seconds
    try:
        while time.monotonic() < until and (claimed := claim()):
            wake()
            try:
                work(claimed)
            except (NotSent, OutcomeUnknown, RateLimited):
                break
            except MustWaitItsTurn as error:
                if error.retry_after > LONGEST_NAP:
                    break
                time.sleep(error.retry_after.total_seconds())
            except (TokenUnavailable, HighLevelError):
                continue  # logged and rescheduled where it happened
            else:
                done += 1
    finally:
        hands.release()
    return done


def _refresh_claimed(claim: refreshing.Claim) -> Token:
    try:
        return refreshing.refresh_claimed(claim)
    except RefreshTokenDead as error:
        return _replaced(claim.token, error)
