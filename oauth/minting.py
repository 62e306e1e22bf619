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

from ghl.auth import TokenSource, authorized
from ghl.errors import HighLevelError, LocationInactive, Refused
from ghl.types import TokenGrant
from oauth import keeping, upstream
from oauth.keeping import SUSPENDED_FOR, LocationSuspended, NeedsReconnect, TokenBusy
from oauth.models import Account, Location, Token

log = logging.getLogger(__name__)

MINT_SECONDS = 8.0
REPEAT_AFTER = timedelta(seconds=10)
# HighLevel may list a location before it gives a token for it; one that it goes on refusing is left alone.
MOST_FAILURES = 8
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(hours=6)
# HighLevel says in whole seconds when it issued a token.
IAT_STEP = timedelta(seconds=1)


class MintRefused(NeedsReconnect):
    """HighLevel gives the agency no token for this location: the app is not, or not yet, installed in it."""


def mint(location: Location, agency: TokenSource) -> Token:
    """Ask for the location's token with its agency's, and connect the location.

    Raises TokenBusy, LocationSuspended, MintRefused, whatever `agency` raises, or a HighLevelError that is worth
    repeating.
    """
    if not _claim(location):
        raise TokenBusy("Another process is asking for this location's token")
    return mint_claimed(location, agency)


def mint_claimed(location: Location, agency: TokenSource) -> Token:
    """The same for a location that is this process's to mint for."""
    try:
        grant = authorized(agency, lambda token: _ask(token, location))
    except LocationInactive as error:
        return _suspend(location, error)
    except Refused as error:
        return _refuse(location, error)
    except (HighLevelError, keeping.TokenUnavailable) as error:
        _come_back(location, max(FIRST_WAIT, error.retry_after or FIRST_WAIT))
        raise
    return _connect(location, grant)


def _ask(token: str, location: Location) -> TokenGrant:
    # Its answer comes before anybody else may ask: of two pairs given at once HighLevel may end either.
    return upstream.client().location_token(
        token, location.agency_id or "", location.pk, timeout=MINT_SECONDS
    )


def claim_due(agency_id: str) -> Location | None:
    """The agency's location whose token is due the longest, for this process to mint; None where none is."""
    claimed = Location.objects.raw(CLAIM_DUE, {"agency": agency_id, "repeat_after": REPEAT_AFTER})
    return next(iter(claimed), None)


CLAIM_DUE = """
UPDATE oauth_location
SET mint_started_at = statement_timestamp(), mint_due_at = statement_timestamp() + %(repeat_after)s
WHERE id = (
    SELECT id
    FROM oauth_location
    WHERE agency_id = %(agency)s
      AND mint_due_at <= statement_timestamp()
      AND (mint_started_at IS NULL OR mint_started_at < statement_timestamp() - %(repeat_after)s)
    ORDER BY mint_due_at, id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING *
"""


def _claim(location: Location) -> bool:
    unclaimed = Q(mint_started_at__isnull=True) | Q(mint_started_at__lt=Now() - REPEAT_AFTER)
    mine = Location.objects.filter(unclaimed, pk=location.pk).exclude(status=Account.Status.UNINSTALLED)
    return mine.update(mint_started_at=Now()) == 1


def _connect(location: Location, grant: TokenGrant) -> Token:
    with transaction.atomic():
        location = Location.objects.select_for_update().get(pk=location.pk)
        if ended_since(location, grant):
            raise NeedsReconnect("The app was uninstalled from the location meanwhile")
        keeping.store(location, grant)
        as_of = [each for each in (location.installed_as_of, grant.issued_at) if each]
        location.connect(
            installed_as_of=max(as_of, default=None),
            version_id=grant.version_id or location.version_id,
            scopes_refused=[],
            **NOT_MINTING,
        )
    return Token.objects.select_related("location", "agency").get(location=location)


NOT_MINTING: dict[str, Any] = {"mint_due_at": None, "mint_started_at": None, "mint_failures": 0}


def ended_since(account: Account, grant: TokenGrant) -> bool:
    """Whether the install that this grant is of has ended by now: its uninstall's letter was quicker."""
    ended, issued = account.uninstalled_as_of, grant.issued_at
    return ended is not None and issued is not None and issued + IAT_STEP <= ended


def _suspend(location: Location, error: LocationInactive) -> Token:
    wait = SUSPENDED_FOR * random.uniform(0.8, 1.2)  # noqa: S311
    location.brake(Account.Waiting.SUSPENDED, wait, Account.Status.SUSPENDED)
    _come_back(location, wait)
    raise LocationSuspended(str(error)) from error


def _refuse(location: Location, error: Refused) -> Token:
    log.warning("HighLevel gives no token for location %s: %s", location.pk, error)
    if location.mint_failures + 1 < MOST_FAILURES:
        _come_back(location, _backoff(location), mint_failures=F("mint_failures") + 1)
    else:
        _rows(location).update(**NOT_MINTING)
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
