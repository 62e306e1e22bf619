"""An operator connects a location with a Private Integration Token: sealed like the others, never refreshed."""

import io
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from ghl.types import parse_token_grant
from oauth import installs, vault
from oauth.models import Account, Location, Token
from oauth.vault import LocationTokens
from sandbox import World
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona, only_booking, work_once
from tests.oauth.conftest import plain, refresh_calls, statuses_of, stored

ANOTHER = "pit-11111111-2222-4333-8444-555555555555"


@pytest.fixture
def connect_with(
    db: None, highlevel: World, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> Callable[..., str]:
    """`connect_with(token)`: the command, with the token on its standard input; what it says."""

    def run(token: str, location_id: str = ACME_LOCATION, **options: Any) -> str:
        monkeypatch.setattr(sys, "stdin", io.StringIO(token + "\n"))
        call_command("connect_location", location_id, **options)
        return str(capsys.readouterr().out)

    return run


def test_it_connects_the_location(connect_with: Callable[..., str], highlevel: World) -> None:
    said = connect_with(highlevel.issue_private_token(ACME_LOCATION))

    location = Location.objects.get()
    assert "Chai & Co. Bengaluru" in said
    assert (location.status, location.timezone) == ("active", "Asia/Kolkata")


def test_it_reads_the_token_from_a_file(
    connect_with: Callable[..., str], highlevel: World, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(highlevel.issue_private_token(ACME_LOCATION))

    connect_with("", token_file=file)

    assert Location.objects.get().status == "active"


def test_it_seals_the_token_and_shows_it_nowhere(
    connect_with: Callable[..., str], highlevel: World, caplog: pytest.LogCaptureFixture
) -> None:
    token = highlevel.issue_private_token(ACME_LOCATION)

    said = connect_with(token)

    assert plain(stored(), "access_token") == token
    assert token not in stored().access_token.value + said + caplog.text


def test_it_waits_for_its_turn(
    connect_with: Callable[..., str], highlevel: World, open_circuit: None
) -> None:
    connect_with(highlevel.issue_private_token(ACME_LOCATION))

    assert Location.objects.get().status == "active"


def test_it_says_so_where_its_turn_does_not_come_soon(
    acme: Persona, connect_with: Callable[..., str], highlevel: World
) -> None:
    Location.objects.get().brake(Account.Waiting.DAILY_QUOTA, timedelta(hours=1))
    before = stored()

    with pytest.raises(CommandError, match="try again later"):
        connect_with(highlevel.issue_private_token(ACME_LOCATION))

    assert stored().version == before.version


@pytest.mark.parametrize("token", ["", "two\nlines", ANOTHER, "päss"])
def test_it_takes_no_token_that_highlevel_does_not_take(connect_with: Callable[..., str], token: str) -> None:
    with pytest.raises(CommandError) as refused:
        connect_with(token)

    assert not Location.objects.exists()
    assert ANOTHER not in str(refused.value)


def test_it_takes_no_token_of_another_location(connect_with: Callable[..., str], highlevel: World) -> None:
    with pytest.raises(CommandError, match="location_forbidden"):
        connect_with(highlevel.issue_private_token(GLOBEX_LOCATION))

    assert not Location.objects.exists()


def test_it_books_with_it(connect_with: Callable[..., str], acme: Persona, highlevel: World) -> None:
    connect_with(highlevel.issue_private_token(ACME_LOCATION))
    highlevel.tokens.revoke_access(ACME_LOCATION)
    acme.book()

    work_once()

    assert only_booking().status == "booked"


def test_it_never_refreshes_it(connect_with: Callable[..., str], highlevel: World) -> None:
    connect_with(highlevel.issue_private_token(ACME_LOCATION))

    assert stored().refresh_due_at is None
    assert vault.refresh_due() == 0
    assert LocationTokens(ACME_LOCATION).token()
    assert refresh_calls(highlevel) == 0


def test_its_refusal_marks_the_location(
    connect_with: Callable[..., str], acme: Persona, highlevel: World
) -> None:
    connect_with(highlevel.issue_private_token(ACME_LOCATION))
    highlevel.revoke_private_tokens(ACME_LOCATION)
    acme.book()

    work_once()

    assert statuses_of() == ("needs_reconnect", "needs_reconnect")
    assert only_booking().status == "on_hold"
    assert refresh_calls(highlevel) == 0
    # Another one, and it goes on where it was.
    connect_with(highlevel.issue_private_token(ACME_LOCATION))
    work_once()
    assert only_booking().status == "booked"


def test_its_refusal_says_nothing_of_what_was_installed_meanwhile(
    connect_with: Callable[..., str], highlevel: World
) -> None:
    """The location was uninstalled and installed again while HighLevel refused it: its versions begin anew."""
    connect_with(highlevel.issue_private_token(ACME_LOCATION))
    refused = stored()
    Token.objects.all().delete()
    installs.complete(parse_token_grant(highlevel.issue_location_token(ACME_LOCATION)))
    assert stored().version == refused.version

    assert vault._refused_private(refused) == stored()

    assert statuses_of()[0] == "active"


def test_an_install_takes_its_place(connect_with: Callable[..., str], highlevel: World) -> None:
    connect_with(highlevel.issue_private_token(ACME_LOCATION))

    installs.complete(parse_token_grant(highlevel.issue_location_token(ACME_LOCATION)))

    assert stored().kind == Token.Kind.OAUTH
    Token.objects.update(expires_at=Now())
    assert LocationTokens(ACME_LOCATION).token()
    assert refresh_calls(highlevel) == 1
