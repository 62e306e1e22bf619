"""Calls leave as fast as HighLevel's limits allow and never faster, whoever sends them and whatever Redis forgets."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import chain
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from prometheus_client import REGISTRY

from ghl.errors import RateLimited
from ghl.types import Call, Limits
from ghlapp.local.servers import LocalServers
from oauth import pace, upstream
from oauth.pace import MustWait, NoSlot, PaceUnknown, Slot, Use, memory
from sandbox import World
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION
from tests.oauth.pacers import answered, arrivals_of_threads, learn, most_at_once

ROOT = Path(__file__).resolve().parent.parent.parent
ACME, GLOBEX = pace.location(ACME_LOCATION), pace.location(GLOBEX_LOCATION)
AGENCY = pace.company(ACME_LOCATION)  # of the same id, which must not matter
USUAL = Limits(burst=100, interval=timedelta(seconds=10))
BURST, INTERVAL = 20, timedelta(seconds=0.5)


def forget_the_connection() -> None:
    """As in a new process."""
    memory._script.cache_clear()
    memory._skip_until = 0.0


@pytest.fixture(autouse=True)
def memory_of_redis() -> Iterator[redis.Redis]:
    """One that has been remembering for long, and has heard of the usual limits."""
    forget_the_connection()
    with redis.Redis.from_url(django_settings.REDIS_URL) as client:
        client.flushdb()
        pace.nothing_sent_before()
        for resource in (ACME, GLOBEX, AGENCY):
            learn(resource, USUAL)
        yield client
    forget_the_connection()


def take_all(resource: str = ACME, use: Use = Use.BOOKING) -> list[Slot]:
    slots = []
    try:
        while True:
            slots.append(pace.take(resource, use))
    except MustWait:
        return slots


def wait_of(resource: str = ACME, use: Use = Use.BOOKING) -> timedelta:
    with pytest.raises(MustWait) as refused:
        pace.take(resource, use)
    return refused.value.retry_after


def take_patiently(use: Use = Use.BOOKING, resource: str = ACME, seconds: float = 20) -> Slot:
    """As a worker that comes back whenever it is told to."""
    give_up_at = time.monotonic() + seconds
    while True:
        try:
            return pace.take(resource, use)
        except NoSlot as refused:
            assert time.monotonic() < give_up_at
            time.sleep(min(refused.retry_after.total_seconds(), 0.05))


def count_of(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


# How many


def test_it_lets_bookings_leave_at_once_up_to_their_allowance() -> None:
    assert len(take_all()) == 95
    assert timedelta(0) < wait_of() <= USUAL.interval


def test_it_keeps_a_reserve_for_upkeep() -> None:
    take_all()

    assert len(take_all(use=Use.UPKEEP)) == 2
    assert len(take_all(use=Use.BOOKING)) == 0


def test_it_counts_each_location_and_company_for_itself() -> None:
    take_all()

    assert len(take_all(GLOBEX)) == 95
    assert len(take_all(AGENCY)) == 95


def test_it_counts_nothing_for_a_call_that_was_not_sent() -> None:
    slots = take_all()

    pace.give_back(slots[0])

    assert len(take_all()) == 1


def test_it_keeps_a_slot_occupied_until_an_interval_after_the_answer() -> None:
    """However long the answer took: nobody knows when HighLevel counted the call."""
    learn(ACME)
    slots = take_all()
    time.sleep(INTERVAL.total_seconds())

    answered_at = time.monotonic()
    for slot in slots:
        pace.finish(slot, answered())
    take_patiently()

    assert time.monotonic() - answered_at >= INTERVAL.total_seconds()


def test_it_gets_back_what_a_dead_worker_has_taken() -> None:
    learn(ACME, Limits(burst=BURST, interval=timedelta(seconds=0.1)))
    lost = {slot.ticket for slot in take_all()}

    got_back = {take_patiently().ticket for _ in lost}

    assert len(got_back) == len(lost) == 19


def test_it_says_when_to_come_back() -> None:
    learn(ACME)
    for slot in take_all():
        pace.finish(slot, answered())

    wait = wait_of()

    assert timedelta(0) < wait <= INTERVAL + timedelta(milliseconds=1)
    assert count_of("pace_waits_total", use="booking") > 0


# Never more than the limit


def test_it_never_exceeds_the_limit_with_many_threads() -> None:
    learn(ACME)

    arrivals = arrivals_of_threads(ACME, calls=5 * BURST)

    assert 15 < most_at_once(arrivals, INTERVAL) <= BURST


def test_it_never_exceeds_the_limit_with_many_processes() -> None:
    others = subprocess.run(
        [sys.executable, "-m", "tests.oauth.pacers", ACME, "4", "25"],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        check=True,
        timeout=50,
    )

    by_process = json.loads(others.stdout)
    assert [len(arrivals) >= 25 for arrivals in by_process] == [True] * 4
    assert 15 < most_at_once(list(chain(*by_process)), INTERVAL) <= BURST


def test_it_never_exceeds_the_limit_when_redis_forgets_in_the_middle(memory_of_redis: redis.Redis) -> None:
    learn(ACME)
    forgetting = [Timer(seconds, memory_of_redis.flushdb) for seconds in (0.8, 1.9, 2.0, 3.3)]
    for timer in forgetting:
        timer.start()

    arrivals = arrivals_of_threads(ACME, calls=6 * BURST)

    assert not any(timer.is_alive() for timer in forgetting)
    assert 15 < most_at_once(arrivals, INTERVAL) <= BURST


def test_it_is_never_refused_by_a_highlevel_that_takes_its_time(highlevel: World) -> None:
    highlevel.settings.change({"rate_limit_burst": BURST, "rate_limit_interval_seconds": 1.0})
    token = str(highlevel.issue_location_token(ACME_LOCATION)["access_token"])
    sent = [send(token)]  # the first answer tells the limits
    highlevel.settings.change({"latency_seconds": 0.2})

    with ThreadPoolExecutor(16) as threads:
        sent += threads.map(send, [token] * 100)

    assert [call.status for call in sent] == [200] * 101
    assert sent[-1].limits is not None
    assert sent[-1].limits.burst == BURST


def send(token: str) -> Call:
    slot, calls = take_patiently(), list[Call]()
    time.sleep(random.uniform(0, 0.2))  # some are sent later than others
    with suppress(RateLimited):
        upstream.client().calendars(token, location_id=ACME_LOCATION, calls=calls)
    pace.finish(slot, calls[0])
    return calls[0]


# What Redis has lost


def test_it_counts_the_interval_before_a_flush_as_used_up(memory_of_redis: redis.Redis) -> None:
    memory_of_redis.flushdb()

    first = pace.take(ACME, Use.BOOKING)

    assert len(take_all(use=Use.UPKEEP)) == 0
    pace.finish(first, left(4))
    assert len(take_all()) == 2, "now it is known that three of a hundred are to spare"
    assert timedelta(seconds=5) < wait_of() <= USUAL.interval


def test_it_is_as_fast_as_ever_an_interval_after_a_flush(memory_of_redis: redis.Redis) -> None:
    memory_of_redis.flushdb()
    pace.finish(pace.take(ACME, Use.BOOKING), answered())

    assert until(lambda: len(take_all()) > 1)


def until(holds: Callable[[], bool], seconds: float = 20) -> bool:
    give_up_at = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.01)
    return True


def test_it_delays_nobody_who_has_been_idle_for_long() -> None:
    take_all()

    assert len(take_all(GLOBEX)) == 95


def test_it_waits_for_no_moment_that_a_clock_set_back_has_made_far(memory_of_redis: redis.Redis) -> None:
    take_all()
    [slots] = memory_of_redis.keys(f"pace:{ACME}:slots")
    for ticket in memory_of_redis.zrange(slots, 0, -1):
        memory_of_redis.zincrby(slots, 3_600_000, ticket)

    assert len(take_all()) == 95


@pytest.fixture
def instance() -> Iterator[Path]:
    """A folder for servers of this test's own; any user may enter it."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "instance"
        LocalServers(Path(folder) / "instance").remove()


@contextmanager
def own_redis(instance: Path, settings: Any) -> Iterator[int]:
    """Its process id; the pace is kept there."""
    with LocalServers(instance, ["REDIS_URL"]) as servers:
        settings.REDIS_URL = servers.urls["REDIS_URL"]
        forget_the_connection()
        process = servers.running("REDIS_URL").process
        assert process is not None
        yield process.pid


def test_it_does_not_trust_what_a_restarted_redis_has_kept(instance: Path, settings: Any) -> None:
    with own_redis(instance, settings):
        pace.nothing_sent_before()
        learn(ACME, USUAL)

    with own_redis(instance, settings):
        assert len(take_all()) == 3


# What HighLevel says


def test_it_learns_the_limits_of_a_small_account() -> None:
    before = count_of("pace_corrections_total")

    learn(ACME, Limits(burst=25, interval=USUAL.interval))

    assert len(take_all()) == 23
    assert len(take_all(use=Use.UPKEEP)) == 1
    assert count_of("pace_corrections_total") == before + 1


def test_it_takes_a_location_for_a_small_account_until_its_first_answer() -> None:
    unheard_of = pace.location("new")
    first, *others = take_all(unheard_of)
    assert len(others) == 22
    assert wait_of(unheard_of) < timedelta(seconds=1)

    pace.finish(first, answered(USUAL))

    assert len(take_all(unheard_of)) == 95 - 23


def test_it_believes_the_published_limits_where_an_answer_tells_none() -> None:
    unheard_of = pace.location("new")

    pace.finish(pace.take(unheard_of, Use.BOOKING), answered(None))

    assert len(take_all(unheard_of)) == 94


def test_it_learns_each_location_for_itself_and_what_is_raised_again() -> None:
    learn(ACME, Limits(burst=25))
    assert len(take_all(GLOBEX)) == 95

    learn(ACME, Limits(burst=200))

    assert len(take_all()) == 190


def test_it_learns_nothing_from_an_answer_without_limits() -> None:
    pace.finish(pace.take(ACME, Use.BOOKING), answered(None))
    pace.finish(pace.take(ACME, Use.BOOKING))

    assert len(take_all()) == 93


def left(count: int) -> Call:
    return answered(Limits(burst=100, burst_left=count, interval=USUAL.interval))


def test_it_leaves_out_what_others_have_used() -> None:
    before = count_of("pace_corrections_total")

    pace.finish(pace.take(ACME, Use.BOOKING), left(40))

    assert len(take_all()) == 95 - 60
    assert count_of("pace_corrections_total") == before + 1


def test_it_counts_what_others_have_used_once_however_many_answers_say_so() -> None:
    slots = [pace.take(ACME, Use.BOOKING) for _ in range(10)]

    for slot in slots:
        pace.finish(slot, left(40))

    assert len(take_all()) == 95 - 60


def test_it_never_lets_more_leave_because_highlevel_says_so() -> None:
    for _ in range(10):
        pace.finish(pace.take(ACME, Use.BOOKING), left(99))

    assert len(take_all()) == 85


@pytest.mark.parametrize("order", [1, -1])
def test_it_takes_its_own_calls_for_nobody_elses(order: int) -> None:
    """Sixty leave together, arrive in one order and are answered in the same or the other."""
    slots = [pace.take(ACME, Use.BOOKING) for _ in range(60)]

    for number, slot in list(enumerate(slots, start=1))[::order]:
        pace.finish(slot, left(100 - number))

    assert len(take_all()) == 35


def test_it_takes_calls_that_overtook_each_other_for_nobody_elses() -> None:
    slots = [pace.take(ACME, Use.BOOKING) for _ in range(60)]

    for slot in slots:  # the first to leave were the last to arrive
        pace.finish(slot, left(40))

    assert len(take_all()) == 35


def test_it_takes_calls_that_ended_meanwhile_for_nobody_elses() -> None:
    learn(ACME)
    earlier, late = [pace.take(ACME, Use.BOOKING) for _ in range(10)], pace.take(ACME, Use.BOOKING)
    for slot in earlier:
        pace.finish(slot, answered())
    newer: list[Slot] = []
    assert until(lambda: newer.extend(take_all()) or len(newer) == 18)
    for slot in newer:
        pace.give_back(slot)

    pace.finish(late, answered(Limits(burst=BURST, burst_left=BURST - 11, interval=INTERVAL)))

    assert len(take_all()) == 18


def test_it_forgets_what_others_have_used_after_an_interval() -> None:
    limits = Limits(burst=BURST, burst_left=0, interval=INTERVAL)
    pace.finish(pace.take(ACME, Use.BOOKING), answered(limits))
    assert take_all() == []

    assert until(lambda: len(take_all()) == BURST - 1)


# When HighLevel refuses all the same


def test_it_sends_nothing_before_a_429_says_so() -> None:
    before = count_of("pace_backoffs_total")

    pace.back_off(ACME, timedelta(seconds=30))
    pace.back_off(ACME, timedelta(seconds=5))

    waits = [wait_of(use=use) for use in Use]
    assert all(timedelta(seconds=20) < wait <= timedelta(seconds=30) for wait in waits)
    assert len(take_all(GLOBEX)) == 95
    assert count_of("pace_backoffs_total") == before + 2


def test_it_waits_for_an_interval_where_a_429_names_no_time() -> None:
    learn(ACME)

    pace.back_off(ACME)

    assert timedelta(0) < wait_of() <= INTERVAL
    assert until(lambda: len(take_all()) == BURST - 1)


def test_it_takes_a_429_for_no_account_of_what_others_have_used() -> None:
    refused = answered(Limits(burst=100, burst_left=0, interval=USUAL.interval), status=429)

    pace.finish(pace.take(ACME, Use.BOOKING), refused)

    assert len(take_all()) == 94


# Who goes first


def test_it_gives_background_calls_a_twentieth() -> None:
    assert len(take_all(use=Use.BACKGROUND)) == 5
    assert len(take_all()) == 90


def test_it_keeps_background_calls_from_the_last_slots() -> None:
    for _ in range(89):
        pace.take(ACME, Use.BOOKING)

    assert len(take_all(use=Use.BACKGROUND)) == 1


def test_it_lets_bookings_that_wait_go_before_background_calls() -> None:
    pace.back_off(ACME, timedelta(seconds=0.3))
    wait_of(use=Use.BOOKING)

    def a_booking_left() -> bool:
        assert take_all(use=Use.BACKGROUND) == []
        return len(take_all()) > 0

    assert until(a_booking_left)


def test_it_lets_background_calls_leave_again_when_no_booking_waits() -> None:
    learn(ACME)
    for slot in take_all():
        pace.finish(slot, answered())

    take_patiently(Use.BACKGROUND)


# Without Redis


@pytest.fixture
def silent_redis(settings: Any) -> Iterator[socket.socket]:
    """It takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.REDIS_URL = f"redis://:secret@127.0.0.1:{server.getsockname()[1]}/0"
        forget_the_connection()
        yield server


@pytest.mark.usefixtures("silent_redis")
def test_it_says_so_soon_where_redis_is_silent() -> None:
    started = time.monotonic()

    with pytest.raises(PaceUnknown) as unknown:
        pace.take(ACME, Use.BOOKING)

    assert time.monotonic() - started < 0.8
    assert unknown.value.retry_after == timedelta(seconds=1)


@pytest.mark.usefixtures("silent_redis")
def test_it_lets_calls_in_hand_end_where_redis_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    slot = Slot(ACME, "1-1", 1, 1)

    pace.finish(slot, answered())
    pace.back_off(ACME)
    pace.give_back(slot)

    assert caplog.text.count("The pace is unknown") == 1


def test_it_asks_a_silent_redis_once_and_lets_the_others_go(silent_redis: socket.socket) -> None:
    for _ in range(5):
        with pytest.raises(PaceUnknown):
            pace.take(ACME, Use.BOOKING)

    silent_redis.settimeout(0.2)
    silent_redis.accept()[0].close()
    with pytest.raises(TimeoutError):
        silent_redis.accept()


def test_it_goes_on_when_a_frozen_redis_thaws(instance: Path, settings: Any) -> None:
    with own_redis(instance, settings) as process:
        pace.nothing_sent_before()
        pace.take(ACME, Use.BOOKING)
        os.kill(process, signal.SIGSTOP)
        try:
            with pytest.raises(PaceUnknown):
                pace.take(ACME, Use.BOOKING)
        finally:
            os.kill(process, signal.SIGCONT)

        assert take_patiently().resource == ACME


def test_it_goes_on_when_a_stopped_redis_comes_back(instance: Path, settings: Any) -> None:
    with own_redis(instance, settings):
        pace.take(ACME, Use.BOOKING)
    with pytest.raises(PaceUnknown):
        pace.take(ACME, Use.BOOKING)

    with LocalServers(instance, ["REDIS_URL"]):
        assert take_patiently(resource=GLOBEX)
