"""What goes wrong: a table of faults, each the orders it gives the sandbox and the strokes it deals the stack.
When they are dealt is runs.py; how the stack comes back afterwards is `Stack.restore`."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from ghlapp.local.processes import stop
from tests.chaos import accounts
from tests.chaos.accounts import Act
from tests.chaos.plan import Errand, Kind, doubtful_twins
from tests.chaos.stack import LIST_LAG_SECONDS, SETTLE_SECONDS, TIMEOUT_SECONDS, WORKERS, Place, Stack

Order = dict[str, Any]
Stroke = Callable[[Stack, Random], None]
# What a booking may have to ask HighLevel beside its create.
OTHER_OPERATIONS = (
    "list_events",
    "contact_appointments",
    "search_duplicate",
    "create_contact",
    "update_appointment",
    "get_appointment",
)
# A call that hangs is done, and seen in lists, within the promise's condition; the rest is for slow machines.
SLACK_SECONDS = 0.7
LONGEST_HANG = TIMEOUT_SECONDS + SETTLE_SECONDS - LIST_LAG_SECONDS - SLACK_SECONDS
SHORT_LIFE = 33
# What a worker or a web process needs until it does something.
START_SECONDS = 4
# Whose wall clocks are set.
CLOCKS = ("worker-2", "beat")


@dataclass(frozen=True)
class Fault:
    """`orders` go to the sandbox before it begins, `settings` are the sandbox's while it lasts, `strokes` fall one
    after the other with a `pause` between. `messages`: wake-ups are sent again and again, whoever asked for them."""

    orders: Callable[[Random, list[Errand]], list[Order]] = lambda _random, _errands: []
    strokes: tuple[Stroke, ...] = ()
    pause: tuple[float, float] = (0.3, 2.0)
    settings: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 12
    messages: bool = False
    # Befall the fault's own locations meanwhile, likewise one after the other; `locations`: how many these are.
    acts: tuple[Act, ...] = ()
    locations: int | None = None
    # Looks back once everything is finished.
    review: Callable[[Stack], None] = lambda _: None
    # People change in HighLevel what was booked.
    staff: bool = False
    # News may have been lost: both sides are compared afterwards, as the product does from time to time.
    compares: bool = False
    # What is booked meanwhile, where it is not the usual mixture.
    errands: Kind | None = None
    needs: Callable[[Stack], str | None] = lambda _: None


# --- What HighLevel does ----------------------------------------------------------------------------------


def upstream(*variants: Callable[[Random], Order]) -> Callable[[Random, list[Errand]], list[Order]]:
    """Most creates meet one of the variants, some twice; here and there another call of the location does."""

    def orders(random: Random, errands: list[Errand]) -> list[Order]:
        return [
            *(_at_create(random, variants, each) for each in errands if random.random() < 0.8),
            *_elsewhere(random, variants, errands),
        ]

    return orders


def _at_create(random: Random, variants: Iterable[Callable[[Random], Order]], errand: Errand) -> Order:
    return {
        **random.choice(list(variants))(random),
        "operation": "create_appointment",
        "match": {"title": errand.token},
        "times": random.choice((1, 1, 2)),
    }


def at_creates(variant: Callable[[Random], Order]) -> Callable[[Random, list[Errand]], list[Order]]:
    """Most creates meet the variant, and nothing else does."""
    return lambda random, errands: [
        _at_create(random, (variant,), each) for each in errands if random.random() < 0.8
    ]


def _elsewhere(
    random: Random, variants: Iterable[Callable[[Random], Order]], errands: list[Errand]
) -> list[Order]:
    places = sorted({each.place.location_id for each in errands})
    return [
        {**random.choice(list(variants))(random), "operation": operation, "location_id": place, "times": 1}
        for place in places
        for operation in OTHER_OPERATIONS
        if random.random() < 0.3
    ]


def plain(kind: str, **more: Any) -> Callable[[Random], Order]:
    return lambda _: {"kind": kind, **more}


def hanging(kind: str) -> Callable[[Random], Order]:
    """Beyond the time-out, and within what HighLevel is trusted with."""
    return lambda random: {"kind": kind, "seconds": random.uniform(TIMEOUT_SECONDS + 0.2, LONGEST_HANG)}


def _lost_refreshes(_random: Random, _errands: list[Errand]) -> list[Order]:
    # Each order ends with its one call: a token meets two at most within HighLevel's thirty seconds of grace.
    return [{"kind": "refresh_answer_lost", "times": 6}]


def _twins_in_doubt(random: Random, errands: list[Errand]) -> list[Order]:
    """Of two twins the first one's create is not done and the second one's is, and neither gets an answer.

    The first looks before the second does: without rule 8 it takes the second one's appointment for its own.
    """
    kinds = ("error_500_before", "cut_after")
    return [
        {"kind": kinds[number % 2], "operation": "create_appointment", "match": {"title": each.token}}
        for number, each in enumerate(errands)
    ]


# --- What is done to the stack ----------------------------------------------------------------------------


def kill_worker(stack: Stack, random: Random) -> None:
    victims = random.choice((WORKERS[:1], WORKERS[1:], WORKERS))
    for name in victims:
        stack.processes[name].kill()
    time.sleep(random.uniform(0.2, 1.5))
    for name in victims:
        stack.processes[name].start()
    # Else it would be killed again before it has booked anything.
    time.sleep(START_SECONDS)


def kill_web(stack: Stack, random: Random) -> None:
    """Half of the time while Redis is frozen: requests then stand between their commit and their wake-up."""
    if random.random() < 0.5:
        _signal_redis(stack, signal.SIGSTOP)
        time.sleep(0.15)
    stack.processes["web"].kill()
    _signal_redis(stack, signal.SIGCONT)
    time.sleep(random.uniform(0.1, 0.8))
    stack.processes["web"].start()
    time.sleep(START_SECONDS)


def stop_beat(stack: Stack, _random: Random) -> None:
    stack.processes["beat"].stop()
    time.sleep(60)
    stack.processes["beat"].start()


def stop_beat_shortly(stack: Stack, random: Random) -> None:
    stack.processes["beat"].kill()
    time.sleep(random.uniform(2, 5))
    stack.processes["beat"].start()


def stop_redis(stack: Stack, random: Random) -> None:
    stack.valkey.stop()
    time.sleep(random.uniform(2, 7))
    stack.valkey.start()
    stack.valkey.wait_until_ready()


def freeze_redis(stack: Stack, random: Random) -> None:
    _signal_redis(stack, signal.SIGSTOP)
    time.sleep(random.uniform(1, 7))
    _signal_redis(stack, signal.SIGCONT)


def flush_redis(stack: Stack, _random: Random) -> None:
    stack.redis.flushall()


def restart_redis(stack: Stack, _random: Random) -> None:
    stack.valkey.stop()
    stack.valkey.start()
    stack.valkey.wait_until_ready()


def fill_redis(stack: Stack, random: Random) -> None:
    stack.redis.config_set("maxmemory", 1)
    time.sleep(random.uniform(2, 6))
    stack.redis.config_set("maxmemory", 0)


def restart_postgres_fast(stack: Stack, random: Random) -> None:
    _restart_postgres(stack, random, signal.SIGINT)


def restart_postgres_immediately(stack: Stack, random: Random) -> None:
    _restart_postgres(stack, random, signal.SIGQUIT)


def _restart_postgres(stack: Stack, random: Random, how: signal.Signals) -> None:
    if stack.postgres.process:
        stop(stack.postgres.process, how, 15)
    time.sleep(random.uniform(0, 1.5))
    stack.postgres.start()
    stack.postgres.wait_until_ready()


def step_clock(stack: Stack, random: Random) -> None:
    """The wall clock of one worker or of beat jumps, minutes ahead or back; its other clocks go on."""
    if stack.faketime is None:
        return
    name = random.choice(CLOCKS)
    clock = stack.clock_file(name)
    if not clock.exists():
        clock.write_text("+0")
        stack.processes[name].stop()
        stack.processes[name].start(
            LD_PRELOAD=str(stack.faketime),
            FAKETIME_TIMESTAMP_FILE=str(clock),
            FAKETIME_CACHE_DURATION="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
        )
        time.sleep(START_SECONDS)
    clock.write_text(f"{random.choice((-3600, -90, -5, 0, 5, 90, 3600)):+}")


def _signal_redis(stack: Stack, number: signal.Signals) -> None:
    process = stack.valkey.process
    if process and process.poll() is None:
        os.kill(process.pid, number)


def _revoke(stack: Stack, random: Random) -> None:
    place: Place = random.choice(stack.places)
    stack.desk.revoke_tokens(place.location_id)


def _revoke_many(stack: Stack, random: Random) -> None:
    for place in random.sample(stack.places, len(stack.places) // 4):
        stack.desk.revoke_tokens(place.location_id)


def _has_faketime(stack: Stack) -> str | None:
    return None if stack.faketime else "libfaketime is not installed"


# --- The table --------------------------------------------------------------------------------------------

VARIANTS: dict[str, tuple[Callable[[Random], Order], ...]] = {
    "too_many_requests": (
        plain("too_many_requests", retry_after=1),
        plain("too_many_requests", retry_after=2),
        plain("too_many_requests"),
    ),
    "error_500_before": (plain("error_500_before"),),
    "error_500_after": (plain("error_500_after"),),
    "cut_before": (plain("cut_before"),),
    "cut_after": (plain("cut_after"),),
    "hang_then_done": (hanging("hang_after"),),
    "hang_then_dropped": (hanging("hang_before"),),
    "html_502": (plain("html_502"), plain("html_502", done=True)),
    "half_answer": (plain("half_body"), plain("truncated_json")),
    "token_revoked": (plain("token_revoked"),),
}


def _of_every_kind(random: Random, errands: list[Errand]) -> list[Order]:
    variants = [variant for each in VARIANTS.values() for variant in each]
    return [*upstream(*variants)(random, errands), {"kind": "refresh_answer_lost", "times": 2}]


# These keep to their own locations, so all of them can be had at once, each alone for its bookings.
UPSTREAM: dict[str, Fault] = {
    **{name: Fault(upstream(*variants)) for name, variants in VARIANTS.items()},
    "refused_after": Fault(at_creates(plain("refused_after"))),
}

# What befalls accounts keeps to its own locations too. Sandbox accounts have 25 calls in ten seconds.
SMALL = {"rate_limit_burst": 25}
# Whoever cannot ask what became of a call is to do so later.
DOUBT = upstream(*VARIANTS["cut_after"], *VARIANTS["hang_then_done"], *VARIANTS["error_500_before"])
ACCOUNTS: dict[str, Fault] = {
    "storm_429": Fault(acts=(accounts.storm,), pause=(0.5, 3), locations=4, settings=SMALL, seconds=24),
    "suspended": Fault(DOUBT, acts=(accounts.suspend,), seconds=24),
    "reconnected": Fault(DOUBT, acts=(accounts.revoke_consent,), seconds=24),
    "reinstalled": Fault(DOUBT, acts=(accounts.uninstall,), seconds=24, compares=True),
}

BAD_LETTERS = {"letters_lost_share": 0.3, "letters_doubled_share": 0.3, "letters_shuffled_seconds": 4.0}
# These are HighLevel's as a whole: one at a time.
WIDE: dict[str, Fault] = {
    "quota_zero": Fault(acts=(accounts.run_out,), pause=(1, 4), locations=12, seconds=24),
    "down_a_minute": Fault(
        acts=(accounts.go_down,),
        pause=(1, 2),
        # As few as it takes to tell that it is not one location's trouble: each has much to catch up with.
        locations=3,
        settings=SMALL,
        seconds=50,
        review=accounts.review_return,
    ),
    "letters_bad": Fault(upstream(*VARIANTS["cut_after"]), settings=BAD_LETTERS),
    "staff_changes": Fault(DOUBT, staff=True, seconds=24),
    # What was changed before its call's outcome was known is found without its event, too.
    "staff_unheard": Fault(DOUBT, staff=True, settings=BAD_LETTERS, seconds=24, compares=True),
}

# So that whatever is killed or stopped meanwhile has calls in flight.
SLOWLY = {"latency_seconds": 0.3}
# These are everybody's: one at a time.
COMMON: dict[str, Fault] = {
    "refresh_lost": Fault(
        _lost_refreshes,
        strokes=(_revoke_many,),
        pause=(2, 4),
        settings={"access_token_seconds": SHORT_LIFE},
    ),
    "lists_lagging": Fault(
        upstream(plain("error_500_after"), plain("cut_after"), plain("error_500_before")),
        # As late as the promise allows, and with messages enough for each look to come as early as it may.
        settings={"list_lag_seconds": TIMEOUT_SECONDS + SETTLE_SECONDS - SLACK_SECONDS},
        messages=True,
    ),
    "twins_in_doubt": Fault(
        _twins_in_doubt, settings={"list_lag_seconds": 0}, messages=True, errands=doubtful_twins
    ),
    "worker_killed": Fault(strokes=(kill_worker,), settings=SLOWLY),
    "web_killed": Fault(strokes=(kill_web,), settings=SLOWLY),
    "beat_stopped": Fault(upstream(*VARIANTS["error_500_after"]), strokes=(stop_beat,)),
    "redis_stopped": Fault(strokes=(stop_redis,), settings=SLOWLY),
    "redis_frozen": Fault(strokes=(freeze_redis,), settings=SLOWLY),
    "redis_flushed": Fault(strokes=(flush_redis,), pause=(0.1, 1), settings=SLOWLY),
    "redis_restarted": Fault(strokes=(restart_redis,), settings=SLOWLY),
    "redis_full": Fault(strokes=(fill_redis,), settings=SLOWLY),
    "postgres_fast": Fault(strokes=(restart_postgres_fast,), pause=(1, 3), settings=SLOWLY),
    "postgres_immediate": Fault(strokes=(restart_postgres_immediately,), pause=(1, 3), settings=SLOWLY),
    "delivered_twice": Fault(upstream(*VARIANTS["cut_after"], *VARIANTS["error_500_before"]), messages=True),
    "clock_stepped": Fault(
        upstream(*VARIANTS["cut_after"], *VARIANTS["hang_then_done"], *VARIANTS["token_revoked"]),
        strokes=(step_clock,),
        pause=(1, 2),
        seconds=20,
        needs=_has_faketime,
    ),
    "everything": Fault(
        _of_every_kind,
        strokes=(
            kill_worker,
            kill_web,
            stop_beat_shortly,
            stop_redis,
            freeze_redis,
            flush_redis,
            restart_redis,
            fill_redis,
            restart_postgres_fast,
            restart_postgres_immediately,
            step_clock,
            _revoke,
        ),
        pause=(0.1, 0.8),
        settings={"latency_seconds": 0.1},
        seconds=20,
        messages=True,
    ),
}
FAULTS: dict[str, Fault] = {**UPSTREAM, **ACCOUNTS, **WIDE, **COMMON}
