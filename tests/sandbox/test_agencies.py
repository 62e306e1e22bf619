"""An agency asks which locations have the app, and takes a token for each."""

import httpx2
import pytest

from sandbox import World
from sandbox.seed import COMPANY, LOCATION, SECOND_LOCATION, THIRD_LOCATION
from tests.sandbox.asking import EVENTS, Asker, example, refresh


def location_token(ask: Asker, location_id: str, company_id: str = COMPANY) -> httpx2.Response:
    return ask("POST", "/oauth/locationToken", data={"companyId": company_id, "locationId": location_id})


def installed(world: World, ask: Asker, **params: str) -> dict[str, object]:
    asked = {"companyId": COMPANY, "appId": world.settings.app_id, **params}
    answer = ask.get("/oauth/installedLocations", **asked)
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    return body


def ids(body: dict[str, object]) -> list[str]:
    assert isinstance(body["locations"], list)
    return [location["_id"] for location in body["locations"]]


def test_it_gives_a_location_token_with_its_own_refresh_token(
    world: World, client: httpx2.Client, ask_as_agency: Asker
) -> None:
    token = location_token(ask_as_agency, LOCATION).json()

    assert (token["userType"], token["locationId"]) == ("Location", LOCATION)
    assert (token["appId"], token["versionId"]) == (world.settings.app_id, world.settings.version_id)
    assert Asker(client, token["access_token"]).post(EVENTS, example()).status_code == 200
    assert refresh(client, world, token["refresh_token"]).status_code == 200


def test_it_ends_the_locations_older_refresh_token(
    world: World, client: httpx2.Client, ask_as_agency: Asker
) -> None:
    older = location_token(ask_as_agency, LOCATION).json()
    location_token(ask_as_agency, LOCATION)

    assert refresh(client, world, older["refresh_token"]).status_code == 400


@pytest.mark.parametrize(
    ("location_id", "company_id"), [("strange", COMPANY), (LOCATION, "strange")], ids=["location", "company"]
)
def test_it_gives_no_token_for_what_is_not_the_agencys(
    ask_as_agency: Asker, location_id: str, company_id: str
) -> None:
    assert location_token(ask_as_agency, location_id, company_id).status_code == 403


def test_it_gives_no_token_for_a_location_without_the_app(world: World, ask_as_agency: Asker) -> None:
    world.uninstall(LOCATION)

    assert location_token(ask_as_agency, LOCATION).status_code == 403


def test_it_gives_no_token_for_a_suspended_location(world: World, ask_as_agency: Asker) -> None:
    world.locations[LOCATION].active = False

    assert location_token(ask_as_agency, LOCATION).json()["message"] == "Location is not active"


def test_it_wants_both_ids_for_a_location_token(ask_as_agency: Asker) -> None:
    refused = ask_as_agency("POST", "/oauth/locationToken", data={"companyId": COMPANY})

    assert refused.status_code == 422
    assert refused.json()["message"] == ["locationId should not be empty", "locationId must be a string"]


def test_it_lists_locations_by_pages(world: World, ask_as_agency: Asker) -> None:
    first = installed(world, ask_as_agency, limit="2")
    second = installed(world, ask_as_agency, limit="2", skip="2")

    assert ids(first) + ids(second) == [LOCATION, SECOND_LOCATION, THIRD_LOCATION]
    assert first["count"] == second["count"] == 3


def test_it_tells_installed_locations_from_others(world: World, ask_as_agency: Asker) -> None:
    world.uninstall(SECOND_LOCATION)

    assert ids(installed(world, ask_as_agency, isInstalled="true")) == [LOCATION, THIRD_LOCATION]
    assert ids(installed(world, ask_as_agency, isInstalled="false")) == [SECOND_LOCATION]
    assert ids(installed(world, ask_as_agency, query="lakeside")) == [SECOND_LOCATION]
    assert installed(world, ask_as_agency, isInstalled="true")["count"] == 3


def test_it_installs_future_locations_where_the_agency_chose_so(world: World, ask_as_agency: Asker) -> None:
    world.add_location("Before")
    world.companies[COMPANY].install_to_future_locations = True
    future = world.add_location("After")

    body = installed(world, ask_as_agency, isInstalled="true", limit="100")

    assert body["installToFutureLocations"] is True
    assert ids(body)[3:] == [future.id]


def test_it_wants_the_app_id_for_installed_locations(ask_as_agency: Asker) -> None:
    refused = ask_as_agency.get("/oauth/installedLocations", companyId=COMPANY)

    assert refused.status_code == 422
    assert refused.json()["message"] == ["appId should not be empty", "appId must be a string"]


def test_it_shows_no_agency_anothers_locations(world: World, ask_as_agency: Asker) -> None:
    other = world.add_company("Rival")

    asked = {"companyId": other.id, "appId": world.settings.app_id}
    assert ask_as_agency.get("/oauth/installedLocations", **asked).status_code == 403


def test_it_says_when_an_endpoint_is_gone_in_v3(ask_as_agency: Asker) -> None:
    refused = ask_as_agency("GET", "/oauth/installedLocations?companyId=1", headers={"Version": "v3"})

    assert refused.status_code == 400
    assert refused.json() == {
        "message": "Endpoint /oauth/installedLocations?companyId=1 not available in API version v3. "
        "This endpoint was removed in version v3. Please use a version before v3.",
        "error": "Bad Request",
        "statusCode": 400,
    }
