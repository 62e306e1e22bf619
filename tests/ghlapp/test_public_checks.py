"""What is convenient on a developer's machine stops the start of a service that the public reaches."""

import ast
import base64
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks

from ghl.signatures import PUBLISHED_KEY
from ghlapp.public_checks import has_entropy, is_published
from sandbox import PUBLIC_KEY_PEM

ROOT = Path(__file__).resolve().parent.parent.parent
DRAWN = "k9Zq-7xB2mVfT0_sLwE8rYpJ4hNcG6uDaQ1oXiR3tKbM5vHzCy"
PUBLIC: dict[str, Any] = {
    "PUBLIC_URL": "https://bookings.example.com",
    "SECRET_KEY": DRAWN,
    "TOKEN_ENCRYPTION_KEYS": [base64.b64encode(os.urandom(32)).decode()],
    "GHL_CLIENT_SECRET": "5f0c-drawn-by-the-developer-portal",
    "GHL_API_BASE_URL": "https://services.leadconnectorhq.com",
    "GHL_INSTALL_URL": "",
    "GHL_WEBHOOK_PUBLIC_KEYS": PUBLISHED_KEY,
    "ALLOWED_HOSTS": ["bookings.example.com"],
}


@pytest.fixture
def public(settings: Any) -> Any:
    """Settings of a service that the public reaches, with nothing wrong."""
    for name, value in PUBLIC.items():
        setattr(settings, name, value)
    return settings


def found() -> list[str]:
    messages = run_checks()
    assert all(message.hint for message in messages)
    return [str(message.id) for message in messages]


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


def test_a_service_with_nothing_wrong_starts(public: Any) -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("identifier", "name", "value"),
    [
        ("ghlapp.E010", "DEBUG", True),
        ("ghlapp.E011", "SECRET_KEY", "only-for-tests-" + "0a1b2" * 10),
        ("ghlapp.E011", "SECRET_KEY_FALLBACKS", [DRAWN, "only-for-tests-" + "0a1b2" * 10]),
        ("ghlapp.E011", "GHL_CLIENT_SECRET", "for-the-demo-only"),
        ("ghlapp.E011", "DATABASE_URL", "postgres://u:only-for-the-demo@db/name"),
        ("ghlapp.E011", "REDIS_URL", "redis://:only-for%2Dthe-demo@redis/0"),
        ("ghlapp.E011", "GHL_WEBHOOK_PUBLIC_KEYS", PUBLIC_KEY_PEM),
        ("ghlapp.E011", "GHL_WEBHOOK_PUBLIC_KEYS", PUBLIC_KEY_PEM.replace("\n", "\\n")),
        ("ghlapp.E012", "SECRET_KEY", DRAWN[:49]),
        ("ghlapp.E012", "SECRET_KEY", "abcd" * 20),
        ("ghlapp.E012", "SECRET_KEY_FALLBACKS", [DRAWN, DRAWN[:49]]),
        ("ghlapp.E013", "TOKEN_ENCRYPTION_KEYS", [encoded(b"\x07" * 32)]),
        ("ghlapp.E013", "TOKEN_ENCRYPTION_KEYS", [encoded(b"\x07\xf1\x88\x12" * 8)]),
        ("ghlapp.E013", "TOKEN_ENCRYPTION_KEYS", [encoded(bytes(range(32)))]),
        ("ghlapp.E013", "TOKEN_ENCRYPTION_KEYS", [encoded(bytes(range(64, 0, -2)))]),
        ("ghlapp.E013", "TOKEN_ENCRYPTION_KEYS", [encoded(b"5c1d7a90be46f238aa01c9e77d3350fe")]),
        ("ghlapp.E013", "TOKEN_ENCRYPTION_KEYS", [encoded(b"correct horse battery staple: 32")]),
        ("ghlapp.E013", "TOKEN_ENCRYPTION_KEYS", [*PUBLIC["TOKEN_ENCRYPTION_KEYS"], encoded(bytes(32))]),
        ("ghlapp.E014", "GHL_API_BASE_URL", "http://services.leadconnectorhq.com"),
        ("ghlapp.E014", "GHL_INSTALL_URL", "HTTP://marketplace.gohighlevel.com/x"),
        ("ghlapp.E015", "ALLOWED_HOSTS", ["bookings.example.com", "*"]),
    ],
)
def test_it_stops_the_start(public: Any, identifier: str, name: str, value: Any) -> None:
    setattr(public, name, value)

    assert found() == [identifier]


@pytest.mark.parametrize(
    "url", ["http://bookings.example.com", "https://localhost:8443", "https://127.0.0.1", "https://[::1]"]
)
def test_it_stops_nothing_on_a_developers_machine(settings: Any, url: str) -> None:
    settings.PUBLIC_URL, settings.ALLOWED_HOSTS = url, ["*"]

    assert found() == []


def test_random_keys_are_taken() -> None:
    assert all(has_entropy(os.urandom(32)) for _ in range(1000))


# What is called so, holds secrets.
NAME = re.compile(r"[A-Z_]*(?:SECRET_KEY|SECRET|TOKEN_ENCRYPTION_KEYS|NEW_KEY|OLD_KEY|PASSWORD)")
LINE = re.compile(rf"^[ ]*{NAME.pattern}[ ]*[:=][ ]*[\"']?([^\s\"'#]+)", re.MULTILINE)


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in listed if (ROOT / name).exists()]


def literals_for_secrets(code: str) -> Iterator[str]:
    """Texts in Python code that are given to something whose name says that it is a secret."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Assign):
            pairs = [(getattr(each, "id", ""), node.value) for each in names_in(node.targets)]
        elif isinstance(node, ast.Dict):
            pairs = [
                (getattr(k, "value", ""), value) for k, value in zip(node.keys, node.values, strict=True)
            ]
        else:
            continue
        for name, value in pairs:
            if isinstance(name, str) and NAME.fullmatch(name):
                yield from constants_in(value)


def names_in(targets: list[ast.expr]) -> list[ast.expr]:
    return [each for target in targets for each in getattr(target, "elts", [target])]


def constants_in(value: ast.expr) -> Iterator[str]:
    for node in ast.walk(value):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and len(node.value) >= 10:
            yield node.value.decode() if isinstance(node.value, bytes) else node.value


def test_every_secret_of_this_repository_is_known() -> None:
    python = tracked("ghlapp/*.py", "benchmarks/*.py", "tests/servers.py")
    texts = tracked("*.yml", ".env.example")
    found = {text for path in python for text in literals_for_secrets(path.read_text())}
    found |= {text for path in texts for text in LINE.findall(path.read_text())}
    # Names of settings, apps' ids beside their secrets, and what an environment must give.
    secrets = {text for text in found if not re.match(r"[A-Z_]+$|[0-9a-f]{24}-|\$\{\w+(:\?|:-\}|\})|/", text)}

    assert {text for text in secrets if not is_published(text)} == set()
    # The tests', the benchmarks' (with both keys of tokens) and that of a start with DEBUG.
    assert len(secrets) >= 6
