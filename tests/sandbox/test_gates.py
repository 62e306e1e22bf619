"""A call is refused before its endpoint: client, version, token, scope, location, limits."""

import time
from typing import Any

import httpx2
import pytest

from sandbox import World
from sandbox.seed import CALENDAR, COMPANY, LOCATION, SECOND_LOCATION
from tests.sandbox.asking import EVENTS, Asker, example, token_request

AUTH_CLASS = (
    "This authClass type is not allowed to access this scope. "
    "Please verify your IAM configuration if this is not the case."
)
FORBIDDEN = {"statusCode": 403, "message": "The token does not have access to this location."}


def limits(answer: httpx2.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("x-ratelimit")}


@pytest.mark.parametrize("agent", ["", "Python-urllib/3.11"])
def test_it_refuses_a_client_it_does_not_like(ask: Asker, agent: str) -> None:
    refused = ask("POST", EVENTS, json=example(), headers={"User-Agent": agent})

    assert (refused.status_code, refused.text) == (403, "error code: 1010")
    assert refused.headers["Content-Type"].startswith("text/html")


def test_it_refuses_such_a_client_at_the_token_endpoint_too(world: World, client: httpx2.Client) -> None:
    body = token_request(world, grant_type="refresh_token", refresh_token="x")

    assert client.post("/oauth/token", data=body, headers={"User-Agent": ""}).status_code == 403


def test_it_wants_a_version_header(world: World, client: httpx2.Client) -> None:
    token = world.issue_location_token(LOCATION)["access_token"]

    refused = client.get(f"/calendars/{CALENDAR}", headers={"Authorization": f"Bearer {token}"})

    assert (refused.status_code, refused.json()) == (401, {"message": "version header was not found."})


@pytest.mark.parametrize("version", ["bogus", "2021-07-28", "v3"])
def test_it_wants_the_version_of_its_endpoint(ask: Asker, version: str) -> None:
    refused = ask("GET", f"/calendars/{CALENDAR}", headers={"Version": version})

    assert (refused.status_code, refused.json()) == (401, {"message": "version header is invalid"})


@pytest.mark.parametrize("header", ["Bearer garbage", "Basic eA==", ""])
def test_it_refuses_a_token_it_did_not_issue(ask: Asker, header: str) -> None:
    refused = ask("POST", EVENTS, json=example(), headers={"Authorization": header})

    assert (refused.status_code, refused.json()) == (401, {"statusCode": 401, "message": "Invalid JWT"})


def test_it_refuses_an_expired_token(world: World, ask: Asker) -> None:
    world.clock.advance(86_400)

    assert ask.post(EVENTS, example()).json()["message"] == "Invalid JWT"


def test_it_refuses_revoked_tokens_of_one_location_alone(world: World, ask: Asker) -> None:
    other = Asker(ask.client, world.issue_location_token(SECOND_LOCATION)["access_token"])
    world.revoke_tokens(LOCATION)

    assert ask.get(f"/locations/{LOCATION}").json()["message"] == "Invalid JWT"
    assert other.get(f"/locations/{SECOND_LOCATION}").status_code == 200


def test_it_refuses_what_the_scopes_do_not_cover(world: World, client: httpx2.Client) -> None:
    token = world.issue_location_token(LOCATION, scopes=("calendars.readonly",))
    ask = Asker(client, token["access_token"])

    refused = ask.post(EVENTS, example())

    message = "The token is not authorized for this scope."
    assert (refused.status_code, refused.json()) == (401, {"statusCode": 401, "message": message})
    assert ask.get(f"/calendars/{CALENDAR}").status_code == 200


def test_it_refuses_a_company_token_for_a_location(ask_as_agency: Asker) -> None:
    refused = ask_as_agency.post(EVENTS, example())

    assert (refused.status_code, refused.json()) == (401, {"statusCode": 401, "message": AUTH_CLASS})


def test_it_refuses_a_location_token_for_an_agency(ask: Asker) -> None:
    refused = ask("POST", "/oauth/locationToken", data={"companyId": COMPANY, "locationId": LOCATION})

    assert (refused.status_code, refused.json()) == (401, {"statusCode": 401, "message": AUTH_CLASS})


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("POST", EVENTS, {"json": example(locationId=SECOND_LOCATION)}),
        ("POST", "/contacts/upsert", {"json": {"locationId": SECOND_LOCATION}}),
        ("GET", "/calendars/", {"params": {"locationId": SECOND_LOCATION}}),
    ],
)
def test_it_refuses_another_location(ask: Asker, method: str, path: str, options: dict[str, Any]) -> None:
    refused = ask(method, path, **options)

    assert (refused.status_code, refused.json()) == (403, FORBIDDEN)


def test_it_does_not_know_other_routes(ask: Asker) -> None:
    refused = ask.get("/opportunities/search")

    assert refused.status_code == 401
    assert refused.json()["message"].startswith("This route is not yet supported by the IAM Service")


def test_it_takes_its_time_when_told_to(world: World, ask: Asker) -> None:
    world.settings.latency_seconds = 0.1
    started = time.monotonic()

    ask.get(f"/locations/{LOCATION}")

    assert time.monotonic() - started >= 0.1


def test_it_tells_the_limits_with_every_answer(ask: Asker) -> None:
    ask.book()
    refused = ask.post(EVENTS, {})

    assert limits(refused) == {
        "x-ratelimit-limit-daily": "200000",
        "x-ratelimit-daily-remaining": "199998",
        "x-ratelimit-interval-milliseconds": "10000",
        "x-ratelimit-max": "100",
        "x-ratelimit-remaining": "98",
    }


def test_it_refuses_more_than_the_burst(world: World, ask: Asker) -> None:
    world.settings.rate_limit_burst = 2
    statuses = [ask.get(f"/calendars/{CALENDAR}").status_code for _ in range(3)]
    refused = ask.post(EVENTS, example())

    assert statuses == [200, 200, 429]
    assert refused.json() == {"statusCode": 429, "message": "Too Many Requests"}
    assert limits(refused)["x-ratelimit-remaining"] == "0"
    assert "Retry-After" not in refused.headers


def test_it_admits_calls_again_after_the_interval(world: World, ask: Asker) -> None:
    world.settings.rate_limit_burst = 1
    ask.get(f"/calendars/{CALENDAR}")
    world.clock.advance(10)

    assert ask.get(f"/calendars/{CALENDAR}").status_code == 200


def test_it_refuses_more_than_a_days_calls_until_tomorrow(world: World, ask: Asker) -> None:
    world.settings.rate_limit_daily = 1
    ask.get(f"/locations/{LOCATION}")

    refused = ask.get(f"/locations/{LOCATION}")

    assert refused.status_code == 429
    assert limits(refused)["x-ratelimit-daily-remaining"] == "0"
    assert limits(refused)["x-ratelimit-remaining"] == "99"


def test_it_counts_each_location_and_the_company_apart(
    world: World, ask: Asker, ask_as_agency: Asker
) -> None:
    world.settings.rate_limit_burst = 1
    other = Asker(ask.client, world.issue_location_token(SECOND_LOCATION)["access_token"])

    answers = [
        asker.get(f"/locations/{location}").status_code
        for asker, location in ((ask, LOCATION), (other, SECOND_LOCATION), (ask_as_agency, LOCATION))
    ]

    assert answers == [200, 200, 200]
