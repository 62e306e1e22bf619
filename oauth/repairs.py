"""Reconciling on demand: what the background does in its time is done now, and what came of it is told.
What a check of one account means for our rows is in reconciling.py."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from ghl.errors import HighLevelError
from oauth import calling, minting, vault
from oauth.keeping import TokenUnavailable
from oauth.models import Account, Agency, Location
from oauth.reconciling import check_agency, check_location

# So often minting may bring nothing before it is left to the background.
MOST_IN_VAIN = 3


@dataclass
class Report:
    """What reconciling has changed and what it left, by ids."""

    connected: list[str]
    disconnected: list[str]
    waiting: list[str]
    not_asked: dict[str, str]

    @property
    def is_complete(self) -> bool:
        return not (self.waiting or self.not_asked)


def reconcile(accounts: Sequence[Agency | Location], progress: Callable[[int], object]) -> Report:
    """Check these now, one by one, and have the tokens asked for that are found to be missing.

    It waits for their turn; `progress` is told how many more are checked or connected.
    """
    theirs = _locations_of(accounts)
    before = _connected(theirs)
    not_asked = {}
    for account in accounts:
        if (refusal := _reconciled(account)) is not None:
            not_asked[account.pk] = refusal
        progress(1)
    for agency_id in sorted({_agency_id(account) for account in accounts} - {""}):
        _mint_all(agency_id, progress)
    after = _connected(theirs)
    waiting = theirs.filter(mint_due_at__isnull=False, token__isnull=True)
    return Report(
        connected=sorted(after - before),
        disconnected=sorted(before - after),
        waiting=sorted(waiting.values_list("pk", flat=True)),
        not_asked=not_asked,
    )


def all_connected() -> list[Agency | Location]:
    """Everything there is a token for to ask with: of an agency's locations its list tells."""
    agencies = Agency.objects.exclude(status__in=Account.DISCONNECTED)
    alone = Location.objects.exclude(status__in=Account.DISCONNECTED).exclude(agency__in=agencies)
    return [*agencies.order_by("pk"), *alone.order_by("pk")]


def _locations_of(accounts: Sequence[Agency | Location]) -> "QuerySet[Location]":
    ids = [account.pk for account in accounts]
    return Location.objects.filter(Q(pk__in=ids) | Q(agency__in=ids))


def _connected(locations: "QuerySet[Location]") -> set[str]:
    """Those that hold a token which works."""
    held = locations.filter(token__isnull=False).exclude(status__in=Account.DISCONNECTED)
    return set(held.values_list("pk", flat=True))


def _agency_id(account: Agency | Location) -> str:
    return account.pk if isinstance(account, Agency) else account.agency_id or ""


def _reconciled(account: Agency | Location) -> str | None:
    """None, or why HighLevel could not be asked."""
    while True:
        try:
            check_agency(account) if isinstance(account, Agency) else check_location(account)
        except calling.MustWaitItsTurn as error:
            if error.retry_after > vault.LONGEST_NAP:
                return str(error)
            time.sleep(error.retry_after.total_seconds())
        except (HighLevelError, TokenUnavailable) as error:
            return str(error)
        else:
            return None


def _mint_all(agency_id: str, progress: Callable[[int], object]) -> None:
    """Until nothing is due, or nothing more comes of it: refused, or others are at it."""
    in_vain = 0
    while in_vain < MOST_IN_VAIN and agency_id in minting.agencies_with_due():
        minted = vault.mint_due(agency_id, seconds=1)
        progress(minted)
        in_vain = 0 if minted else in_vain + 1
