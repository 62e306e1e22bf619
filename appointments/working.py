"""What a woken worker does: converge bookings, location by location in turn, each at the pace HighLevel allows it.
Whose turn it is says turns/, when a call may leave oauth/pace, what is done with a booking bookings.py."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from appointments import bookings, claiming, turns
from appointments.attempts import lease_time
from appointments.models import Booking, TimelineEntry
from oauth import outage, pace

# A thread goes on for so long, then leaves itself to other tasks; a message has it taken up again.
IN_A_ROW_SECONDS = 20.0
# While nothing may leave yet one thread of each process waits for the moment, so that none is missed.
LONGEST_WAIT_SECONDS = 0.5
watch = threading.Lock()
# So many threads of a process converge; the others are for whatever else comes up, which must not wait for them.
seats = threading.BoundedSemaphore(settings.CONVERGING_THREADS)
# How often a process whose seats are taken calls for others.
CALL_EVERY_SECONDS = 0.2
_called_at = -CALL_EVERY_SECONDS
# Longer than any attempt takes, so that each has left its line of history by then.
QUIET = timedelta(minutes=10)


def begin() -> None:
    """A worker starts: where no call can have left lately, a new Redis need not be taken for one that forgot."""
    last = TimelineEntry.objects.order_by("-id").values_list("at", flat=True).first()
    quiet = last is None or last < timezone.now() - QUIET
    if quiet and not Booking.objects.filter(lease_until__gt=Now()).exists():
        pace.nothing_sent_before()


def work(is_stopping: Callable[[], bool] = lambda: False) -> None:
    """Serve the locations whose turn it is, until there is none or others should have the thread."""
    if not seats.acquire(blocking=False):
        return  # those who work go on until none is left
    try:
        _work(is_stopping)
    finally:
        seats.release()


def _work(is_stopping: Callable[[], bool]) -> None:
    until = time.monotonic() + IN_A_ROW_SECONDS
    while time.monotonic() < until and not is_stopping():
        try:
            turn, wait = turns.take(_may_others_have_room)
        except turns.Away:
            time.sleep(turns.SKIP_SECONDS)
            continue
        if turn is not None:
            serve(turn)
        elif wait is None or not _watched(wait):
            return
    turns.go_on()


def _may_others_have_room() -> bool:
    """Whether to call another thread: where this process has a seat free, else now and then, as another may have one.
    A message that finds every seat taken costs half as much as a booking."""
    global _called_at  # noqa: PLW0603  (two threads may both call: that is no harm)
    if not seats.acquire(blocking=False):
        if time.monotonic() - _called_at < CALL_EVERY_SECONDS:
            return False
    else:
        seats.release()
    _called_at = time.monotonic()
    return True


def _watched(wait: timedelta) -> bool:
    """Wait for the next moment, unless another thread of this process does, or the sweep will do."""
    if wait > timedelta(seconds=settings.SWEEP_SECONDS) or not watch.acquire(blocking=False):
        return False
    try:
        time.sleep(min(wait.total_seconds(), LONGEST_WAIT_SECONDS))
    finally:
        watch.release()
    return True


def serve(turn: turns.Turn) -> bool:
    """Take the next step of the location's oldest due booking. False where nothing is due or may leave."""
    if turn.slot is None:
        turns.later(turn.location_id, turn.wait)
        return False
    slot: pace.Slot | None = turn.slot
    try:
        with outage.passage():
            booking = claiming.claim(turn.location_id, lease_time())
            if booking is None:
                return False
            if booking.more_due:
                turns.share(turn.location_id, _may_others_have_room)
            slot = None  # from here on it is the attempt's
            bookings.converge(booking, turn.slot)
            return True
    except outage.CircuitOpen as error:
        turns.later(turn.location_id, error.wait)
        return False
    finally:
        if slot is not None:
            pace.give_back(slot)
