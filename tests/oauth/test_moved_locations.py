"""Whose a location is: what HighLevel answers decides, never an INSTALL that names an agency."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pytest

from ghl.letters import Letter
from oauth import keys, letters
from oauth.models import Agency, ApiKey, Location, Tenant
from sandbox import World
from sandbox.seed import COMPANY
from tests.fixtures import ACME_LOCATION
from tests.oauth.conftest import asked_for, complete, pass_a_night, work

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_pace")]


@dataclass
class Two:
    """Acme's agency, whose the location is, and globex's, each with a key for whatever its agency has."""

    world: World
    rival: str
    acme: ApiKey
    globex: ApiKey

    def install(self, seconds: float) -> Letter:
        """An INSTALL that names globex's agency, so long after the last thing that happened."""
        self.world.clock.advance(seconds)
        now = self.world.clock.now()
        return Letter("INSTALL", location_id=ACME_LOCATION, company_id=self.rival, sent_at=now)

    def covering(self) -> str:
        covered = [key.tenant.name for key in (self.acme, self.globex) if self._covers(key)]
        [name] = covered
        return name

    @staticmethod
    def _covers(key: ApiKey) -> bool:
        return Location.objects.covered_by(key).filter(pk=ACME_LOCATION).exists()


@pytest.fixture(params=["agency", "location"])
def two(request: Any, highlevel: World) -> Two:
    """With tokens from the agency, or of the location's own install."""
    # What does not name the agency says nothing of whose a location is.
    highlevel.forms.pin(location_optional="full", token_optional="full")
    rival = highlevel.add_company("Rival").id
    if request.param == "agency":
        complete(highlevel.issue_company_token(COMPANY))
        work()
    else:
        complete(highlevel.issue_location_token(ACME_LOCATION))
    made = [
        keys.issue(Tenant.objects.create(name=name), agency=Agency.objects.get_or_create(pk=agency_id)[0])[0]
        for name, agency_id in (("acme", COMPANY), ("globex", rival))
    ]
    return Two(highlevel, rival, *made)


Connect = Callable[[Two], None]


def connect_rival(two: Two) -> None:
    complete(two.world.issue_company_token(two.rival))
    work()


def leave_rival(two: Two) -> None:
    pass


connected = pytest.mark.parametrize("connect", [connect_rival, leave_rival])


@connected
@pytest.mark.parametrize("seconds", [-60, 0, 60], ids=["old", "now", "new"])
def test_an_install_that_is_not_so_moves_nothing(two: Two, connect: Connect, seconds: float) -> None:
    connect(two)
    letter = two.install(seconds)

    for _ in range(2):
        letters.installed(letter)
        assert two.covering() == "acme"
        work()
        assert two.covering() == "acme"

    pass_a_night()
    assert two.covering() == "acme"
    assert Location.objects.get(pk=ACME_LOCATION).status == "active"


def test_it_is_checked_with_its_own_token_where_it_is_contradicted(two: Two) -> None:
    two.world.calls.records.clear()

    letters.installed(two.install(60))
    work()

    assert asked_for(two.world, "get_location") == [ACME_LOCATION]


def test_an_older_one_is_not_even_checked(two: Two) -> None:
    two.world.calls.records.clear()

    letters.installed(two.install(-60))
    work()

    assert not two.world.calls.records


@pytest.mark.parametrize("ends_tokens", [True, False])
@connected
def test_one_that_is_so_moves_it_once_highlevel_has_answered(
    two: Two, connect: Connect, ends_tokens: bool
) -> None:
    connect(two)
    two.world.move_location(ACME_LOCATION, two.rival, ends_tokens=ends_tokens)
    letter = two.install(60)

    letters.installed(letter)
    assert two.covering() == "acme"
    work()

    if ends_tokens and connect is leave_rival:
        # Nobody can be asked whose it is by now; its next grant tells.
        assert two.covering() == "acme"
        assert Location.objects.get(pk=ACME_LOCATION).status in Location.DISCONNECTED
        connect_rival(two)
    assert two.covering() == "globex"
    letters.installed(letter)
    work()
    assert two.covering() == "globex"
    assert Location.objects.get(pk=ACME_LOCATION).status == "active"


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_it_ends_with_whose_it_is_in_every_order(two: Two, order: tuple[int, ...]) -> None:
    there, home = two.install(5), two.install(5)
    home = Letter("INSTALL", location_id=ACME_LOCATION, company_id=COMPANY, sent_at=home.sent_at)
    two.world.move_location(ACME_LOCATION, two.rival)
    last = two.install(5)
    events = (there, home, last)

    for number in order:
        letters.installed(events[number])
        work()
    pass_a_night()

    assert two.covering() == "globex"


def test_a_lost_install_is_found_by_the_daily_check(two: Two) -> None:
    two.world.move_location(ACME_LOCATION, two.rival)

    pass_a_night()
    if two.covering() == "acme":
        connect_rival(two)
        pass_a_night()

    assert two.covering() == "globex"


def test_a_location_that_nobody_proved_is_nobodys(two: Two) -> None:
    stranger = two.world.add_location("Stranger", company_id=two.world.add_company("Third").id)
    connect_rival(two)
    two.world.calls.records.clear()
    letter = two.install(60)

    letters.installed(
        Letter("INSTALL", location_id=stranger.id, company_id=two.rival, sent_at=letter.sent_at)
    )
    work()

    assert not Location.objects.covered_by(two.globex).filter(pk=stranger.id).exists()
    assert asked_for(two.world, "installed_locations")


def test_a_location_that_its_agencys_list_shows_is_its_agencys(two: Two) -> None:
    connect_rival(two)
    two.world.companies[two.rival].install_to_future_locations = True
    new = two.world.add_location("New", company_id=two.rival)

    letters.installed(
        Letter("INSTALL", location_id=new.id, company_id=two.rival, sent_at=two.world.clock.now())
    )

    assert Location.objects.covered_by(two.globex).filter(pk=new.id).exists()
    assert not Location.objects.covered_by(two.acme).filter(pk=new.id).exists()
