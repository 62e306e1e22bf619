"""A callback that comes twice (a double click, a restored tab) and installs that one browser begins at once:
connected each time, and HighLevel is asked once for each install."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from oauth import exchanges
from oauth.models import Agency, CodeExchange, Location, Token
from sandbox import World
from sandbox.faults import Fault
from sandbox.seed import COMPANY
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION
from tests.oauth.conftest import Browser, at_once, exchange_calls, query_of

in_threads = pytest.mark.django_db(transaction=True)


def same_browser(browser: Browser) -> Client:
    """Another request of the browser, with the cookies that it has at this moment."""
    client = Client()
    client.cookies.load({name: each.value for name, each in browser.client.cookies.items()})
    return client


def without_state(back: str) -> str:
    return f"/oauth/callback?code={query_of(back)['code']}"


def path_of(back: str) -> str:
    return back.removeprefix("http://testserver")


@pytest.mark.parametrize("choose", [path_of, without_state])
def test_a_callback_that_comes_again_shows_what_is_connected(
    browser: Browser, highlevel: World, choose: Callable[[str], str]
) -> None:
    back = choose(browser.consent(browser.begin()))

    first, again = browser.come_back(back), browser.come_back(back)

    assert (first.status_code, again.status_code) == (200, 200)
    assert "Chai &amp; Co. Bengaluru is connected" in again.text
    assert first.text == again.text
    assert exchange_calls(highlevel) == 1


def test_an_agencys_callback_that_comes_again_leads_to_its_progress(
    browser: Browser, highlevel: World, own_pace: None
) -> None:
    back = browser.consent(browser.begin(), f"agency:{COMPANY}")

    addresses = [browser.come_back(back).headers["Location"] for _ in range(2)]

    assert addresses[0] == addresses[1]
    assert browser.client.get(addresses[1]).status_code == 200
    assert exchange_calls(highlevel) == 1


def test_a_callback_that_comes_again_after_an_uninstall_connects_nothing(browser: Browser) -> None:
    back = browser.consent(browser.begin())
    browser.come_back(back)
    Location.objects.get().disconnect()

    assert "state_mismatch" in browser.come_back(back).text


def test_another_browser_is_not_shown_what_a_state_connected(browser: Browser) -> None:
    back = browser.consent(browser.begin())
    browser.come_back(back)

    assert "state_mismatch" in Browser().come_back(back).text


@in_threads
@pytest.mark.parametrize("choose", [path_of, without_state])
def test_a_double_click_exchanges_once(highlevel: World, choose: Callable[[str], str], settings: Any) -> None:
    settings.GHL_TIMEOUT_SECONDS = 10
    browser = Browser()
    back = choose(browser.consent(browser.begin()))
    highlevel.faults.add(Fault("hang_after", "token", seconds=0.5))

    answers = at_once([lambda: same_browser(browser).get(back)] * 2)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert all("Chai &amp; Co. Bengaluru is connected" in answer.text for answer in answers)
    assert exchange_calls(highlevel) == 1
    assert Token.objects.get().version == 1


@in_threads
def test_a_double_click_fails_once(highlevel: World, settings: Any) -> None:
    settings.GHL_TIMEOUT_SECONDS = 10
    browser = Browser()
    back = path_of(browser.consent(browser.begin()))
    highlevel.faults.add(Fault("hang_before", "token", seconds=0.5))

    answers = at_once([lambda: same_browser(browser).get(back)] * 2)

    assert [answer.status_code for answer in answers] == [502, 502]
    assert all("exchange_failed" in answer.text for answer in answers)
    assert exchange_calls(highlevel) == 1


@in_threads
def test_two_tabs_that_begin_and_end_at_once_are_both_connected(highlevel: World, own_pace: None) -> None:
    browser = Browser()
    browser.begin()
    begun: Any = at_once([lambda: same_browser(browser).get("/oauth/install")] * 2)
    for answer in begun:
        browser.client.cookies.update(answer.cookies)
    choices = [f"location:{GLOBEX_LOCATION}", f"agency:{COMPANY}"]
    backs = [
        path_of(browser.consent(answer.headers["Location"], choice))
        for answer, choice in zip(begun, choices, strict=True)
    ]

    location, agency = at_once([lambda back=back: same_browser(browser).get(back) for back in backs])

    assert (location.status_code, agency.status_code) == (200, 302)
    assert Location.objects.get(pk=GLOBEX_LOCATION).status == Location.Status.ACTIVE
    # Whichever answer's session cookie the browser keeps, the agency's page opens.
    for last in (location, agency):
        client = same_browser(browser)
        client.cookies.update(last.cookies)
        assert client.get(agency.headers["Location"]).status_code == 200
    assert Agency.objects.get().is_connected


@in_threads
def test_a_callback_is_not_awaited_for_ever(highlevel: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "LONGEST_SECONDS", 0.3)
    browser = Browser()
    back = browser.consent(browser.begin())
    browser.come_back(back)
    CodeExchange.objects.update(finished_at=None, location=None)  # the process was killed

    assert "exchange_timed_out" in browser.come_back(back).text


def test_a_failed_install_without_a_state_can_be_reloaded(browser: Browser, highlevel: World) -> None:
    back = without_state(browser.consent(browser.begin()))
    highlevel.faults.add(Fault("error_500_before", "token"))

    assert [browser.come_back(back).status_code for _ in range(3)] == [502, 200, 200]
    assert Location.objects.get().pk == ACME_LOCATION
    assert exchange_calls(highlevel) == 2
