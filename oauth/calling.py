"""Calls to HighLevel with an account's own token: each with a permit of the pace and past the circuit breaker.
What is asked, and what an answer means, is its caller's."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TypeVar

from django.db.models.functions import Now
from django.utils import timezone

from ghl.auth import TokenSource, authorized
from ghl.errors import RateLimited
from ghl.types import Call
from oauth import outage, pace
from oauth.keeping import TokenUnavailable
from oauth.models import Account, Agency

T = TypeVar("T")

# HighLevel says neither when a day's quota begins anew nor how long a burst lasts where it sends no header.
QUOTA_WAIT = timedelta(hours=1)
BURST_WAIT = timedelta(seconds=10)


class MustWaitItsTurn(TokenUnavailable):
    """No call may leave for the account now: its limit is used up, it is braked, or HighLevel does not answer."""

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__(f"no call may leave for {retry_after.total_seconds():.1f} s")
        self.retry_after = retry_after


def ask(source: TokenSource, account: Account, use: pace.Use, call: Callable[[str, list[Call]], T]) -> T:
    """`call` with the account's token and a list for its `calls=`, under a permit of the account's.

    Raises MustWaitItsTurn where there is none, or the account is braked; what `source` raises; a HighLevelError.
    A 429 in spite of it all brakes the account.
    """
    return authorized(source, lambda token: ask_with(token, account, use, call))


def ask_with(
    token: str,
    account: Account,
    use: pace.Use,
    call: Callable[[str, list[Call]], T],
    *,
    only_limits: bool = False,
) -> T:
    """The same with a token at hand, which is not renewed where HighLevel rejects it.

    `only_limits`: of the account's brakes those alone count that say that a limit is used up.
    """
    calls = list[Call]()
    try:
        with passage(), permit(account.pk, _take(account, use, only_limits), calls):
            return call(token, calls)
    except RateLimited as error:
        brake(account, error)
        raise


@contextmanager
def permit(account_id: str, slot: pace.Slot, calls: list[Call]) -> Iterator[None]:
    """One call may be made within and is appended to `calls`: its permit ends, and the breaker hears of it."""
    made = len(calls)
    try:
        yield
    finally:
        if len(calls) == made:
            pace.give_back(slot)
        else:
            pace.finish(slot, calls[-1])
            outage.note(account_id, calls[-1])


@contextmanager
def passage() -> Iterator[None]:
    """`outage.passage` for the calls made within. Raises MustWaitItsTurn while the breaker is open."""
    with ExitStack() as stack:
        try:
            stack.enter_context(outage.passage())
        except outage.CircuitOpen as error:
            raise MustWaitItsTurn(error.wait) from error
        yield


def _take(account: Account, use: pace.Use, only_limits: bool) -> pace.Slot:
    if wait := _braked_for(account, only_limits):
        raise MustWaitItsTurn(wait)
    try:
        return pace.take(_resource(account), use)
    except pace.NoSlot as error:
        raise MustWaitItsTurn(error.retry_after) from error


LIMITS = (Account.Waiting.RATE_LIMITED, Account.Waiting.DAILY_QUOTA)


def _braked_for(account: Account, only_limits: bool) -> timedelta | None:
    # Asked anew: another process may have met the 429. What waits to be verified is asked about.
    braked = type(account)._default_manager.filter(pk=account.pk, not_before__gt=Now())
    braked = braked.exclude(waiting_for=Account.Waiting.VERIFYING)
    if only_limits:
        braked = braked.filter(waiting_for__in=LIMITS)
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
