"""When a call to HighLevel may leave: never more of a location's or company's than its limit, over all processes.

Not here: the calls themselves, and what becomes of those that wait.

HighLevel counts a call when it arrives, at some moment between `take` and `finish`. So a call occupies its slot from
`take` until one interval after `finish`: of the calls that arrive within any one interval, all occupied a slot when
the last of them was let go, and there are never more slots than the limit. This guesses at no latency and no jitter,
and holds for a window that slides as for one that is fixed. Its price is an answer's time in each interval (2 % where
that is 200 ms). The slot of a call nobody reports, its worker being dead, is free again after five seconds and one
interval. Of HighLevel's 100 calls in 10 s bookings may have 95, upkeep 97, and the last three are for the ten seconds
after Redis has lost its memory, when 97 calls may stand in HighLevel's books that nobody here remembers. Until the
first answer tells its limits, a location is taken for a sandbox account, which has 25.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

from ghl.types import Call, Limits
from oauth.pace import memory, metrics


class Use(Enum):
    """What a call is for; each may use what those below it may, and more."""

    # Tokens and look-ups: also the part that is kept from bookings.
    UPKEEP = "upkeep"
    # Creates and changes, and the reads they need.
    BOOKING = "booking"
    # Lists and reconciling: a twentieth of the allowance, and only while no booking has to wait.
    BACKGROUND = "background"


class NoSlot(Exception):
    """The call may not leave now. `retry_after` says when to ask again."""

    retry_after = timedelta(seconds=1)


class MustWait(NoSlot):
    """The allowance is used up, or HighLevel asked for patience."""

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__(f"no call may leave for {retry_after.total_seconds():.3f} s")
        self.retry_after = retry_after


class PaceUnknown(NoSlot):
    """Redis is away: calls in hand finish, nothing new starts."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The right to send one call, within a second; ended by `finish` or `give_back`."""

    resource: str
    ticket: str
    taken: int
    ever_taken: int


def location(location_id: str) -> str:
    """The resource that calls with a location's token count against."""
    return f"location:{location_id}"


def company(company_id: str) -> str:
    """The resource that calls with a company's token count against."""
    return f"company:{company_id}"


def take(resource: str, use: Use) -> Slot:
    """Let one call leave, and count it. Raises MustWait (nothing is counted) or PaceUnknown, after 0.3 s at most."""
    try:
        answer = memory.ask(resource, "take", use.value)
    except memory.Away as error:
        raise PaceUnknown from error
    return taken(resource, use, answer)


def taken(resource: str, use: Use, answer: list[Any]) -> Slot:
    """What a `take` was answered, also within another room's script (`memory.function`). Raises MustWait."""
    granted, *facts = answer
    if not granted:
        metrics.waits.labels(use.value).inc()
        raise MustWait(timedelta(milliseconds=facts[0]))
    return Slot(resource, *facts)


def finish(slot: Slot, call: Call | None = None) -> None:
    """The call has ended, however it ended; its answer's limits are learned, for a day. Never raises.

    What HighLevel has left may only lower our own estimate, as answers overtake each other: it shows what others
    with the same app have used. A 429 says nothing of that beyond what `back_off` is told.
    """
    answer = _tell(slot.resource, "finish", slot.ticket, slot.taken, slot.ever_taken, *_said(call))
    metrics.corrections.inc(sum(answer))


def give_back(slot: Slot) -> None:
    """Nothing was sent after all. Never raises."""
    _tell(slot.resource, "give_back", slot.ticket)


def back_off(resource: str, wait: timedelta | None = None) -> None:
    """After a 429 in spite of it all: nothing leaves for so long, or for one interval. Never raises."""
    metrics.backoffs.inc()
    _tell(resource, "back_off", _milliseconds(wait))


def nothing_sent_before() -> None:
    """Spare a Redis that was made this moment the interval for which a memory that was lost counts as used up.

    Only for who knows that no call can have left before: a new installation, a test. Never raises.
    """
    _tell("", "nothing_sent_before")


def _said(call: Call | None) -> tuple[str | int, str | int, str | int]:
    limits = (call.limits if call else None) or Limits()
    is_refused = call is not None and call.status == 429
    return (
        limits.burst or "",
        _milliseconds(limits.interval),
        "" if limits.burst_left is None or is_refused else limits.burst_left,
    )


def _milliseconds(duration: timedelta | None) -> str | int:
    return "" if duration is None else round(duration / timedelta(milliseconds=1))


def _tell(resource: str, command: str, *arguments: str | int) -> list[int]:
    try:
        return memory.ask(resource, command, *arguments)
    except memory.Away:
        # Nothing leaves until Redis is back, and a slot it has not heard the end of stays occupied for a while.
        return []
