"""Calls to HighLevel with an account's own token, at the pace that HighLevel allows it.
What is asked, and what an answer means, is its caller's."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from django.db.models.functions import Now
from django.utils import timezone

from ghl.auth import TokenSource, authorized
from ghl.errors import RateLimited
from ghl.types import Call
from oauth import pace
from oauth.keeping import TokenUnavailable
from oauth.models import Account, Agency

T = TypeVar("T")

# HighLevel says neither when a day's quota begins anew nor how long a burst lasts where it sends no header.
QUOTA_WAIT = timedelta(hours=1)
BURST_WAIT = timedelta(seconds=10)


class MustWaitItsTurn(TokenUnavailable):
    """The account's calls have used up what HighLevel allows for now."""

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__(f"no call may leave for {retry_after.total_seconds():.1f} s")
        self.retry_after = retry_after


def ask(source: TokenSource, account: Account, use: pace.Use, call: Callable[[str, list[Call]], T]) -> T:
    """`call` with the account's token and a list for its `calls=`, in a slot of the account's.

    Raises MustWaitItsTurn where there is none, or the account is braked; what `source` raises; a HighLevelError.
    A 429 in spite of it all brakes the account.
    """

    def in_a_slot(token: str) -> T:
        slot, calls = _take(account, use), list[Call]()
        try:
            return call(token, calls)
        except RateLimited as error:
            brake(account, error)
            raise
        finally:
            pace.finish(slot, calls[-1] if calls else None)

    return authorized(source, in_a_slot)


def _take(account: Account, use: pace.Use) -> pace.Slot:
    if wait := _braked_for(account):
        raise MustWaitItsTurn(wait)
    try:
        return pace.take(_resource(account), use)
    except pace.NoSlot as error:
        raise MustWaitItsTurn(error.retry_after) from error


def _braked_for(account: Account) -> timedelta | None:
    # Asked anew: another process may have met the 429.
    braked = type(account)._default_manager.filter(pk=account.pk, not_before__gt=Now())
    not_before = braked.values_list("not_before", flat=True).first()
    return None if not_before is None else max(not_before - timezone.now(), timedelta(seconds=1))


def _resource(account: Account) -> str:
    return (pace.company if isinstance(account, Agency) else pace.location)(account.pk)


def brake(account: Account, error: RateLimited) -> timedelta:
    """What a 429 means for everything that is yet to be asked with the account's token; how long it waits."""
    if error.daily_exhausted:
        wait = error.retry_after or QUOTA_WAIT
        account.brake(Account.Waiting.DAILY_QUOTA, wait)
        return wait
    wait = error.retry_after or BURST_WAIT
    account.brake(Account.Waiting.RATE_LIMITED, wait)
    pace.back_off(_resource(account), wait)
    return wait
