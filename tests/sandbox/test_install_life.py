"""An install on a location or with its company: which places it covers, what ends it, what comes back."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from sandbox import World
from sandbox.seed import COMPANY, LOCATION, SECOND_LOCATION, THIRD_LOCATION
from tests.sandbox.asking import EVENTS, Asker, example, refresh
from tests.sandbox.test_agencies import ids, installed, location_token
from tests.sandbox.test_installing import consent, exchange, install

Ask = Callable[[dict[str, Any]], Asker]


@pytest.fixture
def with_token(client: httpx2.Client) -> Ask:
    return lambda token: Asker(client, token["access_token"])


def where_from(world: World) -> dict[str, str | None]:
    return {location.id: location.installed_by for location in world.locations.values()}


def ask_location(ask: Asker, location_id: str = LOCATION) -> int:
    return ask.get(f"/locations/{location_id}").status_code


def test_it_leaves_direct_installs_as_they_are(world: World) -> None:
    world.issue_location_token(LOCATION)
    since = world.locations[LOCATION].installed_at

    world.issue_company_token(COMPANY)

    assert where_from(world) == {
        LOCATION: "Location",
        SECOND_LOCATION: "Company",
        THIRD_LOCATION: "Company",
    }
    assert world.locations[LOCATION].installed_at == since


def test_it_ends_a_company_with_what_came_with_it(
    world: World, client: httpx2.Client, with_token: Ask
) -> None:
    direct = world.issue_location_token(LOCATION)
    company = world.issue_company_token(COMPANY)
    minted = location_token(with_token(company), SECOND_LOCATION).json()

    world.uninstall_company(COMPANY)

    assert ask_location(with_token(minted), SECOND_LOCATION) == 403
    assert refresh(client, world, minted["refresh_token"]).status_code == 400
    assert location_token(with_token(company), LOCATION).json()["message"] == "Invalid JWT"
    assert refresh(client, world, company["refresh_token"]).json()["message"].startswith("Invalid grant")
    assert ask_location(with_token(direct)) == 200
    assert refresh(client, world, direct["refresh_token"]).status_code == 200
    assert where_from(world) == {LOCATION: "Location", SECOND_LOCATION: None, THIRD_LOCATION: None}


def test_it_leaves_another_companys_locations_alone(world: World) -> None:
    other = world.add_company("Rival")
    theirs = world.add_location("Theirs", company_id=other.id)
    world.issue_company_token(COMPANY)
    world.issue_company_token(other.id)

    world.uninstall_company(COMPANY)

    assert where_from(world)[theirs.id] == "Company"
    assert theirs.installed


def test_it_keeps_the_tokens_of_an_earlier_install_dead(
    world: World, client: httpx2.Client, with_token: Ask
) -> None:
    older = world.issue_location_token(LOCATION)
    world.uninstall(LOCATION)

    newer = world.issue_location_token(LOCATION)

    assert ask_location(with_token(newer)) == 200
    assert ask_location(with_token(older)) == 403
    assert refresh(client, world, older["refresh_token"]).status_code == 400
    assert refresh(client, world, newer["refresh_token"]).status_code == 200


def test_it_keeps_the_tokens_of_a_companys_earlier_install_dead(world: World, with_token: Ask) -> None:
    older = world.issue_company_token(COMPANY)
    world.uninstall_company(COMPANY)

    newer = world.issue_company_token(COMPANY)

    assert location_token(with_token(older), LOCATION).status_code == 401
    assert location_token(with_token(newer), LOCATION).status_code == 200


def test_it_takes_no_code_of_an_install_that_ended(world: World, client: httpx2.Client) -> None:
    code = consent(client, world, f"location:{LOCATION}")["code"]
    world.uninstall(LOCATION)

    assert exchange(client, world, code).json()["error_description"] == "Authorization code not found"


def test_it_gives_no_token_for_a_location_that_left(world: World, with_token: Ask) -> None:
    company = world.issue_company_token(COMPANY)
    world.uninstall(SECOND_LOCATION)

    assert location_token(with_token(company), SECOND_LOCATION).status_code == 403
    assert location_token(with_token(company), THIRD_LOCATION).status_code == 200


def test_it_installs_only_where_an_agency_approved(world: World, client: httpx2.Client) -> None:
    token = install(client, world, f"agency:{COMPANY}", approved=[LOCATION, THIRD_LOCATION])

    assert token["approvedLocations"] == [LOCATION, THIRD_LOCATION]
    assert token["approveAllLocations"] is False
    assert where_from(world) == {LOCATION: "Company", SECOND_LOCATION: None, THIRD_LOCATION: "Company"}


def test_it_installs_nowhere_an_agency_excluded(world: World, client: httpx2.Client) -> None:
    token = install(client, world, f"agency:{COMPANY}", excluded=[LOCATION])

    assert token["approvedLocations"] == [SECOND_LOCATION, THIRD_LOCATION]
    assert token["approveAllLocations"] is False
    assert not world.locations[LOCATION].installed


def test_it_approves_all_where_none_is_named(world: World, client: httpx2.Client) -> None:
    token = install(client, world, f"agency:{COMPANY}")

    assert token["approveAllLocations"] is True
    assert len(token["approvedLocations"]) == 3


def test_it_installs_future_locations_where_the_agency_ticked_that(
    world: World, client: httpx2.Client
) -> None:
    token = install(client, world, f"agency:{COMPANY}", future_locations="true")

    future = world.add_location("Future")
    world.uninstall_company(COMPANY)
    too_late = world.add_location("Too late")

    assert token["installToFutureLocations"] is True
    assert (future.life, too_late.life) == (1, 0)
    assert not too_late.installed


def test_it_gives_what_an_update_brought_to_new_tokens_alone(
    world: World, client: httpx2.Client, with_token: Ask
) -> None:
    narrow, wide = ("calendars.readonly", "oauth.write"), ("calendars/events.write", "oauth.write")
    company = world.issue_company_token(COMPANY, narrow)
    minted = location_token(with_token(company), LOCATION).json()

    world.update_version(COMPANY, "v2", wide)

    refreshed = refresh(client, world, minted["refresh_token"]).json()
    again = location_token(with_token(company), LOCATION).json()
    assert minted["scope"] == refreshed["scope"] == " ".join(narrow)
    assert (again["scope"], again["versionId"]) == (" ".join(wide), "v2")
    assert refresh(client, world, company["refresh_token"]).json()["scope"] == " ".join(narrow)
    assert with_token(again).post(EVENTS, example()).status_code == 200


def test_it_updates_what_came_with_the_company(world: World, ask_as_agency: Asker) -> None:
    world.issue_location_token(LOCATION)
    first = world.settings.version_id

    world.update_version(COMPANY, "v2")

    versions = [location["versionId"] for location in _listed(world, ask_as_agency)]
    assert versions == [first, "v2", "v2"]
    assert ids(installed(world, ask_as_agency, versionId="v2")) == [SECOND_LOCATION, THIRD_LOCATION]


def test_it_says_since_when_a_location_has_the_app(world: World, ask_as_agency: Asker) -> None:
    world.uninstall(LOCATION)

    first, second, _third = _listed(world, ask_as_agency)

    assert "installedAt" not in first
    assert second["installedAt"].endswith("Z")
    [one] = _listed(world, ask_as_agency, locationId=SECOND_LOCATION)
    assert one == second


def test_it_counts_location_tokens_against_the_companys_limit(world: World, ask_as_agency: Asker) -> None:
    world.settings.rate_limit_burst = 2

    answers = [location_token(ask_as_agency, LOCATION) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[1].headers["X-RateLimit-Remaining"] == "0"


def _listed(world: World, ask: Asker, **params: str) -> list[dict[str, Any]]:
    found = installed(world, ask, **params)["locations"]
    assert isinstance(found, list)
    return found
