"""Somebody installs the app: the consent page, the code, the tokens."""

import base64
import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from sandbox import World
from sandbox.seed import COMPANY, LOCATION, SECOND_LOCATION, THIRD_LOCATION
from tests.sandbox.asking import EVENTS, Asker, example, refresh, token_request

PAGE = "/v2/oauth/chooselocation"
REDIRECT_URI = "https://app.example.com/oauth/callback"


def link(world: World, **changes: Any) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "response_type": "code",
        "client_id": world.settings.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": "calendars.readonly calendars/events.write",
        "state": "st&te",
    }
    return {name: value for name, value in {**parameters, **changes}.items() if value is not None}


def consent(client: httpx2.Client, world: World, choice: str, **changes: Any) -> dict[str, str]:
    """What the app's redirect URI receives."""
    form = {**link(world, **changes), "choice": choice}
    answer = client.post(PAGE, data={"decision": "allow", **form})
    assert answer.status_code == 302, answer.text
    assert answer.headers["Location"].startswith(REDIRECT_URI)
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def exchange(client: httpx2.Client, world: World, code: str, **changes: str) -> httpx2.Response:
    body = token_request(world, grant_type="authorization_code", code=code)
    return client.post("/oauth/token", data={**body, **changes})


def install(client: httpx2.Client, world: World, choice: str, **changes: Any) -> dict[str, Any]:
    answer = exchange(client, world, consent(client, world, choice, **changes)["code"])
    assert answer.status_code == 200, answer.text
    token: dict[str, Any] = answer.json()
    return token


@pytest.mark.parametrize("path", ["/oauth/chooselocation", PAGE])
def test_it_shows_a_page_to_choose_from(world: World, client: httpx2.Client, path: str) -> None:
    page = client.get(path, params=link(world))

    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    choices = (f'name="approved" value="{LOCATION}"', 'name="future_locations" value="true"')
    for shown in ("Chai &amp; Co. Bengaluru", LOCATION, COMPANY, "st&amp;te", "Allow", "Deny", *choices):
        assert shown in page.text


@pytest.mark.parametrize(
    "changes",
    [
        {"response_type": "token"},
        {"client_id": "another"},
        {"redirect_uri": None},
        {"redirect_uri": "javascript:alert(1)"},
    ],
)
def test_it_shows_what_is_wrong_with_an_install_link(
    world: World, client: httpx2.Client, changes: dict[str, str | None]
) -> None:
    page = client.get(PAGE, params=link(world, **changes))

    assert page.status_code == 400
    assert "does not work" in page.text


def test_it_accepts_only_the_registered_redirect_uri(world: World, client: httpx2.Client) -> None:
    world.settings.redirect_uri = REDIRECT_URI

    assert client.get(PAGE, params=link(world)).status_code == 200
    assert client.get(PAGE, params=link(world, redirect_uri="https://evil.example")).status_code == 400


def test_it_sends_a_code_and_the_state_back(world: World, client: httpx2.Client) -> None:
    result = consent(client, world, f"location:{LOCATION}")

    assert re.fullmatch(r"[0-9a-f]{40}", result.pop("code"))
    assert result == {"state": "st&te"}


def test_it_sends_no_state_back_where_none_came(world: World, client: httpx2.Client) -> None:
    assert set(consent(client, world, f"location:{LOCATION}", state=None)) == {"code"}


def test_it_says_so_when_somebody_denies(world: World, client: httpx2.Client) -> None:
    answer = client.post(PAGE, data={"decision": "deny", **link(world)})

    query = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert query == {"error": ["access_denied"], "state": ["st&te"]}


def test_it_asks_again_when_nothing_was_chosen(world: World, client: httpx2.Client) -> None:
    page = client.post(PAGE, data={"decision": "allow", **link(world)})

    assert page.status_code == 422
    assert "Choose where" in page.text


def test_it_gives_a_location_token_for_a_location(world: World, client: httpx2.Client) -> None:
    token = install(client, world, f"location:{LOCATION}")

    assert len(token["access_token"]) > 1024
    assert {"refresh_token", "refreshTokenId", "planId", "traceId", "userId"} <= set(token)
    assert token["expires_in"] == 86_399
    assert token["token_type"] == "Bearer"
    assert (token["userType"], token["locationId"], token["companyId"]) == ("Location", LOCATION, COMPANY)
    assert token["isBulkInstallation"] is False
    assert token["scope"] == "calendars.readonly calendars/events.write"


def test_it_gives_a_company_token_for_an_agency(world: World, client: httpx2.Client) -> None:
    token = install(client, world, f"agency:{COMPANY}")

    assert (token["userType"], token["companyId"]) == ("Company", COMPANY)
    assert "locationId" not in token
    assert token["isBulkInstallation"] is True
    assert set(token["approvedLocations"]) == {LOCATION, SECOND_LOCATION, THIRD_LOCATION}


def test_it_makes_access_tokens_shaped_like_a_jwt(world: World) -> None:
    token = world.issue_location_token(LOCATION)

    header, claims, _signature = token["access_token"].split(".")
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert header.startswith("eyJ")
    assert (decoded["authClass"], decoded["authClassId"]) == ("Location", LOCATION)
    assert decoded["sourceId"] == world.settings.client_id
    assert decoded["oauthMeta"]["scopes"] == token["scope"].split()
    assert decoded["exp"] - decoded["iat"] == 86_399


def test_it_takes_a_code_once(world: World, client: httpx2.Client) -> None:
    code = consent(client, world, f"location:{LOCATION}")["code"]
    exchange(client, world, code)

    again = exchange(client, world, code)

    assert again.status_code == 401
    assert again.json() == {
        "error": "UnAuthorized!",
        "error_description": "Authorization code not found",
    }


def test_it_forgets_a_code_after_a_minute(world: World, client: httpx2.Client) -> None:
    code = consent(client, world, f"location:{LOCATION}")["code"]
    world.clock.advance(61)

    assert exchange(client, world, code).status_code == 401


def test_it_looks_at_the_code_before_the_credentials(world: World, client: httpx2.Client) -> None:
    code = consent(client, world, f"location:{LOCATION}")["code"]

    wrong_code = exchange(client, world, "0" * 40, client_secret="wrong")
    wrong_secret = exchange(client, world, code, client_secret="wrong")

    assert wrong_code.json()["error_description"] == "Authorization code not found"
    assert wrong_secret.status_code == 401
    assert wrong_secret.json()["message"] == "Invalid client: client is invalid"
    assert exchange(client, world, code).status_code == 200


def test_it_compares_the_redirect_uri_where_one_is_sent(world: World, client: httpx2.Client) -> None:
    code = consent(client, world, f"location:{LOCATION}")["code"]

    assert exchange(client, world, code, redirect_uri="https://other.example").status_code == 400
    assert exchange(client, world, code, redirect_uri=REDIRECT_URI).status_code == 200


def test_it_takes_json_at_the_token_endpoint(world: World, client: httpx2.Client) -> None:
    code = consent(client, world, f"location:{LOCATION}")["code"]
    body = token_request(world, grant_type="authorization_code", code=code)

    assert client.post("/oauth/token", json=body).status_code == 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grant_type": ""}, "Missing parameter: grantType"),
        ({"grant_type": "client_credentials"}, "Invalid parameter: grantType"),
        ({"client_id": ""}, "Missing parameter: clientId"),
        ({"client_secret": ""}, "Missing parameter: clientSecret"),
        ({"refresh_token": ""}, "Missing parameter: refreshToken"),
        ({"refresh_token": "garbage"}, "Invalid grant: refresh token is invalid"),
    ],
)
def test_it_refuses_a_bad_token_request(
    world: World, client: httpx2.Client, changes: dict[str, str], message: str
) -> None:
    body = token_request(world, grant_type="refresh_token", refresh_token="x")

    refused = client.post("/oauth/token", data={**body, **changes})

    assert (refused.status_code, refused.json()) == (400, {"statusCode": 400, "message": message})


def test_it_rotates_the_refresh_token(world: World, client: httpx2.Client) -> None:
    first = world.issue_location_token(LOCATION)

    second = refresh(client, world, first["refresh_token"]).json()

    assert second["refresh_token"] != first["refresh_token"]
    assert second["locationId"] == LOCATION
    assert Asker(client, second["access_token"]).post(EVENTS, example()).status_code == 200


def test_it_answers_the_same_pair_again_within_the_grace(world: World, client: httpx2.Client) -> None:
    first = world.issue_location_token(LOCATION)
    second = refresh(client, world, first["refresh_token"]).json()
    world.clock.advance(29)

    assert refresh(client, world, first["refresh_token"]).json() == second
    assert world.tokens.issued == {"direct": 1, "refresh_token": 1, "refresh_replayed": 1}


def test_it_refuses_a_used_refresh_token_after_the_grace(world: World, client: httpx2.Client) -> None:
    first = world.issue_location_token(LOCATION)
    refresh(client, world, first["refresh_token"])
    world.clock.advance(31)

    refused = refresh(client, world, first["refresh_token"])

    assert refused.status_code == 400
    assert refused.json() == {"statusCode": 400, "message": "Invalid grant: refresh token is invalid"}


def test_it_keeps_the_refresh_token_of_a_suspended_location(world: World, client: httpx2.Client) -> None:
    token = world.issue_location_token(LOCATION)
    world.locations[LOCATION].active = False

    refused = refresh(client, world, token["refresh_token"])
    world.locations[LOCATION].active = True

    assert (refused.status_code, refused.json()) == (
        400,
        {"statusCode": 400, "message": "Location is not active"},
    )
    assert refresh(client, world, token["refresh_token"]).status_code == 200


def test_it_refuses_the_locations_of_a_suspended_company(world: World, client: httpx2.Client) -> None:
    token = world.issue_location_token(LOCATION)
    world.companies[COMPANY].active = False

    assert refresh(client, world, token["refresh_token"]).json()["message"] == "Location is not active"


def test_it_grants_fewer_scopes_when_told_to(world: World, client: httpx2.Client) -> None:
    world.settings.granted_scopes = "calendars.readonly"

    assert install(client, world, f"location:{LOCATION}")["scope"] == "calendars.readonly"


def test_it_ends_what_an_uninstalled_location_could_do(world: World, client: httpx2.Client) -> None:
    token = world.issue_location_token(LOCATION)
    world.uninstall(LOCATION)

    refused = Asker(client, token["access_token"]).post(EVENTS, example())

    assert refused.status_code == 403
    assert refresh(client, world, token["refresh_token"]).status_code == 400
