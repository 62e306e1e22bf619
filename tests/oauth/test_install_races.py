"""Callbacks, letters, lists and mints at the same moment, in threads: nobody waits for ever, and of two tokens of a
location the newest is kept."""

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from ghl.letters import parse_letter
from ghl.types import parse_token_grant
from oauth import installs, letters, minting, reconciling, vault
from oauth.calling import MustWaitItsTurn
from oauth.keeping import NeedsReconnect, TokenBusy
from oauth.models import Agency, Location, Token
from oauth.vault import AgencyTokens, LocationTokens
from sandbox import World
from sandbox.faults import Fault
from sandbox.installs import in_force
from sandbox.seed import COMPANY
from tests.appointments.conftest import at_once, beside, until
from tests.fixtures import ACME_LOCATION, Persona
from tests.oauth.conftest import (
    THREE,
    asked_for,
    complete,
    newest,
    plain,
    statuses,
    statuses_of,
    stored,
    work,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("own_pace")]
PATIENCE_SECONDS = 20


def reading(letter: Any) -> Callable[[], None]:
    """What a worker does with a letter of the sandbox."""
    act = {"INSTALL": letters.installed, "UNINSTALL": letters.uninstalled}[letter.type]
    read = parse_letter(json.loads(letter.body))
    return lambda: act(read)


def token_of(location_id: str) -> str:
    """The access token, waited for as a worker waits."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return LocationTokens(location_id).token()
        except (TokenBusy, MustWaitItsTurn):
            assert time.monotonic() < give_up_at
            time.sleep(0.02)


def is_let_through(highlevel: World, token: Token) -> bool:
    grant = highlevel.tokens.grant_of(plain(token, "access_token"))
    return grant is not None and in_force(highlevel, grant)


@pytest.mark.parametrize("round_", range(5))
def test_a_callback_its_letters_and_the_background_meet(highlevel: World, round_: int) -> None:
    grant = parse_token_grant(highlevel.issue_company_token(COMPANY))
    others = [reading(letter) for letter in highlevel.letters]

    at_once(
        lambda: installs.complete(grant),
        *others,
        reconciling.check_due,
        lambda: vault.mint_due(COMPANY),
        lambda: vault.mint_due(COMPANY),
    )
    work()

    assert statuses() == dict.fromkeys(THREE, "active")
    assert Counter(asked_for(highlevel, "location_token")) == dict.fromkeys(THREE, 1)
    assert all(is_let_through(highlevel, token) for token in Token.objects.all())


def test_many_who_need_a_token_have_it_minted_once(agency: Agency, highlevel: World) -> None:
    reconciling.check_due()
    highlevel.faults.add(Fault("hang_after", "location_token", seconds=0.3, times=None))

    tokens = at_once(*[lambda: token_of(ACME_LOCATION)] * 8, lambda: vault.mint_due(COMPANY))
    highlevel.faults.clear()
    work()

    assert len({*tokens[:8]}) == 1
    assert Counter(asked_for(highlevel, "location_token")) == dict.fromkeys(THREE, 1)


@pytest.mark.parametrize("round_", range(5))
def test_a_direct_install_meets_its_agencys(agency: Agency, highlevel: World, round_: int) -> None:
    grant = parse_token_grant(highlevel.issue_location_token(ACME_LOCATION))
    install = reading(highlevel.letters.of_type("INSTALL")[-1])

    at_once(lambda: installs.complete(grant), install, reconciling.check_due, lambda: vault.mint_due(COMPANY))
    work()

    assert statuses() == dict.fromkeys(THREE, "active")
    assert is_let_through(highlevel, stored())
    assert not Location.objects.get(pk=ACME_LOCATION).came_with_agency
    assert asked_for(highlevel, "location_token").count(ACME_LOCATION) <= 1


@pytest.mark.parametrize("round_", range(5))
def test_an_uninstall_meets_mints_in_flight(agency: Agency, highlevel: World, round_: int) -> None:
    reconciling.check_due()
    highlevel.faults.add(Fault("hang_after", "location_token", seconds=0.2, times=3))

    with beside(lambda: vault.mint_due(COMPANY)), beside(lambda: vault.mint_due(COMPANY)):
        until(lambda: asked_for(highlevel, "location_token"))
        highlevel.uninstall_company(COMPANY)
        reading(highlevel.letters.of_type("UNINSTALL")[-1])()
    work()

    assert set(statuses().values()) == {"uninstalled"}
    assert not Token.objects.exists()


def test_a_token_that_was_minted_before_the_uninstall_is_not_kept(agency: Agency, highlevel: World) -> None:
    reconciling.check_due()
    # HighLevel gives the token at once, and it takes its time on the way.
    highlevel.faults.add(Fault("dribble", "location_token", seconds=0.5))

    with beside(lambda: _mint(ACME_LOCATION)):
        until(lambda: asked_for(highlevel, "location_token"))
        highlevel.clock.advance(5)
        highlevel.uninstall(ACME_LOCATION)
        letters.uninstalled(newest(highlevel, "UNINSTALL"))

    assert statuses_of() == ("uninstalled", "")
    assert not Token.objects.filter(location=ACME_LOCATION).exists()


def _mint(location_id: str) -> None:
    location = Location.objects.get(pk=location_id)
    with pytest.raises(NeedsReconnect, match="meanwhile"):
        minting.mint(location, AgencyTokens(COMPANY))


def test_an_install_while_the_old_one_is_asked_about_is_newer_than_the_answer(
    acme: Persona, highlevel: World
) -> None:
    highlevel.uninstall(ACME_LOCATION)
    # HighLevel says no at once, and it takes its time on the way.
    highlevel.faults.add(Fault("dribble", "get_location", seconds=0.5))

    with beside(lambda: reconciling.check_location(Location.objects.get(pk=ACME_LOCATION))):
        until(lambda: asked_for(highlevel, "get_location"))
        complete(highlevel.issue_location_token(ACME_LOCATION))

    assert statuses_of() == ("active", "")
    assert is_let_through(highlevel, stored())


def test_two_grants_and_letters_of_one_location_leave_the_newest(highlevel: World) -> None:
    older = parse_token_grant(highlevel.issue_location_token(ACME_LOCATION))
    highlevel.clock.advance(5)
    newer = parse_token_grant(highlevel.issue_location_token(ACME_LOCATION))
    others = [reading(letter) for letter in highlevel.letters]

    at_once(lambda: installs.complete(older), lambda: installs.complete(newer), *others)

    assert LocationTokens(ACME_LOCATION).token() == newer.access_token
    assert Token.objects.count() == 1
