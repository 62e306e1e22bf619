"""Ten thousand locations whose tokens run out together, a day scaled to six minutes, four worker processes.
Refreshed in time, once each, apart from each other, and without a booking that waits for it; then at full speed."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import Any

from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from benchmarks.accounts import connect
from benchmarks.desk import Desk
from benchmarks.ratios import Ratio
from benchmarks.stack import Stack
from oauth import keeping, upstream
from oauth.models import Token
from oauth.vault import LocationTokens

LOCATIONS, WORKERS = 10_000, 4
LIFE = timedelta(minutes=6)
# The first falls due after half its life. Nothing happens until then, so most of that time has passed already.
PASSED = LIFE / 2 - timedelta(seconds=10)
SWEEP_SECONDS = 5.0
BARE_CALLS, BARE_THREADS = 2_000, 20
SLICE = timedelta(seconds=10)


def measure(stack: Stack) -> list[Ratio]:
    with stack.sandbox() as desk:
        desk.set(access_token_seconds=LIFE // timedelta(seconds=1))
        bare = _bare_calls_per_second(desk)
        answers = desk.tokens(LOCATIONS)
        with stack.workers(WORKERS):
            connect(answers)
            _let_pass(desk)
            return [*_as_they_fall_due(desk), _all_at_once(bare)]


def _let_pass(desk: Desk) -> None:
    desk.advance(PASSED.total_seconds())
    Token.objects.update(expires_at=F("expires_at") - PASSED, refresh_due_at=F("refresh_due_at") - PASSED)


def _as_they_fall_due(desk: Desk) -> list[Ratio]:
    before = Token.objects.in_bulk()
    calls = desk.token_calls()
    with _asking_for_tokens([each.location_id or "" for each in before.values()]) as asked:
        _wait_for_version(2)
    made = sum(desk.token_calls().values()) - sum(calls.values())
    after = {token.pk: token for token in Token.objects.filter(version=2)}
    in_time = sum(
        token.updated_at < before[pk].expires_at - keeping.USABLE_FOR for pk, token in after.items()
    )
    late = sorted(_lateness(before[pk], token) for pk, token in after.items())
    busiest, fair = _slices([token.refresh_due_at for token in after.values() if token.refresh_due_at])
    return [
        Ratio("refreshing", "tokens refreshed in time of all", LOCATIONS, in_time, at_least=1, at_most=1),
        Ratio("refreshing", "calls of refreshes", LOCATIONS, made, at_least=1, at_most=1),
        Ratio("refreshing", "tokens given at once of asked for", asked["asked"], asked["given"], at_least=1),
        Ratio(
            "refreshing",
            "99 % begin within, s over the sweep's",
            SWEEP_SECONDS,
            late[len(late) * 99 // 100],
            at_most=2,
        ),
        Ratio("refreshing", "due next in the busiest 10 s over the mean", fair, busiest, at_most=1.5),
    ]


def _lateness(before: Token, after: Token) -> float:
    assert before.refresh_due_at
    return (after.updated_at - before.refresh_due_at).total_seconds()


def _slices(due: list[datetime]) -> tuple[float, float]:
    """The busiest ten seconds, and the mean of all between the first and the last."""
    first = min(due)
    slices = Counter((each - first) // SLICE for each in due)
    return max(slices.values()), len(due) / (max(slices) + 1)


@contextmanager
def _asking_for_tokens(locations: list[str]) -> Iterator["Counter[str]"]:
    """Somebody books all the while, here and there."""
    stop, asked = Event(), Counter[str]()
    thread = Thread(target=_ask_until, args=(stop, locations, asked))
    thread.start()
    try:
        yield asked
    finally:
        stop.set()
        thread.join()


def _ask_until(stop: Event, locations: list[str], asked: "Counter[str]") -> None:
    while not stop.wait(0.05):
        asked["asked"] += 1
        try:
            LocationTokens(random.choice(locations)).token()
        except keeping.TokenUnavailable:
            continue
        asked["given"] += 1
    connection.close()


def _all_at_once(bare: float) -> Ratio:
    Token.objects.update(refresh_due_at=Now())
    began = time.monotonic()
    _wait_for_version(3)
    speed = LOCATIONS / (time.monotonic() - began)
    return Ratio("refreshing", "at full speed, refreshes/s over bare calls/s", bare, speed, at_least=0.2)


def _wait_for_version(version: int) -> None:
    """All tokens refreshed so often, or so much time gone that they have run out."""
    give_up_at, said = time.monotonic() + LIFE.total_seconds(), 0.0
    while time.monotonic() < give_up_at:
        done = Token.objects.filter(version__gte=version).count()
        if done == LOCATIONS:
            return
        if time.monotonic() > said + 10:
            said = time.monotonic()
            print(f"  {done} of {LOCATIONS} refreshed", flush=True)
        time.sleep(0.2)


def _bare_calls_per_second(desk: Desk) -> float:
    """What the sandbox and our client do alone: neither PostgreSQL nor sealing nor workers."""
    answers = desk.tokens(BARE_CALLS)
    client = upstream.client()

    def refresh(answer: dict[str, Any]) -> None:
        client.refresh(answer["refresh_token"], user_type="Location", timeout=30)

    began = time.monotonic()
    with ThreadPoolExecutor(BARE_THREADS) as threads:
        for _ in threads.map(refresh, answers):
            pass
    return BARE_CALLS / (time.monotonic() - began)
