"""Installing the app: from our link through HighLevel's consent to a connected location."""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from django.conf import settings as configured
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.utils import timezone

from ghl.types import parse_token_grant
from oauth import installs, outage, tasks
from oauth.models import Agency, CodeExchange, Location, Token
from oauth.vault import LocationTokens
from oauth.views import CONNECTED_LOCATION
from sandbox import World
from sandbox.faults import Fault
from sandbox.seed import COMPANY, THIRD_LOCATION
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona
from tests.oauth.conftest import Browser, plain, query_of, stored


def test_it_sends_the_browser_to_the_configured_install_link(browser: Browser) -> None:
    link = browser.begin()

    assert link.startswith(f"{configured.GHL_API_BASE_URL}/v2/oauth/chooselocation?")
    assert query_of(link)["client_id"] == configured.GHL_CLIENT_ID
    assert query_of(link)["redirect_uri"] == "http://testserver/oauth/callback"
    assert query_of(link)["response_type"] == "code"


def test_it_keeps_everything_else_the_install_link_carries(
    browser: Browser, install_link: Callable[[str], None]
) -> None:
    install_link(
        "https://marketplace.leadconnectorhq.com/v2/oauth/chooselocation?response_type=code"
        "&redirect_uri=https%3A%2F%2Felsewhere.example%2F&client_id=another&version_id=665c6bb1"
        "&scope=calendars.readonly+contacts.write&loginWindowOpenMode=self&state=stale"
    )

    link = browser.begin()

    query = query_of(link)
    assert urlsplit(link).netloc == "marketplace.leadconnectorhq.com"
    assert (query["version_id"], query["loginWindowOpenMode"]) == ("665c6bb1", "self")
    assert query["scope"] == "calendars.readonly contacts.write"
    assert query["redirect_uri"] == "http://testserver/oauth/callback"
    assert query["client_id"] == configured.GHL_CLIENT_ID
    assert query["state"] != "stale"
    assert link.count("state=") == link.count("redirect_uri=") == link.count("client_id=") == 1


def test_it_builds_the_link_itself_where_none_is_configured(
    browser: Browser, install_link: Callable[[str], None]
) -> None:
    install_link("")

    link = browser.begin()

    query = query_of(link)
    assert link.startswith("https://marketplace.gohighlevel.com/v2/oauth/chooselocation?")
    assert query.keys() == {"response_type", "client_id", "redirect_uri", "scope", "state"}
    assert "calendars/events.write" in query["scope"].split()


def test_it_gives_every_install_a_state_of_its_own(browser: Browser) -> None:
    states = {query_of(browser.begin())["state"] for _ in range(3)}

    assert len(states) == 3
    assert all(len(state) >= 30 for state in states)


def test_it_keeps_the_state_in_the_browsers_cookies_alone(browser: Browser) -> None:
    state = query_of(browser.begin())["state"]

    (cookie,) = browser.client.cookies.values()
    assert cookie.value.startswith(f"{state}:")
    assert (cookie["max-age"], cookie["httponly"], cookie["samesite"]) == (3600, True, "Lax")
    assert not Session.objects.exists()


def test_its_cookies_are_bound_to_the_host_over_https(browser: Browser, settings: Any) -> None:
    settings.SESSION_COOKIE_SECURE, settings.COOKIE_NAME_PREFIX = True, "__Host-"

    page = browser.come_back(browser.consent(browser.begin()))

    (cookie,) = [each for name, each in browser.client.cookies.items() if "install_state" in name]
    assert page.status_code == 200
    assert cookie.key.startswith("__Host-install_state_")
    assert (cookie["secure"], cookie["path"], cookie["domain"]) == (True, "/", "")


@pytest.mark.parametrize("change", ["{state}", "{state}:0:x", "x{cookie}", ""])
def test_it_takes_no_cookie_that_it_did_not_sign(browser: Browser, highlevel: World, change: str) -> None:
    back = browser.consent(browser.begin())
    (name,) = browser.client.cookies
    state, cookie = query_of(back)["state"], browser.client.cookies[name].value
    browser.client.cookies[name] = change.format(state=state, cookie=cookie)

    assert "state_mismatch" in browser.come_back(back).text
    assert not highlevel.calls.records


def test_it_connects_the_location_that_was_chosen(
    browser: Browser, globex: Persona, highlevel: World
) -> None:
    highlevel.forms.pin(location_optional="full")
    before = stored(GLOBEX_LOCATION).version

    page = browser.install()

    location = Location.objects.get(pk=ACME_LOCATION)
    assert page.status_code == 200
    assert location.status == Location.Status.ACTIVE
    assert (location.agency_id, location.name, location.timezone) == (
        COMPANY,
        "Chai & Co. Bengaluru",
        "Asia/Kolkata",
    )
    assert stored(GLOBEX_LOCATION).version == before
    assert Location.objects.count() == 2


def test_it_keeps_tokens_that_work(browser: Browser, highlevel: World) -> None:
    browser.install()

    grant = highlevel.tokens.grant_of(LocationTokens(ACME_LOCATION).token())
    assert grant is not None
    assert grant.location_id == ACME_LOCATION
    assert highlevel.tokens.find_refresh(plain(stored(), "refresh_token")) is not None


def test_it_says_what_is_connected_and_what_comes_next(browser: Browser) -> None:
    page = browser.install()

    assert "Chai &amp; Co. Bengaluru is connected" in page.text
    assert ACME_LOCATION in page.text
    assert "Asia/Kolkata" in page.text
    assert "What comes next" in page.text


def test_it_connects_the_location_without_its_name(browser: Browser, highlevel: World) -> None:
    back = browser.consent(browser.begin())
    highlevel.faults.add(Fault("error_500_before", "get_location"))

    page = browser.come_back(back)

    assert page.status_code == 200
    assert "The sub-account is connected" in page.text
    assert stored().version == 1


def test_it_escapes_what_people_named_their_accounts(browser: Browser, highlevel: World) -> None:
    highlevel.locations[ACME_LOCATION].name = '<script>alert("x")</script>'

    page = browser.install()

    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert" in page.text


def test_it_opens_a_session_for_the_browser_that_began_the_install(browser: Browser) -> None:
    back = browser.consent(browser.begin())
    before = browser.client.session.session_key

    browser.come_back(back)

    assert browser.client.session[CONNECTED_LOCATION] == ACME_LOCATION
    assert browser.client.session.session_key != before


def test_it_completes_an_install_begun_in_the_marketplace_without_a_session(browser: Browser) -> None:
    begun_elsewhere = Browser().begin()
    code = query_of(browser.consent(begun_elsewhere))["code"]

    page = browser.come_back(f"/oauth/callback?code={code}")

    assert page.status_code == 200
    assert stored().version == 1
    assert not page.cookies
    assert CONNECTED_LOCATION not in browser.client.session


def test_it_uses_a_state_up(browser: Browser) -> None:
    first = browser.consent(browser.begin())
    browser.come_back(first)
    code = query_of(browser.consent(Browser().begin()))["code"]

    page = browser.come_back(f"/oauth/callback?code={code}&state={query_of(first)['state']}")

    assert page.status_code == 400
    assert "state_mismatch" in page.text
    assert stored().version == 1


def test_it_uses_a_state_up_though_the_install_fails(browser: Browser, highlevel: World) -> None:
    back = browser.consent(browser.begin())
    highlevel.faults.add(Fault("error_500_before", "token"))
    browser.come_back(back)

    page = browser.come_back(back)

    assert "state_mismatch" in page.text
    assert not Token.objects.exists()


def test_it_lets_several_tabs_install_at_once(browser: Browser) -> None:
    links = [browser.begin() for _ in range(3)]

    pages = [browser.come_back(browser.consent(link)) for link in links]

    assert [page.status_code for page in pages] == [200, 200, 200]


def test_it_does_not_pile_states_up_in_a_browser(browser: Browser) -> None:
    links = [browser.begin() for _ in range(30)]

    assert len([each for each in browser.client.cookies.values() if each.value]) == 5
    assert browser.come_back(browser.consent(links[-1])).status_code == 200


def test_it_ends_a_state_after_an_hour(browser: Browser) -> None:
    back = browser.consent(browser.begin())

    with time_machine.travel(timezone.now() + timedelta(minutes=61)):
        page = browser.come_back(back)

    assert page.status_code == 400
    assert "state_mismatch" in page.text


def test_it_leads_nowhere_but_to_the_install_link(browser: Browser) -> None:
    answer = browser.client.get(
        "/oauth/install?next=https://evil.example/&redirect_uri=https://evil.example/&state=mine"
    )

    assert "evil" not in answer.headers["Location"]
    assert query_of(answer.headers["Location"])["state"] != "mine"


@pytest.mark.parametrize("path", ["/oauth/install", "/oauth/callback?code=a"])
@pytest.mark.parametrize("method", ["head", "post", "put"])
def test_it_takes_no_other_method(browser: Browser, highlevel: World, method: str, path: str) -> None:
    answer = getattr(browser.client, method)(path)

    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET"
    # A link checker's HEAD must not use a code up.
    assert not highlevel.calls.records


def test_its_pages_are_neither_kept_nor_framed_nor_named_to_others(browser: Browser) -> None:
    answers = [
        browser.client.get("/oauth/install"),
        browser.install(),
        browser.come_back("/oauth/callback?error=access_denied"),
    ]

    for answer in answers:
        assert "no-store" in answer.headers["Cache-Control"]
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["X-Frame-Options"] == "DENY"


def test_it_shows_no_secret_in_pages_logs_and_sessions(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (None, "authlib", "httpx2", "httpcore2", "django", "django.request", "oauth", "ghl"):
        caplog.set_level(logging.DEBUG, logger=name)

    back = browser.consent(browser.begin())
    caplog.clear()  # of what the test's own client saw on HighLevel's page
    page = browser.come_back(back)
    used_up = browser.come_back(f"/oauth/callback?code={query_of(back)['code']}")

    token = stored()
    secrets = {
        "code": query_of(back)["code"],
        "access token": plain(token, "access_token"),
        "refresh token": plain(token, "refresh_token"),
        "client secret": configured.GHL_CLIENT_SECRET,
    }
    sessions = [str(session.get_decoded()) for session in Session.objects.all()]
    logged = "\n".join(f"{record.name} {record.getMessage()} {record.exc_text}" for record in caplog.records)
    assert "POST" in logged
    assert "is connected" in logged
    for name, secret in secrets.items():
        assert secret not in page.text + used_up.text, name
        assert secret not in logged, name
        assert not any(secret in session for session in sessions), name


def test_its_callback_needs_few_queries(
    browser: Browser,
    highlevel: World,
    django_assert_num_queries: Callable[[int], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outage, "LOOK_EVERY_SECONDS", 60)
    # Agencies that one answer names and another does not are looked up once more.
    highlevel.forms.pin(token_optional="full", location_optional="full")
    browser.install()
    back = browser.consent(browser.begin())

    # Ten are the session's, whose key is changed; six note that this exchange is under way and its result. Nine,
    # in one transaction, write location and token; one finds the token to ask for the location's name, unchanged,
    # after one has found that such a call may leave. Whether HighLevel answers is known for half a second.
    outage.gate()
    with django_assert_num_queries(29):
        page = browser.come_back(back)

    assert page.status_code == 200


@pytest.mark.django_db(transaction=True)
def test_it_survives_installs_of_a_new_location_at_the_same_time(highlevel: World) -> None:
    payloads = [highlevel.issue_location_token(THIRD_LOCATION) for _ in range(8)]
    start, failures = threading.Barrier(8), []

    def complete(payload: dict[str, Any]) -> None:
        try:
            start.wait(timeout=10)
            installs.complete(parse_token_grant(payload))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=complete, args=(payload,)) for payload in payloads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)

    assert failures == []
    assert Location.objects.count() == Agency.objects.count() == Token.objects.count() == 1
    assert stored(THIRD_LOCATION).version == 8
    assert highlevel.tokens.grant_of(LocationTokens(THIRD_LOCATION).token()) is not None


def test_it_removes_the_sessions_and_exchanges_that_have_run_out(
    client: Client, highlevel: World, db: None
) -> None:
    client.force_login(User.objects.create_user("kept"))
    Client().force_login(User.objects.create_user("run out"))
    kept = client.session.session_key
    Session.objects.exclude(pk=kept).update(expire_date=timezone.now() - timedelta(seconds=1))
    client.get("/oauth/callback?code=made-up-code")
    client.get("/oauth/callback?code=another-code")
    old = CodeExchange.objects.earliest("started_at")
    CodeExchange.objects.filter(pk=old.pk).update(started_at=timezone.now() - timedelta(minutes=61))

    tasks.clear_sessions()

    assert [session.pk for session in Session.objects.all()] == [kept]
    assert CodeExchange.objects.exclude(pk=old.pk).get() == CodeExchange.objects.get()
