"""What befalls the accounts that the app is installed in: limits, suspension, revoked consents, uninstalls, outages.
Which of it a run deals, and when, is faults.py; each act ends with everything as it was before."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random

from ghlapp.local.processes import wait_until
from tests.chaos.stack import DAILY_QUOTA, TIMEOUT_SECONDS, Place, Stack

# Done to the locations of a fault's own bookings, from a thread of the fault's own.
Act = Callable[[Stack, Random, list[Place]], None]
# What one probe at a time asks, the token's refresh beside it, and what was in hand.
MOST_PROBES_A_SECOND = 3.0
# Until so long after the end no new call has failed, everybody is to have noticed.
NOTICING_SECONDS = 6.0
KNOWN_SECONDS = 12.0
OUTAGES = ("refused", "error_500_before", "html_502", "cut_before", "hang_before")


def storm(stack: Stack, random: Random, places: list[Place]) -> None:
    """Most of the locations are refused several calls in a row, whichever they are."""
    stack.desk.order(
        [
            {
                "kind": "too_many_requests",
                "location_id": place.location_id,
                "times": random.randint(2, 6),
                "retry_after": random.choice((None, 1, 3, _in_seconds(2), "soon")),
            }
            for place in places
            if random.random() < 0.7
        ]
    )


def _in_seconds(seconds: int) -> str:
    """`Retry-After` may be a date too (RFC 9110, 10.2.3)."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def run_out(stack: Stack, random: Random, _places: list[Place]) -> None:
    """The day's quota becomes what some locations have used by now, or none at all, and is raised again."""
    used = sorted(stack.desk.calls_by_location().values())
    left = random.choice((0, used[len(used) // 2] if used else 0))
    stack.desk.set(rate_limit_daily=left)
    time.sleep(random.uniform(3, 6))
    stack.desk.set(rate_limit_daily=DAILY_QUOTA)
    stack.cut_waits_short()


def suspend(stack: Stack, random: Random, places: list[Place]) -> None:
    chosen = _half(random, places)
    for place in chosen:
        stack.desk.change_location(place.location_id, active=False, revoke_tokens=True)
    time.sleep(random.uniform(2, 5))
    for place in chosen:
        stack.desk.change_location(place.location_id, active=True)
    stack.cut_waits_short()


def revoke_consent(stack: Stack, random: Random, places: list[Place]) -> None:
    """No token works any more and none can be had, until somebody consents once more."""
    _consent_again_after(stack, random, _half(random, places), "revoke_refresh")


def uninstall(stack: Stack, random: Random, places: list[Place]) -> None:
    _consent_again_after(stack, random, _half(random, places), "uninstall")


def _consent_again_after(stack: Stack, random: Random, places: list[Place], lever: str) -> None:
    for place in places:
        stack.desk.change_location(place.location_id, **{lever: True})
    time.sleep(random.uniform(1, 4))
    for place in places:
        stack.install(place)


def _half(random: Random, places: list[Place]) -> list[Place]:
    return random.sample(places, max(1, len(places) // 2))


def go_down(stack: Stack, random: Random, places: list[Place]) -> None:
    """Nothing of HighLevel's answers for a while: few calls may ask whether it is back, none may be too many then."""
    # Limits are learned from answers; who knows only the old ones could not keep to these.
    asked = {place.location_id for place in places}
    wait_until(lambda: asked <= stack.desk.calls_by_location().keys(), KNOWN_SECONDS, 0.5)
    kind = random.choice(OUTAGES)
    if kind == "refused":
        stack.shut_door()
    else:
        stack.desk.order([{"kind": kind, "times": None, "seconds": TIMEOUT_SECONDS + 0.5}])
    began_at = datetime.now(UTC)
    seconds = random.uniform(20, 40)
    time.sleep(seconds)
    calls = stack.desk.calls_since(began_at + timedelta(seconds=NOTICING_SECONDS))
    stack.open_door()
    stack.desk.clear()
    stack.back_at = datetime.now(UTC)
    # Whoever is refused at the door is not in the sandbox's log.
    rate = len(calls) / (seconds - NOTICING_SECONDS)
    stack.remarks.append(
        f"HighLevel was down ({kind}) for {seconds:.0f} s, and asked {rate:.1f} times a second"
    )
    if rate > MOST_PROBES_A_SECOND:
        stack.complaints.append(f"HighLevel was down, and asked {rate:.1f} times a second")


def review_return(stack: Stack) -> None:
    """Of the calls since HighLevel was back none may have been one too many."""
    if stack.back_at is None:
        return
    calls = stack.desk.calls_since(stack.back_at)
    refused = [call for call in calls if call["outcome"] == "429" and not call["fault"]]
    stack.remarks.append(f"of {len(calls)} calls since, {len(refused)} were too many")
    if refused:
        stack.complaints.append(f"HighLevel was back, and {len(refused)} calls were too many")
    stack.back_at = None
