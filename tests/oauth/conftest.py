"""A browser that walks through an install, and levers on stored tokens.
What tests of several rooms stand on is in tests/fixtures.py."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import redis
from django.conf import settings
from django.db import connection
from django.db.models.functions import Now
from django.test import Client

from ghl.letters import Letter, parse_letter
from ghl.types import Call, parse_token_grant
from oauth import installs, minting, outage, pace, provider, reconciling, vault
from oauth.models import Account, Agency, Location, Token
from oauth.sealing import keyring
from sandbox import World
from sandbox.seed import COMPANY, THIRD_LOCATION
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION

# The agency's locations in the world that every test begins with.
THREE = {ACME_LOCATION, GLOBEX_LOCATION, THIRD_LOCATION}
HIDDEN_FIELD = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


@dataclass
class Browser:
    """A person's browser: our pages through Django's client, HighLevel's consent page over the wire."""

    client: Client = field(default_factory=Client)

    def begin(self) -> str:
        """Open the install link; the address of HighLevel's consent page."""
        answer = self.client.get("/oauth/install")
        assert answer.status_code == 302, answer.content
        return str(answer.headers["Location"])

    def consent(self, link: str, choice: str = f"location:{ACME_LOCATION}", decision: str = "allow") -> str:
        """Fill in HighLevel's form; the address of ours that it leads back to."""
        page = httpx2.get(link)
        assert page.status_code == 200, page.text
        hidden = {name: unescape(value) for name, value in HIDDEN_FIELD.findall(page.text)}
        answer = httpx2.post(link.partition("?")[0], data={**hidden, "choice": choice, "decision": decision})
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def come_back(self, address: str) -> Any:
        return self.client.get(address.removeprefix("http://testserver"))

    def install(self, location_id: str = ACME_LOCATION) -> Any:
        """The whole way; the page at its end."""
        return self.come_back(self.consent(self.begin(), f"location:{location_id}"))


@pytest.fixture
def browser(db: None, highlevel: World, own_pace: None) -> Browser:
    return Browser()


@pytest.fixture
def install_link(settings: Any) -> Iterator[Callable[[str], None]]:
    """`install_link(url)` configures another one."""

    def configure(url: str) -> None:
        settings.GHL_INSTALL_URL = url
        provider._app.cache_clear()

    yield configure
    provider._app.cache_clear()


@pytest.fixture
def fresh_provider() -> Iterator[None]:
    """For tests that change the settings the provider is made from."""
    provider._app.cache_clear()
    yield
    provider._app.cache_clear()


@pytest.fixture
def own_pace() -> None:
    """A Redis in which nobody has called HighLevel before, and no wake-up is on its way."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()
    pace.nothing_sent_before()


@pytest.fixture
def open_circuit(db: None) -> Iterator[None]:
    """HighLevel has not answered anybody for a while, and for so long nobody asks."""
    for account_id in ("one", "two", "three") * 2:
        outage.note(account_id, Call("GET", "/", None, 0.0, timedelta(0), "timed_out"))
    assert outage.gate().wait
    yield
    outage.forget()


@pytest.fixture
def agency(db: None, highlevel: World, own_pace: None) -> Agency:
    """The agency of acme's and globex's locations, installed as a whole; nothing more has happened yet."""
    return complete(highlevel.issue_company_token(COMPANY))


def complete(payload: dict[str, Any]) -> Any:
    """What the callback does with a token answer."""
    return installs.complete(parse_token_grant(payload))


def work() -> None:
    """What workers do, until nothing is due."""
    for _ in range(20):
        reconciling.check_due()
        for agency_id in minting.agencies_with_due():
            vault.mint_due(agency_id)
        due = [
            each for each in (Agency, Location) if _connected(each).filter(check_due_at__lte=Now()).exists()
        ]
        if not due and not minting.agencies_with_due():
            return
    raise AssertionError("the background never comes to rest")


def pass_a_night() -> None:
    """Whatever waits is due, the daily check too, and workers do it."""
    for each in (Agency, Location):
        _connected(each).filter(check_due_at__isnull=False).update(check_due_at=Now())
    Location.objects.filter(mint_due_at__isnull=False).update(mint_due_at=Now(), mint_started_at=None)
    work()


def _connected(model: Any) -> Any:
    return model.objects.exclude(status__in=Account.DISCONNECTED)


def newest(world: World, kind: str) -> Letter:
    """The last letter of this type that HighLevel wrote, as we read it."""
    return parse_letter(world.letters.of_type(kind)[-1].content)


def asked_for(world: World, operation: str) -> list[str]:
    """The locations, or the company, that such calls were about."""
    records = [each for each in list(world.calls.records) if each.operation == operation]
    return [str(each.body.get("locationId") or each.location_id) for each in records]


def statuses() -> dict[str, str]:
    return dict(Location.objects.values_list("pk", "status"))


def query_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def stored(location_id: str = ACME_LOCATION) -> Token:
    return Token.objects.select_related("location").get(location_id=location_id)


def plain(token: Token, name: str) -> str:
    """What is sealed in a column, read with nothing but the key ring and the documented context."""
    return keyring().open(getattr(token, name), f"oauth_token:{token.pk}:{name}")


def expire(location_id: str = ACME_LOCATION) -> Token:
    """The access token has run out, by our own reckoning."""
    Token.objects.filter(location_id=location_id).update(expires_at=Now() - timedelta(seconds=1))
    return stored(location_id)


def make_due(location_id: str = ACME_LOCATION, ago: timedelta = timedelta(seconds=1)) -> Token:
    """The time of its periodic refresh has come; the access token still works."""
    Token.objects.filter(location_id=location_id).update(refresh_due_at=Now() - ago)
    return stored(location_id)


def end_claim(location_id: str = ACME_LOCATION) -> None:
    """Ten seconds have passed since somebody began to refresh."""
    Token.objects.filter(location_id=location_id).update(
        refresh_started_at=Now() - timedelta(seconds=11), refresh_due_at=Now() - timedelta(seconds=1)
    )


def end_wait(location_id: str = ACME_LOCATION) -> None:
    """The location's brake has run out."""
    Location.objects.filter(pk=location_id).update(not_before=Now() - timedelta(seconds=1))


def refresh_calls(world: World) -> int:
    """How often HighLevel was asked to refresh."""
    return sum(record.body.get("grant_type") == "refresh_token" for record in world.calls.records)


def statuses_of(location_id: str = ACME_LOCATION) -> tuple[str, str]:
    location = Location.objects.get(pk=location_id)
    return location.status, location.waiting_for


def exchange_calls(world: World) -> int:
    """How often HighLevel was asked to exchange a code."""
    return sum(record.body.get("grant_type") == "authorization_code" for record in world.calls.records)


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """What the calls return, made by a thread each that all begin at the same moment."""
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        start.wait(timeout=20)
        try:
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as threads:
        return [each.result(timeout=60) for each in [threads.submit(run, call) for call in calls]]
