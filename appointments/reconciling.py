"""Comparing bookings with HighLevel's calendars, since letters get lost: one list tells of all that a calendar has
within a week. Nothing is taken over here: what differs is read by its booking's next step, as after a letter."""

import logging
import random
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from appointments import metrics, orphans, sync, turns
from appointments.look import AROUND
from appointments.models import Booking, Comparison, LostCreate
from ghl.errors import HighLevelError, Refused
from ghl.types import Appointment
from oauth import pace, upstream
from oauth.calling import MustWaitItsTurn, ask
from oauth.keeping import TokenUnavailable
from oauth.models import Account, Location, unbraked
from oauth.vault import LocationTokens

log = logging.getLogger(__name__)

PERIOD = timedelta(minutes=15)
# A twentieth of HighLevel's 200,000 calls a day; the pace sees to the same share of each burst.
PER_CALL = timedelta(days=1) / (200_000 / 20)
# One list covers so much of a calendar, and what began so long ago still matters.
SPAN, PAST = timedelta(days=7), timedelta(days=1)
# A comparison that its worker did not live to end goes on.
AGAIN_AFTER = timedelta(minutes=10)
CALLS_IN_A_ROW, IN_A_ROW_SECONDS = 20, 45.0


def compare_due() -> None:
    """Compare the locations whose time has come, a few calls each in turn."""
    _plan_new()
    until = time.monotonic() + IN_A_ROW_SECONDS
    while time.monotonic() < until and (comparison := _claim()):
        _go_on(comparison)


def compare_soon(locations: "QuerySet[Location]") -> int:
    """Have these compared from the beginning by the next `compare_due`; how many is returned."""
    rows = [Comparison(location=each, due_at=Now()) for each in locations]
    Comparison.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["location"],
        update_fields=["due_at", "calls", "calendar_id", "starts_at"],
    )
    return len(rows)


def _ahead() -> "QuerySet[Booking]":
    return Booking.objects.filter(status=Booking.Status.BOOKED, starts_at__gte=Now() - PAST)


def _lost() -> "QuerySet[LostCreate]":
    return LostCreate.objects.filter(appointment_id=None, sent_at__gte=Now() - PAST)


def worth_comparing() -> "QuerySet[Location]":
    """Locations with something ahead that staff may change, or that may turn up."""
    ahead = Exists(_ahead().filter(location=OuterRef("pk")))
    return Location.objects.filter(ahead | Exists(_lost().filter(booking__location=OuterRef("pk"))))


def _plan_new() -> None:
    """Locations that have become worth comparing, each at another moment of the period."""
    new = worth_comparing().exclude(Exists(Comparison.objects.filter(location=OuterRef("pk"))))
    Comparison.objects.bulk_create(
        [Comparison(location=each, due_at=Now() + random.random() * PERIOD) for each in new],  # noqa: S311
        ignore_conflicts=True,
    )


def _claim() -> Comparison | None:
    due = Comparison.objects.filter(unbraked("location__"), due_at__lte=Now())
    connected = due.exclude(location__status__in=Account.DISCONNECTED).select_related("location")
    with transaction.atomic():
        comparison = connected.order_by("due_at").select_for_update(skip_locked=True, of=("self",)).first()
        if comparison is not None:
            Comparison.objects.filter(pk=comparison.pk).update(due_at=Now() + AGAIN_AFTER)
            comparison.refresh_from_db(fields=["due_at"])
    return comparison


def _go_on(comparison: Comparison) -> None:
    try:
        for _ in range(CALLS_IN_A_ROW):
            if not _compare_next(comparison):
                _finish(comparison)
                return
    except MustWaitItsTurn as error:
        _put_off(comparison, error.retry_after)
    except (HighLevelError, TokenUnavailable) as error:
        metrics.comparisons.labels("failed").inc()
        log.warning("Location %s could not be compared: %s", comparison.location_id, error)
        _put_off(comparison, PERIOD)
    else:
        _put_off(comparison, timedelta(0))


def _put_off(comparison: Comparison, wait: timedelta, **changes: Any) -> None:
    mine = Comparison.objects.filter(pk=comparison.pk, due_at=comparison.due_at)
    mine.update(
        **{
            "due_at": Now() + wait,
            "calls": comparison.calls,
            "calendar_id": comparison.calendar_id,
            "starts_at": comparison.starts_at,
            **changes,
        }
    )


def _finish(comparison: Comparison) -> None:
    if comparison.calls == 0:
        # There is nothing ahead in it; it is planned anew once there is.
        Comparison.objects.filter(pk=comparison.pk, due_at=comparison.due_at).delete()
        return
    wait = max(PERIOD, comparison.calls * PER_CALL)
    _put_off(comparison, wait, calls=0, calendar_id="", starts_at=None)


def _compare_next(comparison: Comparison) -> bool:
    """Compare the next week of a calendar in which there is anything to compare. False where there is none."""
    place = _next_place(comparison)
    if place is None:
        return False
    calendar_id, start = place
    comparison.calls += 1
    try:
        comparison.calls += _compare(comparison.location, calendar_id, start)
        metrics.comparisons.labels("compared").inc()
    except Refused as error:
        # The calendar may be gone, which is nothing against the others.
        metrics.comparisons.labels("refused").inc()
        log.warning("Calendar %s could not be compared: %s", calendar_id, error)
    comparison.calendar_id, comparison.starts_at = calendar_id, start + SPAN
    return True


def _next_place(comparison: Comparison) -> tuple[str, datetime] | None:
    """The next calendar and start to begin a list with."""
    after = Q()
    if comparison.starts_at is not None:
        same = Q(calendar_id=comparison.calendar_id, starts_at__gt=comparison.starts_at)
        after = Q(calendar_id__gt=comparison.calendar_id) | same
    booked = _ahead().filter(after, location_id=comparison.location_id)
    lost = _lost().filter(after, booking__location_id=comparison.location_id)
    places = [each.values_list("calendar_id", "starts_at") for each in (booked, lost)]
    return places[0].union(places[1]).order_by("calendar_id", "starts_at").first()


def _compare(location: Location, calendar_id: str, start: datetime) -> int:
    """How many bookings are to be read for it."""
    here = _ahead().filter(location=location, calendar_id=calendar_id)
    # Read before the list is asked for: what is booked meanwhile is not missing in it.
    booked = list(here.filter(starts_at__range=(start, start + SPAN)))
    listed = _listed(location, calendar_id, start)
    told = _tell_of(location, listed)
    return told + sum(_ask_for(each) for each in booked if _is_missing(each, listed))


def _listed(location: Location, calendar_id: str, start: datetime) -> list[Appointment]:
    return ask(
        LocationTokens(location.pk),
        location,
        pace.Use.BACKGROUND,
        lambda token, calls: upstream.client().events(
            token,
            location_id=location.pk,
            calendar_id=calendar_id,
            start=start - AROUND,
            end=start + SPAN + AROUND,
            calls=calls,
        ),
    )


def _tell_of(location: Location, listed: Iterable[Appointment]) -> int:
    """Have those read that are listed other than they are known, and appointments that nobody owns looked at."""
    by_id = defaultdict(list)
    for each in listed:
        by_id[each.whole_id].append(
            sync.News(location.pk, each, each.date_updated, is_first=_is_untouched(each))
        )
    owners = Booking.objects.filter(location=location, appointment_id__in=by_id)
    differing = [owner for owner in owners if _differs(owner, by_id[str(owner.appointment_id)])]
    for owner in differing:
        sync.tell(owner)
    owned = {owner.appointment_id for owner in owners}
    _meet(location, [news for key, told in by_id.items() if key not in owned for news in told])
    return len(differing)


def _is_untouched(listed: Appointment) -> bool:
    """It is as it was made: what it shows beyond what we know is no change."""
    if listed.date_added is None or listed.date_updated is None:
        return False
    return listed.date_updated - listed.date_added < timedelta(seconds=1)


def _differs(owner: Booking, told: list[sync.News]) -> bool:
    return any(not sync.is_old(owner, news) and not sync.is_known(owner, news) for news in told)


def _meet(location: Location, unowned: list[sync.News]) -> None:
    if not unowned or not orphans.are_expected(location.pk):
        return
    for news in unowned:
        try:
            orphans.meet(location.pk, news.appointment)
        except orphans.Busy as error:
            log.info("%s is left to the next comparison: %s", news.appointment.id, error)


def _is_missing(booking: Booking, listed: Iterable[Appointment]) -> bool:
    """No longer where it is known to be; of a series the first instance tells."""
    there = [each for each in listed if each.whole_id == booking.appointment_id]
    if not any(each.id != booking.appointment_id for each in there):
        return not there
    return all(each.starts_at != booking.starts_at for each in there)


def _ask_for(booking: Booking) -> int:
    """Have it read, unless somebody has been at it since."""
    unchanged = Booking.objects.filter(pk=booking.pk, lease=None, updated_at=booking.updated_at)
    if told := unchanged.hear():
        turns.wake(booking.location_id)
    return told
