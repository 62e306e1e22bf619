"""Each call with an account's token has a permit of the pace and passes the circuit breaker, whatever it is for."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db.models.functions import Now

from appointments import reconciling as comparing
from appointments.models import Booking, Comparison
from ghl.errors import HighLevelError
from ghl.letters import Letter
from oauth import calling, installs, letters, minting, outage, reconciling, repairs, vault
from oauth.models import Agency, Location, Token, Upstream
from sandbox import World
from sandbox.faults import Fault
from sandbox.seed import COMPANY, THIRD_LOCATION
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona, booking_body, work_once
from tests.oauth.conftest import complete, end_claim, expire, refresh_calls, work

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_pace")]


@pytest.fixture(autouse=True)
def _closed_circuit(db: None) -> None:
    outage.forget()


def connect_privately(highlevel: World) -> None:
    installs.connect_private(THIRD_LOCATION, highlevel.issue_private_token(THIRD_LOCATION))


def compare(_: World) -> None:
    comparing._plan_new()
    Comparison.objects.update(due_at=Now())
    comparing.compare_due()


def mint(_: World) -> None:
    Location.objects.filter(agency=COMPANY).update(mint_due_at=Now(), mint_started_at=None)
    vault.mint_due(COMPANY, seconds=0.01)


def check(_: World) -> None:
    reconciling.check_location(Location.objects.get(pk=ACME_LOCATION))


def check_agency(_: World) -> None:
    reconciling.check_agency(Agency.objects.get(pk=COMPANY))


def describe(_: World) -> None:
    installs.describe(Location.objects.get(pk=ACME_LOCATION))


def report_uninstall(highlevel: World) -> None:
    highlevel.clock.advance(1)
    for about in ({"location_id": ACME_LOCATION}, {"company_id": COMPANY}):
        letters.uninstalled(Letter("UNINSTALL", sent_at=highlevel.clock.now(), **about))


def report_install(highlevel: World) -> None:
    letters.installed(Letter("INSTALL", location_id="unknown", company_id=COMPANY))


def work_on_bookings(_: World) -> None:
    Booking.objects.update(next_attempt_at=Now())
    work_once(ACME_LOCATION)


def reconcile(_: World) -> None:
    repairs.reconcile(repairs.all_connected(), lambda _: None)


CALLS: list[Callable[[World], None]] = [
    connect_privately,
    compare,
    mint,
    check,
    check_agency,
    describe,
    report_uninstall,
    report_install,
    work_on_bookings,
]


@pytest.fixture
def story(acme: Persona, globex: Persona, agency: Agency, highlevel: World) -> Persona:
    """Everything that calls HighLevel has something to call for."""
    work()
    acme.book()
    work_once()
    acme.book(booking_body(startTime="2027-06-23T05:30:00+05:30", endTime="2027-06-23T06:30:00+05:30"))
    return acme


def calls(highlevel: World) -> Counter[str]:
    """With a token of each account; the token endpoint takes none."""
    made = [each for each in list(highlevel.calls.records) if each.operation != "token"]
    of_agency = {"installed_locations", "location_token"}
    return Counter(
        f"company:{COMPANY}" if each.operation in of_agency else f"location:{each.location_id}"
        for each in made
    )


def permits() -> Counter[str]:
    """Taken by all processes together, as Redis remembers them."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        keys = [key.decode() for key in client.keys("pace:*:state")]
        return Counter(
            {key[len("pace:") : -len(":state")]: int(client.hget(key, "ever") or 0) for key in keys}
        )


@pytest.mark.parametrize("call", [*CALLS, reconcile])
def test_each_call_takes_a_permit(story: Persona, highlevel: World, call: Any) -> None:
    called, taken = calls(highlevel), permits()

    call(highlevel)

    called, taken = calls(highlevel) - called, permits() - taken
    assert called
    # A worker takes a booking's permit before it knows whether one is due, and gives it back where none is.
    assert taken >= called if call is work_on_bookings else taken == called


@pytest.mark.parametrize("call", CALLS)
def test_no_call_leaves_while_the_circuit_is_open(
    story: Persona, highlevel: World, open_circuit: None, call: Any
) -> None:
    before = [each.operation for each in highlevel.calls.records]

    with suppress(calling.MustWaitItsTurn):
        call(highlevel)

    assert [each.operation for each in highlevel.calls.records] == before
    assert Token.objects.count() == 4


def test_what_a_call_came_to_is_noted(story: Persona, highlevel: World) -> None:
    highlevel.faults.add(_failing("get_location"))
    for location_id in (ACME_LOCATION, GLOBEX_LOCATION, THIRD_LOCATION) * 2:
        installs.describe(Location.objects.get(pk=location_id))
        outage.forget()

    assert outage.gate().wait


def _failing(operation: str) -> Any:
    return Fault("error_500_before", operation, times=None)


def test_a_probe_may_ask_for_the_token_it_needs(agency: Agency, highlevel: World, open_circuit: None) -> None:
    """A mint within the probe's step is the probe's own call."""
    Location.objects.get_or_create(pk=ACME_LOCATION, defaults={"agency": agency})
    Upstream.objects.update(not_before=Now())
    outage.forget()

    with outage.passage():
        assert minting.mint(Location.objects.get(pk=ACME_LOCATION), vault.AgencyTokens(COMPANY))

    assert outage.gate() == outage.Gate()


def test_a_refresh_waits_for_the_breaker(acme: Persona, highlevel: World, open_circuit: None) -> None:
    expire()

    with pytest.raises(calling.MustWaitItsTurn):
        vault.LocationTokens(ACME_LOCATION).token()

    assert refresh_calls(highlevel) == 0
    outage._note_answer()
    assert vault.LocationTokens(ACME_LOCATION).token(), "at once, for there is nothing to repeat"


def test_a_refresh_without_a_result_is_repeated_while_the_breaker_is_open(
    acme: Persona, highlevel: World, open_circuit: None
) -> None:
    """HighLevel's grace for a lost answer is shorter than many an outage."""
    end_claim()

    assert vault.refresh_due() == 1

    assert outage.gate() == outage.Gate(), "its answer ends the outage for everybody"


def test_the_breaker_hears_of_refreshes(acme: Persona, globex: Persona, highlevel: World) -> None:
    accounts = (ACME_LOCATION, GLOBEX_LOCATION, connect_third(highlevel))
    highlevel.faults.add(_failing("token"))
    for location_id in accounts:
        expire(location_id)
        with pytest.raises(HighLevelError):
            vault.LocationTokens(location_id).token()
        outage.forget()

    assert outage.gate().wait


def connect_third(highlevel: World) -> str:
    return complete(highlevel.issue_location_token(THIRD_LOCATION)).pk


def test_a_name_that_could_not_be_read_is_read_later(
    acme: Persona, highlevel: World, open_circuit: None
) -> None:
    Location.objects.update(name="")
    installs.describe(Location.objects.get())
    outage._note_answer()

    work()

    assert Location.objects.get().name
