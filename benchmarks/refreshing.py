"""Ten thousand locations whose tokens run out together, a day scaled to six minutes, four worker processes.
Refreshed in time, once each, apart from each other, and without a booking that waits for it; then at full speed."""

import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
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
# What the due times of tokens granted together are spread over: a quarter of their life, an hour at most.
SPREAD = LIFE / 4
BARE_CALLS, BARE_THREADS = 2_000, 20
SLICE = timedelta(seconds=10)


def measure(stack: Stack) -> list[Ratio]:
    with stack.sandbox() as desk:
        desk.set(access_token_seconds=LIFE // timedelta(seconds=1))
        answers = desk.tokens(LOCATIONS)
        with stack.workers(WORKERS):
            connect(answers)
            _let_pass(desk)
            as_they_fall_due = _as_they_fall_due(desk)
            at_full_speed = _refreshes_per_second()
        # Right after, so that whatever else the machine does is part of both.
        bare = _bare_calls_per_second(desk)
    return [
        *as_they_fall_due,
        Ratio(
            "refreshing", "at full speed, refreshes/s over bare calls/s", bare, at_full_speed, at_least=0.1
        ),
    ]


def _let_pass(desk: Desk) -> None:
    desk.advance(PASSED.total_seconds())
    Token.objects.update(expires_at=F("expires_at") - PASSED, refresh_due_at=F("refresh_due_at") - PASSED)


def _as_they_fall_due(desk: Desk) -> list[Ratio]:
    before = Token.objects.in_bulk()
    with _asking_for_tokens([each.location_id or "" for each in before.values()]) as asked:
        _wait_for_version(2)
    after = {token.pk: token for token in Token.objects.filter(version=2)}
    in_time = sum(
        token.updated_at < before[pk].expires_at - keeping.USABLE_FOR for pk, token in after.items()
    )
    late = sorted(_lateness(before[pk], token) for pk, token in after.items())
    busiest = max(_busiest_slice(before.values()), _busiest_slice(after.values()))
    evenly = LOCATIONS * (SLICE / SPREAD)
    # As early a token falls due at the latest, and as long before its end a booking would have to wait.
    to_spare = (LIFE / 4 - keeping.USABLE_FOR).total_seconds()
    return [
        Ratio("refreshing", "refreshed in time of all", LOCATIONS, in_time, at_least=1, at_most=1),
        Ratio("refreshing", "calls of refreshes", LOCATIONS, desk.token_calls(), at_least=1, at_most=1),
        Ratio("refreshing", "had at once of asked for", asked["asked"], asked["had"], at_least=1),
        Ratio(
            "refreshing",
            "99 % late by, s of those to spare",
            to_spare,
            late[len(late) * 99 // 100],
            at_most=0.5,
        ),
        Ratio("refreshing", "due in the busiest 10 s of evenly", evenly, busiest, at_most=1.2),
    ]


def _lateness(before: Token, after: Token) -> float:
    assert before.refresh_due_at
    return (after.updated_at - before.refresh_due_at).total_seconds()


def _busiest_slice(tokens: Iterable[Token]) -> int:
    due = sorted(token.refresh_due_at for token in tokens if token.refresh_due_at)
    return max(Counter((each - due[0]) // SLICE for each in due).values())


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
        asked["had"] += 1
    connection.close()


def _refreshes_per_second() -> float:
    """All of them due at the same moment."""
    Token.objects.update(refresh_due_at=Now())
    began = time.monotonic()
    _wait_for_version(3)
    return LOCATIONS / (time.monotonic() - began)


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
