"""What the token endpoint hands out, and that none of it shows."""

import base64
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import httpx2
import pytest

from ghl import errors
from ghl.types import TokenGrant, parse_token_grant

from .conftest import Answering


def jwt(claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJSUzI1NiJ9.{payload}.c2lnbmF0dXJl"


ANSWER = {
    "access_token": jwt({"iat": 1767603600, "authClass": "Location", "oauthMeta": {"scopes": ["a.write"]}}),
    "token_type": "Bearer",
    "expires_in": 86399,
    "refresh_token": "refresh-secret",
    "scope": "calendars.readonly calendars/events.write",
    "refreshTokenId": "685a9cc9f7434ae2fc66c31d",
    "userType": "Location",
    "companyId": "com1",
    "locationId": "loc1",
    "isBulkInstallation": False,
    "userId": "usr1",
    "planId": "pln1",
    "traceId": "t-1",
}


def test_a_locations_grant_is_read_whole() -> None:
    assert parse_token_grant(ANSWER) == TokenGrant(
        access_token=str(ANSWER["access_token"]),
        refresh_token="refresh-secret",
        expires_in=timedelta(seconds=86399),
        scopes=frozenset({"calendars.readonly", "calendars/events.write"}),
        user_type="Location",
        company_id="com1",
        location_id="loc1",
        user_id="usr1",
        plan_id="pln1",
        is_bulk_installation=False,
        issued_at=datetime(2026, 1, 5, 9, tzinfo=UTC),
        trace_id="t-1",
    )


def test_an_agencys_grant_has_no_location() -> None:
    agency = {**ANSWER, "userType": "Company", "isBulkInstallation": True, "locationId": None}

    found = parse_token_grant(agency)

    assert (found.user_type, found.location_id, found.is_bulk_installation) == ("Company", None, True)


def test_an_agencys_grant_may_name_the_locations_it_is_for() -> None:
    agency = {
        **ANSWER,
        "userType": "Company",
        "approvedLocations": ["loc1"],
        "installToFutureLocations": "true",
    }

    found = parse_token_grant(agency)

    assert (found.approved_locations, found.install_to_future_locations) == (("loc1",), True)


def test_what_the_answer_leaves_out_the_token_may_say() -> None:
    found = parse_token_grant({"access_token": ANSWER["access_token"], "expires_in": "3600"})

    assert (found.refresh_token, found.expires_in) == (None, timedelta(hours=1))
    assert (found.user_type, found.scopes) == ("Location", frozenset({"a.write"}))


@pytest.mark.parametrize(
    "token",
    [
        "opaque",
        "a.b.c",
        "a.!!!.c",
        "a.bnVsbA.c",
        jwt([1]),
        jwt({"iat": "never"}),
        jwt({"iat": 10**17}),
        jwt({}),
    ],
    ids=str,
)
def test_a_token_that_cannot_be_looked_into_is_still_a_token(token: str) -> None:
    assert parse_token_grant({"access_token": token}) == TokenGrant(access_token=token)


@pytest.mark.parametrize(
    "answer", [{}, {"access_token": None}, {"access_token": ""}, {"refresh_token": "r-secret"}]
)
def test_an_answer_without_a_token_is_no_grant(answer: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"^the answer holds no access token$"):
        parse_token_grant(answer)


def test_a_refresh_whose_yes_holds_no_token_may_have_used_the_old_one_up(answering: Answering) -> None:
    with pytest.raises(errors.UnreadableAnswer) as unreadable:
        answering(200, json={"refresh_token": "new-secret"}).refresh("old-refresh-token")

    assert "new-secret" not in str(unreadable.value)


def test_neither_token_shows_in_a_grants_repr() -> None:
    shown = f"{parse_token_grant(ANSWER)!r} {parse_token_grant(ANSWER)}"

    assert "refresh-secret" not in shown
    assert str(ANSWER["access_token"]) not in shown


def test_what_highlevel_quotes_back_is_sealed_in_the_error(answering: Answering) -> None:
    def quote(request: httpx2.Request) -> httpx2.Response:
        sent = dict(parse_qsl(request.content.decode()))
        return httpx2.Response(
            400, json={"message": f"Invalid grant: {sent['refresh_token']} {sent['client_secret']}"}
        )

    with pytest.raises(errors.RefreshTokenDead) as dead:
        answering(quote).refresh("an-old-refresh-token")

    assert dead.value.message == "Invalid grant: <sealed> <sealed>"


def test_an_access_token_that_is_quoted_back_is_sealed(answering: Answering) -> None:
    client = answering(
        lambda request: httpx2.Response(401, json={"message": request.headers["authorization"]})
    )

    with pytest.raises(errors.HighLevelError) as refused:
        client.get_appointment("opaque-access", "apt1")

    assert "opaque-access" not in f"{refused.value!r} {refused.value}"


def test_a_client_shows_no_secret(answering: Answering) -> None:
    assert "a-client-secret" not in repr(answering())
