"""What a stranger can make of the callback: HighLevel is asked seldom, and threads are left for everybody else."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import redis
from django.conf import settings as configured
from django.contrib.sessions.models import Session
from django.test import Client

from ghlapp.local.processes import wait_until
from oauth import exchanges
from oauth.models import CodeExchange, Location
from sandbox import World
from sandbox.faults import Fault
from tests.oauth.conftest import Browser, at_once, exchange_calls, query_of

in_threads = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_counted() -> None:
    with redis.Redis.from_url(configured.REDIS_URL) as client:
        for name in client.scan_iter("exchanges:*"):
            client.delete(name)


@pytest.mark.parametrize(
    "code", ["short", "x" * 513, "with a space", "ü" * 20, "<script>alert()", "a" * 39 + "\n"]
)
def test_it_asks_nothing_about_what_cannot_be_a_code(browser: Browser, highlevel: World, code: str) -> None:
    page = browser.client.get("/oauth/callback", {"code": code})

    assert (page.status_code, "code_rejected" in page.text) == (400, True)
    assert not highlevel.calls.records
    assert not CodeExchange.objects.exists()


@contextmanager
def hanging(highlevel: World, calls: Sequence[Callable[[], Any]]) -> Iterator[None]:
    """Inside, HighLevel has been asked by these calls and does not answer."""
    highlevel.faults.add(Fault("hang_before", "token", seconds=30, times=50))
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(at_once, calls)
        assert wait_until(lambda: CodeExchange.objects.count() == len(calls), 20)
        yield
        assert {answer.status_code for answer in asked.result(60)} == {504}
    highlevel.faults.clear()


@pytest.fixture
def patient(settings: Any) -> None:
    settings.GHL_TIMEOUT_SECONDS = 4


@in_threads
def test_strangers_hold_two_threads_at_most(highlevel: World, patient: None) -> None:
    def call(number: int) -> Any:
        return Client().get(f"/oauth/callback?code=made-up-code-{number}")

    with hanging(
        highlevel, [partial(call, number) for number in range(exchanges.MAX_CONCURRENT_WITHOUT_STATE)]
    ):
        refused = [call(number) for number in range(10, 18)]

    assert {answer.status_code for answer in refused} == {503}
    assert all(answer.headers["Retry-After"] == "5" and "busy" in answer.text for answer in refused)
    assert exchange_calls(highlevel) == exchanges.MAX_CONCURRENT_WITHOUT_STATE == 2


@in_threads
def test_browsers_that_began_here_hold_four_threads_at_most(highlevel: World, patient: None) -> None:
    browsers = [Browser() for _ in range(exchanges.MAX_CONCURRENT_WITH_STATE + 1)]
    backs = [each.consent(each.begin()) for each in browsers]
    calls = [partial(one.come_back, back) for one, back in zip(browsers, backs, strict=True)]

    with hanging(highlevel, calls[:-1]):
        refused = calls[-1]()

    assert (refused.status_code, "busy" in refused.text) == (503, True)
    assert exchange_calls(highlevel) == exchanges.MAX_CONCURRENT_WITH_STATE == 4
    # The refusal used neither state nor code up.
    assert calls[-1]().status_code == 200


@pytest.mark.parametrize("state", ["with", "without"])
def test_all_processes_together_ask_so_often_a_minute(
    browser: Browser, highlevel: World, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"MAX_PER_MINUTE_{state.upper()}_STATE"
    monkeypatch.setattr(exchanges, name, 3)
    # Two of them were another process's, in this minute or the next.
    with redis.Redis.from_url(configured.REDIS_URL) as client:
        for minute in (0, 1):
            client.set(f"exchanges:{state}-state:{int(time.time() // 60) + minute}", 2)
    wanted = query_of(browser.begin())["state"] if state == "with" else None

    def ask(code: str) -> Any:
        return browser.client.get("/oauth/callback", {"code": code, **({"state": wanted} if wanted else {})})

    first = ask("made-up-code-1")
    wanted = query_of(browser.begin())["state"] if wanted else None
    second = ask("made-up-code-2")

    assert (first.status_code, second.status_code) == (400, 503)
    assert second.headers["Retry-After"] == "60"
    assert exchange_calls(highlevel) == 1


def test_installs_go_on_without_redis(
    browser: Browser, highlevel: World, settings: Any, request: pytest.FixtureRequest
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    exchanges._redis.cache_clear()
    request.addfinalizer(exchanges._redis.cache_clear)
    code = query_of(browser.consent(browser.begin()))["code"]

    assert browser.come_back(f"/oauth/callback?code={code}").status_code == 200


def test_installs_without_a_state_can_be_turned_off(
    browser: Browser, highlevel: World, settings: Any
) -> None:
    settings.REQUIRE_INSTALL_STATE = True
    back = browser.consent(browser.begin())

    page = browser.come_back(f"/oauth/callback?code={query_of(back)['code']}")

    assert (page.status_code, "state_required" in page.text) == (403, True)
    assert not highlevel.calls.records
    assert not Location.objects.exists()
    assert browser.come_back(back).status_code == 200


def test_a_visit_to_the_install_link_leaves_nothing(client: Client, db: None) -> None:
    for _ in range(5):
        client.get("/oauth/install")
        client.cookies.clear()

    assert not Session.objects.exists()
    assert not CodeExchange.objects.exists()
