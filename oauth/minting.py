"""Minting: a location's token, asked for with its agency's. It is how an agency install reaches its locations,
and how a location comes by a token again when its own refresh token is dead.

HighLevel may end the earlier refresh token of a location for which it gives a new one, so one process at a time
mints for it: a conditional UPDATE of `mint_started_at`, good for ten seconds, and no lock while it asks.
"""

import logging
import random
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from ghl.auth import TokenSource
from ghl.errors import HighLevelError, LocationForbidden, LocationInactive, Refused
from ghl.types import Call, TokenGrant
from oauth import calling, keeping, upstream
from oauth.instants import is_surely_before, latest, may_be_before
from oauth.keeping import SUSPENDED_FOR, LocationSuspended, NeedsReconnect, TokenBusy
from oauth.models import Account, Agency, Location, Token, unbraked
from oauth.pace import Use

log = logging.getLogger(__name__)

MINT_SECONDS = 8.0
REPEAT_AFTER = timedelta(seconds=10)
# HighLevel may list a location before it gives a token for it; one that it goes on refusing is looked up again.
MOST_FAILURES = 8
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(hours=6)
# What nobody waits for yet leaves the last slots of an agency to what a booking needs now. Lists and mints are all
# that a company's allowance is for, so it is not theirs to keep to the background's twentieth.
IN_TURN, AT_ONCE = Use.BOOKING, Use.UPKEEP


class MintRefused(NeedsReconnect):
    """HighLevel gives the agency no token for this location: the app is not, or not yet, installed in it."""


def mint(location: Location, agency: TokenSource, *, instead_of: Token | None = None) -> Token:
    """Ask at once for the location's token with its agency's, and connect the location.

    `instead_of` is the token that does not work; where another one is stored by now that is the answer. Raises
    TokenBusy, MustWaitItsTurn, LocationSuspended, MintRefused, whatever `agency` raises, or a HighLevelError that
    is worth repeating.
    """
    if not _claim(location):
        raise TokenBusy("Another process is asking for this location's token")
    # Looked at now that nobody else can mint one.
    if newer := _stored(location, instead_of):
        _rows(location).update(mint_started_at=None)
        return newer
    return mint_claimed(location, agency, AT_ONCE)


def _stored(location: Location, instead_of: Token | None) -> Token | None:
    tokens = Token.objects.of(location).select_related("location", "agency")
    return tokens.exclude(version=instead_of.version if instead_of else 0).first()


def takes_over(token: Token) -> bool:
    """Whether the agency is to bring the next token of a location whose refresh token is dead.

    From then on it is due to be minted, and no longer to be refreshed, however often the first try fails.
    """
    location = token.location
    if location is None or location.connected_agency is None:
        return False
    unchanged = Token.objects.filter(pk=token.pk, version=token.version)
    if unchanged.update(refresh_due_at=None, refresh_started_at=None):
        _rows(location).update(mint_due_at=Now(), mint_failures=0)
    return True


def mint_claimed(location: Location, agency: TokenSource, use: Use = IN_TURN) -> Token:
    """The same for a location that is this process's to mint for."""
    try:
        grant = _ask(location, agency, use)
    except LocationInactive as error:
        return _suspend(location, error)
    except Refused as error:
        return _refuse(location, error)
    except calling.MustWaitItsTurn:
        # The agency's turn it is that must be waited for, not the location's.
        _come_back(location, timedelta(0))
        raise
    except (HighLevelError, keeping.TokenUnavailable) as error:
        _come_back(location, max(FIRST_WAIT, error.retry_after or FIRST_WAIT))
        raise
    return _connect(location, grant)


def _ask(location: Location, source: TokenSource, use: Use) -> TokenGrant:
    agency_id = location.agency_id or ""

    def ask(token: str, calls: list[Call]) -> TokenGrant:
        # Its answer comes before anybody else may ask: of two pairs given at once HighLevel may end either.
        return upstream.client().location_token(
            token, agency_id, location.pk, timeout=MINT_SECONDS, calls=calls
        )

    return calling.ask(source, Agency(pk=agency_id), use, ask)


def claim_due(agency_id: str) -> Location | None:
    """The agency's location whose token is due the longest, for this process to mint; None where none is.

    None too while the agency holds no token, or waits.
    """
    facts = {"agency": agency_id, "repeat_after": REPEAT_AFTER, "gone": list(Account.DISCONNECTED)}
    return next(iter(Location.objects.raw(CLAIM_DUE, facts)), None)


CLAIM_DUE = """
UPDATE oauth_location
SET mint_started_at = statement_timestamp(), mint_due_at = statement_timestamp() + %(repeat_after)s
WHERE id = (
    SELECT location.id
    FROM oauth_location AS location
    JOIN oauth_agency AS agency ON agency.id = location.agency_id
    WHERE location.agency_id = %(agency)s
      AND agency.status <> ALL(%(gone)s)
      AND (agency.not_before IS NULL OR agency.not_before <= statement_timestamp())
      AND location.mint_due_at <= statement_timestamp()
      AND (location.mint_started_at IS NULL
           OR location.mint_started_at < statement_timestamp() - %(repeat_after)s)
    ORDER BY location.mint_due_at, location.id
    LIMIT 1
    FOR UPDATE OF location SKIP LOCKED
)
RETURNING *
"""


def agencies_with_due() -> list[str]:
    """The agencies for whose locations there is something to mint now."""
    due = Location.objects.filter(unbraked("agency__"), mint_due_at__lte=Now())
    held = due.exclude(agency__status__in=Account.DISCONNECTED)
    return list(held.order_by("agency_id").values_list("agency_id", flat=True).distinct())


def _claim(location: Location) -> bool:
    unclaimed = Q(mint_started_at__isnull=True) | Q(mint_started_at__lt=Now() - REPEAT_AFTER)
    mine = Location.objects.filter(unclaimed, pk=location.pk).exclude(status=Account.Status.UNINSTALLED)
    return mine.update(mint_started_at=Now()) == 1


def _connect(location: Location, grant: TokenGrant) -> Token:
    with transaction.atomic():
        location = Location.objects.select_for_update(no_key=True).get(pk=location.pk)
        if ended_since(location, grant) or is_surely_before(grant.issued_at, location.installed_as_of):
            raise NeedsReconnect("The app was uninstalled from the location, or installed anew, meanwhile")
        in_doubt = location.status == Account.Status.UNINSTALLED or is_in_doubt(location, grant)
        keeping.store(location, grant)
        location.connect(
            installed_as_of=latest(location.installed_as_of, grant.issued_at),
            version_id=grant.version_id or location.version_id,
            scopes_refused=[],
            check_due_at=Now() if in_doubt else location.check_due_at,
            **NOT_MINTING,
        )
    return Token.objects.select_related("location", "agency").get(location=location)


NOT_MINTING: dict[str, Any] = {"mint_due_at": None, "mint_started_at": None, "mint_failures": 0}


def ended_since(account: Account, grant: TokenGrant) -> bool:
    """Whether the install that this grant is of has ended by now: its uninstall's letter was quicker."""
    return is_surely_before(grant.issued_at, account.uninstalled_as_of)


def is_in_doubt(account: Account, grant: TokenGrant) -> bool:
    """Whether it cannot be told which was later, the grant or the uninstall: HighLevel is to be asked."""
    ended = account.uninstalled_as_of
    return ended is not None and may_be_before(grant.issued_at, ended)


def _suspend(location: Location, error: LocationInactive) -> Token:
    wait = SUSPENDED_FOR * random.uniform(0.8, 1.2)  # noqa: S311
    location.brake(Account.Waiting.SUSPENDED, wait, Account.Status.SUSPENDED)
    _come_back(location, wait)
    raise LocationSuspended(str(error)) from error


def _refuse(location: Location, error: Refused) -> Token:
    log.warning("HighLevel gives no token for location %s: %s", location.pk, error)
    if not isinstance(error, LocationForbidden):
        # The agency's trouble, a missing scope for instance: each of its locations meets it.
        _come_back(location, LONGEST_WAIT)
    elif location.mint_failures + 1 < MOST_FAILURES:
        _come_back(location, _backoff(location), mint_failures=F("mint_failures") + 1)
    else:
        _rows(location).update(**NOT_MINTING, check_due_at=Now())
    raise MintRefused(str(error)) from error


def _come_back(location: Location, wait: timedelta, **facts: Any) -> None:
    """Give the claim back; a location that waits for its turn has another one in `wait`."""
    _rows(location).update(mint_started_at=None, **facts)
    _rows(location).filter(mint_due_at__isnull=False).update(mint_due_at=Now() + wait)


def _backoff(location: Location) -> timedelta:
    longest: timedelta = min(LONGEST_WAIT, FIRST_WAIT * 4 ** min(location.mint_failures, 10))
    return longest * random.uniform(0.5, 1)  # noqa: S311


def _rows(location: Location) -> "QuerySet[Location]":
    return Location.objects.filter(pk=location.pk)
