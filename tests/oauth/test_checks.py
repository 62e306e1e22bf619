"""Wrong settings stop the start: each with an id and a hint that says what to do."""

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.checks import CheckMessage, run_checks

from ghlapp import environment

ROOT = Path(__file__).resolve().parent.parent.parent
KEY = base64.b64encode(b"k" * 32).decode()


def found(identifier: str) -> list[CheckMessage]:
    """The messages under this id; nothing else is wrong beside them."""
    messages = run_checks()
    assert {message.id for message in messages} <= {identifier}
    assert all(message.hint for message in messages)
    return messages


def test_a_good_configuration_has_nothing_wrong() -> None:
    assert run_checks() == []


@pytest.mark.parametrize("name", ["GHL_CLIENT_ID", "GHL_CLIENT_SECRET"])
def test_the_apps_id_and_secret_are_missed(settings: Any, name: str) -> None:
    settings.GHL_INSTALL_URL = ""
    setattr(settings, name, "")

    [message] = found("oauth.E001")

    assert message.msg == f"{name} is not set."


@pytest.mark.parametrize(
    "link", ["https://market.example/?client_id=another", "https://market.example/?client_id=a&client_id=b"]
)
def test_another_apps_install_link_is_noticed(settings: Any, link: str) -> None:
    settings.GHL_INSTALL_URL = link

    assert len(found("oauth.E002")) == 1


@pytest.mark.parametrize("link", ["", "https://market.example/", "https://market.example/?client_id={own}"])
def test_an_install_link_of_its_own_is_fine(settings: Any, link: str) -> None:
    settings.GHL_INSTALL_URL = link.format(own=configured.GHL_CLIENT_ID)

    assert found("oauth.E002") == []


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [([], "not set"), (["sesame"], "base64"), ([KEY, "c2hvcnQ="], "5 bytes, not 32"), (["ü"], "base64")],
)
def test_keys_that_seal_nothing_are_noticed(settings: Any, keys: list[str], complaint: str) -> None:
    settings.TOKEN_ENCRYPTION_KEYS = keys

    [message] = found("oauth.E003")

    assert complaint in message.msg
    assert not any(key in message.msg for key in keys if len(key) > 1)
    assert "python -c" in str(message.hint)


def test_debugging_needs_no_keys(settings: Any) -> None:
    settings.TOKEN_ENCRYPTION_KEYS, settings.DEBUG = [], True

    assert found("oauth.E003") == []


def test_the_hint_makes_a_key_that_works(settings: Any) -> None:
    settings.TOKEN_ENCRYPTION_KEYS = []
    [message] = found("oauth.E003")
    code = str(message.hint).partition("'")[2].rpartition("'")[0]
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    settings.TOKEN_ENCRYPTION_KEYS = [made.strip()]

    assert found("oauth.E003") == []


PORTS = ("http", "-1", "0", "65536")


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("DEBUG", "perhaps", environment.flag),
        ("GHL_TIMEOUT_SECONDS", "0", lambda name: environment.seconds(name, "30")),
        ("GHL_TIMEOUT_SECONDS", "inf", lambda name: environment.seconds(name, "30")),
        ("GHL_TIMEOUT_SECONDS", "soon", lambda name: environment.seconds(name, "30")),
        *(("PORT", value, lambda name: environment.read(name, environment.port, "8000")) for value in PORTS),
        ("DATABASE_POOL_SIZE", "0", lambda name: environment.read(name, environment.some, "32")),
        ("LOG_LEVEL", "LOUD", lambda name: environment.read(name, environment.log_level, "INFO")),
        ("SECRET_KEY_FILE", "/nowhere/at/all", lambda _: environment.text("SECRET_KEY")),
    ],
)
def test_a_value_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, read: Any
) -> None:
    monkeypatch.setattr(environment, "problems", [])
    monkeypatch.setenv(name, value)

    read(name)

    [message] = found("ghlapp.E001")
    assert name.removesuffix("_FILE") in message.msg
    assert ".env.example" in str(message.hint)


@pytest.mark.parametrize(("debug", "wrong"), [(False, 1), (True, 0)])
def test_a_production_start_misses_its_secret_key(settings: Any, debug: bool, wrong: int) -> None:
    settings.SECRET_KEY, settings.DEBUG = settings.UNSET_SECRET_KEY, debug

    assert len(found("ghlapp.E002")) == wrong


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
def test_unknown_servers_are_noticed(settings: Any, name: str) -> None:
    setattr(settings, name, "")

    [message] = found("ghlapp.E003")

    assert name in message.msg
    assert "make serve" in str(message.hint)


@pytest.mark.parametrize("name", ["PUBLIC_URL", "GHL_API_BASE_URL", "GHL_INSTALL_URL"])
@pytest.mark.parametrize(
    "value", ["bookings.example.com", "ftp://bookings.example.com", "https://", "/oauth"]
)
def test_addresses_without_scheme_or_host_are_noticed(settings: Any, name: str, value: str) -> None:
    setattr(settings, name, value)

    [message] = found("ghlapp.E004")

    assert value in message.msg


def test_they_stop_a_start_and_say_why() -> None:
    environ = {
        **os.environ,
        "GHL_CLIENT_ID": "",
        "GHL_INSTALL_URL": "",
        "TOKEN_ENCRYPTION_KEYS": "secret-sesame",
    }

    ended = subprocess.run(
        [sys.executable, "manage.py", "issue_api_key", "--tenant", "x", "--location", "x"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert "oauth.E001" in ended.stderr
    assert "oauth.E003" in ended.stderr
    assert "HINT" in ended.stderr
    assert "secret-sesame" not in ended.stderr
