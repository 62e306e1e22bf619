"""An install that does not come about: each way has a page with a reason word, a status and what to do."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings as configured

from oauth.models import Location, Token
from oauth.views import CONNECTED_LOCATION
from sandbox import World
from sandbox.faults import Fault
from tests.ghl.servers import Server
from tests.oauth.conftest import Browser, query_of


def failed(page: Any, reason: str, status: int) -> bool:
    """The page says why, and nothing is connected."""
    assert (page.status_code, reason in page.text) == (status, True), page.text
    assert f"<code>{reason}</code>" in page.text
    assert "is connected" not in page.text
    return not Location.objects.exists() and not Token.objects.exists()


@pytest.fixture
def impatient(settings: Any) -> None:
    settings.GHL_TIMEOUT_SECONDS = 0.3


@pytest.fixture
def upstream_that_says(
    settings: Any, fresh_provider: None
) -> Iterator[Callable[[bytes, bytes], Callable[[], bytes]]]:
    """`upstream_that_says(head, body)` answers every token request so; `{request}` quotes what was sent."""
    servers: list[Server] = []

    def start(head: bytes, body: bytes) -> Callable[[], bytes]:
        def answer(server: Server, connection: Any) -> None:
            sent = server.read_request(connection).partition(b"\r\n\r\n")[2]
            said = body.replace(b"{request}", sent)
            connection.sendall(
                b"HTTP/1.1 "
                + head
                + b"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(said)
                + said
            )

        servers.append(Server(answer))
        settings.GHL_API_BASE_URL = servers[0].url
        return lambda: servers[0].requests[-1]

    yield start
    for server in servers:
        server.close()


def test_it_says_that_the_app_was_not_allowed(browser: Browser) -> None:
    page = browser.come_back(browser.consent(browser.begin(), decision="deny"))

    assert failed(page, "access_denied", 400)
    assert 'href="/oauth/install"' in page.text


def test_it_says_that_highlevel_did_not_authorize_it(browser: Browser) -> None:
    page = browser.come_back('/oauth/callback?error=<script>&error_description="x"')

    assert failed(page, "authorization_failed", 400)
    assert "<script>" not in page.text


@pytest.mark.parametrize("query", ["", "?code=", "?state=abc"])
def test_it_says_that_the_code_is_missing(browser: Browser, query: str) -> None:
    page = browser.come_back(f"/oauth/callback{query}")

    assert failed(page, "missing_code", 400)


@pytest.mark.parametrize("state", ["", "made-up", "' OR 1=1", "ü"])
def test_it_refuses_a_state_it_did_not_give(browser: Browser, highlevel: World, state: str) -> None:
    back = browser.consent(browser.begin())

    page = browser.client.get("/oauth/callback", {"code": query_of(back)["code"], "state": state})

    assert failed(page, "state_mismatch", 400)
    assert not highlevel.calls.records
    assert CONNECTED_LOCATION not in browser.client.session


def test_it_refuses_the_state_of_another_browser(browser: Browser, highlevel: World) -> None:
    attacker = Browser()
    back = attacker.consent(attacker.begin())
    browser.begin()

    page = browser.come_back(back)

    assert failed(page, "state_mismatch", 400)
    assert not highlevel.calls.records


def test_it_says_that_a_code_was_used(browser: Browser) -> None:
    code = query_of(browser.consent(browser.begin()))["code"]
    browser.come_back(f"/oauth/callback?code={code}")
    Location.objects.all().delete()

    page = browser.come_back(f"/oauth/callback?code={code}")

    assert failed(page, "code_rejected", 400)


@pytest.mark.parametrize("code", ["made-up", "a", "Authorization", "Authorization code", "ü" * 5000])
def test_it_says_that_a_code_was_rejected(browser: Browser, code: str) -> None:
    state = query_of(browser.begin())["state"]

    page = browser.client.get("/oauth/callback", {"code": code, "state": state})

    assert failed(page, "code_rejected", 400)


def test_it_says_that_a_code_has_run_out(browser: Browser, highlevel: World) -> None:
    back = browser.consent(browser.begin())
    highlevel.clock.advance(61)

    assert failed(browser.come_back(back), "code_rejected", 400)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("hang_before", "token", seconds=0.8),
        # Each byte comes soon enough, all of them together do not.
        Fault("dribble", "token", seconds=2),
    ],
    ids=lambda fault: fault.kind,
)
def test_it_does_not_wait_for_an_answer_for_ever(
    browser: Browser, highlevel: World, impatient: None, fault: Fault
) -> None:
    back = browser.consent(browser.begin())
    fault.times = 1
    highlevel.faults.add(fault)

    assert failed(browser.come_back(back), "exchange_timed_out", 504)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("html_502", "token"),
        Fault("error_500_before", "token"),
        Fault("cut_before", "token"),
        Fault("half_body", "token"),
        Fault("truncated_json", "token"),
        Fault("too_many_requests", "token"),
    ],
    ids=lambda fault: fault.kind,
)
def test_it_says_that_highlevel_could_not_complete_it(
    browser: Browser, highlevel: World, fault: Fault
) -> None:
    back = browser.consent(browser.begin())
    fault.times = 1
    highlevel.faults.add(fault)

    assert failed(browser.come_back(back), "exchange_failed", 502)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"200 OK", b"[]"),
        (b"200 OK", b"null"),
        (b"200 OK", b'{"error": "late"}'),
        (b"200 OK", b'{"userType": "Location"}'),
        (b"200 OK", b"not json"),
        (b"200 OK", b'{"access_token": "a", "locationId": "l"}' + b" " * 5_000_000),
        (b"302 Found\r\nLocation: http://127.0.0.1:9/", b""),
    ],
    ids=["list", "null", "error", "no_token", "no_json", "too_long", "redirect"],
)
def test_it_takes_nothing_for_a_token_that_is_none(
    browser: Browser, upstream_that_says: Callable[[bytes, bytes], Any], head: bytes, body: bytes
) -> None:
    upstream_that_says(head, body)
    state = query_of(browser.begin())["state"]

    assert failed(browser.come_back(f"/oauth/callback?code=abcdefgh&state={state}"), "exchange_failed", 502)


def test_it_logs_no_secret_that_highlevel_quotes_back(
    browser: Browser,
    upstream_that_says: Callable[[bytes, bytes], Callable[[], bytes]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    last_request = upstream_that_says(b"400 Bad Request", b'{"message": "cannot read {request}"}')

    code = "0123456789abcdef0123456789abcdef01234567"
    page = browser.come_back(f"/oauth/callback?code={code}")

    assert f"code={code}".encode() in last_request()
    assert configured.GHL_CLIENT_SECRET.encode() in last_request()
    assert "cannot read" in caplog.text
    for text in (page.text, caplog.text):
        assert code not in text
        assert configured.GHL_CLIENT_SECRET not in text


def test_it_says_that_the_clients_secret_is_wrong(
    browser: Browser, settings: Any, fresh_provider: None
) -> None:
    settings.GHL_CLIENT_SECRET = "of-another-app"
    back = browser.consent(browser.begin())

    page = browser.come_back(back)

    assert failed(page, "misconfigured", 500)
    assert "/oauth/install" not in page.text


def test_it_works_again_after_a_failure(browser: Browser, highlevel: World) -> None:
    highlevel.faults.add(Fault("error_500_before", "token"))
    browser.install()

    assert browser.install().status_code == 200
