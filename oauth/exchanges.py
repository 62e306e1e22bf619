"""Exchanges of codes for tokens: bounded, since strangers cause them, and one alone for a callback that comes twice.
What is asked of HighLevel is provider.py's, what an install means for our rows installs.py's.
"""

import hashlib
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from threading import BoundedSemaphore

import redis
from django.db.models.functions import Now
from django.utils import timezone

from ghl.errors import ClientMisconfigured, CodeRejected, HighLevelError, TimedOut
from oauth import inquiries, installs, provider, redis_clients
from oauth.models import Account, Agency, CodeExchange, Location
from oauth.wakeups import SECONDS_PER_STEP

log = logging.getLogger(__name__)

# HighLevel's codes have 40 hexadecimal digits; that others are refused unasked leaves it room to change them.
CODE_FORM = re.compile(r"[\w.~-]{8,512}", re.ASCII)
# Of a web process's 20 threads: while HighLevel hangs, an exchange or the wait for one holds a thread for seconds.
MAX_CONCURRENT_WITH_STATE = 4
MAX_CONCURRENT_WITHOUT_STATE = 2
# Over all processes. Without a state each request of anybody's is an exchange.
MAX_PER_MINUTE_WITH_STATE = 240
MAX_PER_MINUTE_WITHOUT_STATE = 60
LONGEST_SECONDS = provider.LONGEST_EXCHANGE_SECONDS + inquiries.READ_SECONDS + 2
POLL_SECONDS = 0.1
KEPT_FOR = timedelta(hours=1)

CODE_REJECTED, MISCONFIGURED = "code_rejected", "misconfigured"
TIMED_OUT, FAILED = "exchange_timed_out", "exchange_failed"

_slots_with_state = BoundedSemaphore(MAX_CONCURRENT_WITH_STATE)
_slots_without_state = BoundedSemaphore(MAX_CONCURRENT_WITHOUT_STATE)


class Busy(Exception):
    """There are too many exchanges at once. Nothing was asked: the same callback may come again."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class StateUsed(Exception):
    """The state belongs to another code, to an exchange that failed, or to an install that was undone since."""


class ExchangeFailed(Exception):
    """The code was not exchanged; `reason` is one of this module's words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def connect(code: str, state: str | None) -> Account:
    """The account that the code of a callback connects, or has connected when the same callback came before.

    Raises: Busy, StateUsed, ExchangeFailed.
    """
    if not CODE_FORM.fullmatch(code):
        raise ExchangeFailed(CODE_REJECTED)
    key = _digest(f"code:{code}" if state is None else f"state:{state}")
    earlier = CodeExchange.objects.filter(pk=key).first()
    # With no state to use up, what failed may be tried again.
    is_retry = earlier is not None and bool(earlier.failure) and state is None
    if earlier is not None and earlier.finished_at is not None and not is_retry:
        return _result(earlier, code)
    with _slot(with_state=state is not None):
        if earlier is None or is_retry:
            _count_against_rate(with_state=state is not None)
        current, is_ours = CodeExchange.objects.get_or_create(pk=key, defaults={"code_digest": _digest(code)})
        is_ours = is_ours or (is_retry and current.restart())
        return _exchange(current, code) if is_ours else _await(current, code)


def account_of(state: str) -> Account | None:
    """What the install with this state connected."""
    done = CodeExchange.objects.filter(pk=_digest(f"state:{state}")).first()
    return done.account if done else None


def clear_old() -> None:
    """Remove the rows of callbacks that come no more: their states have run out."""
    CodeExchange.objects.filter(started_at__lt=Now() - KEPT_FOR).delete()


def _exchange(current: CodeExchange, code: str) -> Account:
    try:
        account = installs.complete(provider.exchange(code))
    except HighLevelError as error:
        log.warning("The exchange of a code failed: %s", error)
        current.finish(failure=_reason(error))
        raise ExchangeFailed(_reason(error)) from error
    if isinstance(account, Location):
        installs.describe(account)
        current.finish(location=account)
    elif isinstance(account, Agency):
        current.finish(agency=account)
    return account


def _await(current: CodeExchange, code: str) -> Account:
    """What another thread's exchange of the same callback comes to: its failure is this one's too."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while current.finished_at is None and time.monotonic() < deadline and not _is_abandoned(current):
        time.sleep(POLL_SECONDS)
        current = CodeExchange.objects.filter(pk=current.pk).first() or current
    if current.finished_at is None:
        raise ExchangeFailed(TIMED_OUT)
    if current.failure and current.code_digest == _digest(code):
        raise ExchangeFailed(current.failure)
    return _result(current, code)


def _is_abandoned(current: CodeExchange) -> bool:
    """Its process must be gone: no exchange takes that long."""
    return current.started_at < timezone.now() - timedelta(seconds=2 * LONGEST_SECONDS)


def _result(done: CodeExchange, code: str) -> Account:
    account = done.account
    if account is None or not account.is_connected or done.code_digest != _digest(code):
        raise StateUsed
    return account


def _reason(error: HighLevelError) -> str:
    match error:
        case CodeRejected():
            return CODE_REJECTED
        case ClientMisconfigured():
            return MISCONFIGURED
        case TimedOut():
            return TIMED_OUT
        case _:
            return FAILED


@contextmanager
def _slot(*, with_state: bool) -> Iterator[None]:
    slots = _slots_with_state if with_state else _slots_without_state
    if not slots.acquire(blocking=False):
        raise Busy(retry_after=5)
    try:
        yield
    finally:
        slots.release()


def _count_against_rate(*, with_state: bool) -> None:
    """Raise Busy where all processes together have begun enough exchanges this minute."""
    limit = MAX_PER_MINUTE_WITH_STATE if with_state else MAX_PER_MINUTE_WITHOUT_STATE
    name = f"exchanges:{'with' if with_state else 'without'}-state:{int(time.time() // 60)}"
    try:
        with _redis().pipeline() as asked:
            asked.incr(name)
            asked.expire(name, 120)
            begun, _ = asked.execute()
    except redis.RedisError as error:
        # The bound of this process holds all the same.
        log.warning("Exchanges cannot be counted over all processes: %s", type(error).__name__)
        return
    if begun > limit:
        raise Busy(retry_after=60)


@cache
def _redis() -> redis.Redis:
    return redis_clients.client(SECONDS_PER_STEP)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
