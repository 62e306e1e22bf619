"""Somebody makes a private integration token in a location's settings."""

import re

import httpx2

from sandbox import World
from sandbox.seed import LOCATION, SECOND_LOCATION
from tests.sandbox.asking import EVENTS, Asker, example
from tests.sandbox.test_agencies import location_token


def test_it_opens_the_location_without_an_install(world: World, client: httpx2.Client) -> None:
    token = world.issue_private_token(LOCATION)

    ask = Asker(client, token)

    assert re.fullmatch(r"pit-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", token)
    assert ask.post(EVENTS, example()).status_code == 200
    assert ask.get(f"/locations/{SECOND_LOCATION}").status_code == 403


def test_it_never_runs_out(world: World, client: httpx2.Client) -> None:
    token = world.issue_private_token(LOCATION)
    world.clock.advance(10 * 365 * 86_400)

    assert Asker(client, token).get(f"/locations/{LOCATION}").status_code == 200


def test_it_outlives_installs(world: World, client: httpx2.Client) -> None:
    token = world.issue_private_token(LOCATION)
    world.issue_location_token(LOCATION)
    world.uninstall(LOCATION)

    assert Asker(client, token).get(f"/locations/{LOCATION}").status_code == 200


def test_it_ends_when_revoked(world: World, client: httpx2.Client) -> None:
    token, other = world.issue_private_token(LOCATION), world.issue_private_token(SECOND_LOCATION)

    world.revoke_private_tokens(LOCATION)

    refused = Asker(client, token).get(f"/locations/{LOCATION}")
    assert (refused.status_code, refused.json()["message"]) == (401, "Invalid Private Integration token")
    assert Asker(client, other).get(f"/locations/{SECOND_LOCATION}").status_code == 200


def test_it_has_the_scopes_it_was_made_with(world: World, client: httpx2.Client) -> None:
    ask = Asker(client, world.issue_private_token(LOCATION, scopes=("locations.readonly",)))

    assert ask.get(f"/locations/{LOCATION}").status_code == 200
    assert ask.post(EVENTS, example()).json()["message"] == "The token is not authorized for this scope."


def test_it_is_no_agencys(world: World, client: httpx2.Client) -> None:
    refused = location_token(Asker(client, world.issue_private_token(LOCATION)), LOCATION)

    assert (refused.status_code, refused.json()["message"]) == (401, "Token's user type mismatch!")


def test_it_counts_against_the_locations_limit(world: World, client: httpx2.Client) -> None:
    world.settings.rate_limit_burst = 1
    ask = Asker(client, world.issue_private_token(LOCATION))

    assert [ask.get(f"/locations/{LOCATION}").status_code for _ in range(2)] == [200, 429]
