"""An agency of three hundred locations at HighLevel's real pace: 100 calls in ten seconds, and not one too many."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now

from oauth import calling, minting, pace, reconciling, repairs, vault
from oauth.models import Agency, Location, Token
from oauth.vault import AgencyTokens, LocationTokens
from sandbox import World
from sandbox.seed import COMPANY, LOCATION
from tests.oauth.conftest import asked_for, complete, statuses

pytestmark = pytest.mark.usefixtures("own_pace")

LOCATIONS, THREADS, LATENCY_SECONDS = 300, 3, 0.1
BURST, INTERVAL = 100, timedelta(seconds=10)
PATIENCE_SECONDS = 60


@pytest.mark.django_db(transaction=True)
def test_three_hundred_locations_are_connected_at_the_real_pace(highlevel: World) -> None:
    for number in range(LOCATIONS - len(highlevel.locations)):
        highlevel.add_location(f"Branch {number}")
    highlevel.settings.latency_seconds = LATENCY_SECONDS
    agency = complete(highlevel.issue_company_token(COMPANY))
    reconciling.check_due()

    in_threads(lambda: minting_until_done(agency))

    assert Counter(statuses().values()) == {"active": LOCATIONS}
    assert Counter(asked_for(highlevel, "location_token")).most_common(1)[0][1] == 1
    calls = [each for each in highlevel.calls.records if each.operation in COMPANY_CALLS]
    assert {each.outcome for each in calls} <= {"200", "201"}
    assert len(calls) == LOCATIONS + 4
    # The limit is used: a busy machine may take longer, but not several times as long.
    windows = per_window([datetime.fromisoformat(each.at) for each in calls])
    assert max(windows) >= 0.9 * BURST, windows


COMPANY_CALLS = ("installed_locations", "location_token")


def minting_until_done(agency: Agency) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while agency.locations.filter(mint_due_at__isnull=False).exists():
        assert time.monotonic() < give_up_at
        # What a worker is woken for; the sweep wakes the next one.
        vault.mint_due(agency.pk, seconds=1)


def in_threads(work: Callable[[], None]) -> None:
    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def per_window(moments: list[datetime]) -> list[int]:
    """How many fall into each interval, counted from the first call."""
    counted = Counter((moment - min(moments)) // INTERVAL for moment in moments)
    return [counted[number] for number in range(max(counted) + 1)]


# --- Whose turn it is -------------------------------------------------------------------------------------


def use_up(agency: Agency, use: pace.Use) -> None:
    """As if others had just sent all that may leave."""
    resource = pace.company(agency.pk)
    # The first answer tells the limit.
    AgencyTokens(agency.pk).token()
    reconciling.check_due()
    try:
        while True:
            pace.finish(pace.take(resource, use))
    except pace.MustWait:
        return


@pytest.mark.django_db
def test_the_last_slots_are_for_what_a_booking_needs(agency: Agency, highlevel: World) -> None:
    use_up(agency, minting.IN_TURN)

    claimed = minting.claim_due(agency.pk)
    assert claimed is not None
    with pytest.raises(calling.MustWaitItsTurn):
        minting.mint_claimed(claimed, AgencyTokens(agency.pk))
    assert LocationTokens(LOCATION).token()

    assert asked_for(highlevel, "location_token") == [LOCATION]


@pytest.mark.django_db
def test_a_booking_that_must_wait_is_told_for_how_long(agency: Agency, highlevel: World) -> None:
    use_up(agency, minting.AT_ONCE)

    with pytest.raises(calling.MustWaitItsTurn) as waiting:
        LocationTokens(LOCATION).token()

    assert timedelta(0) < waiting.value.retry_after <= INTERVAL
    assert asked_for(highlevel, "location_token") == []
    location = Location.objects.get(pk=LOCATION)
    # Nobody holds it up: whoever comes next may ask.
    assert location.mint_started_at is None
    assert location.status == "active"


@pytest.mark.django_db
def test_the_limit_is_learned_from_the_answers(highlevel: World) -> None:
    highlevel.settings.rate_limit_burst = 25
    highlevel.settings.rate_limit_interval_seconds = 1.0
    for number in range(40):
        highlevel.add_location(f"Branch {number}")
    complete(highlevel.issue_company_token(COMPANY))

    report = repairs.reconcile(repairs.all_connected(), lambda _more: None)

    assert (len(report.connected), report.is_complete) == (43, True)
    outcomes = [each.outcome for each in highlevel.calls.records if each.operation in COMPANY_CALLS]
    assert (len(outcomes), set(outcomes) <= {"200", "201"}) == (44, True)


@pytest.mark.django_db
def test_without_redis_nothing_leaves(agency: Agency) -> None:
    reconciling.check_due()
    Token.objects.filter(location=LOCATION).delete()
    Location.objects.update(mint_due_at=Now())
    pace.memory._skip_until = time.monotonic() + 60
    try:
        with pytest.raises(calling.MustWaitItsTurn):
            LocationTokens(LOCATION).token()
    finally:
        pace.memory._skip_until = 0.0

    assert LocationTokens(LOCATION).token()
