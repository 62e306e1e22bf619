"""The keys that HighLevel's letters are signed with: a wrong setting stops the start, none means HighLevel's own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ghl.signatures import parse_keys
from tests.oauth.test_checks import ROOT, found
from tests.webhooks.conftest import KEY, pem

PUBLISHED = "MCowBQYDK2VwAyEAi2HR1srL4o18O8BRa7gVJY7G7bupbN3H9AwJrHCDiOg="


@pytest.mark.parametrize("keys", ["sesame", pem(KEY)[:-10], pem(KEY) + "sesame"])
def test_keys_that_cannot_be_read_are_noticed(settings: Any, keys: str) -> None:
    settings.GHL_WEBHOOK_PUBLIC_KEYS = keys

    [message] = found("webhooks.E001")

    assert "GHL_WEBHOOK_PUBLIC_KEYS" in message.msg
    assert "sesame" not in message.msg
    assert "PEM" in str(message.hint)


def test_good_keys_are_fine(settings: Any) -> None:
    settings.GHL_WEBHOOK_PUBLIC_KEYS = pem(KEY).replace("\n", "\\n")

    assert found("webhooks.E001") == []


def read(**environ: str) -> str:
    """The setting as a process with this environment has it."""
    code = "from django.conf import settings; print(settings.GHL_WEBHOOK_PUBLIC_KEYS)"
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "ghlapp.settings", **environ}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, check=True
    )
    return done.stdout.decode()


def test_without_the_setting_highlevels_published_key_is_believed() -> None:
    keys = read(GHL_WEBHOOK_PUBLIC_KEYS="")

    assert keys.split("\n")[1] == PUBLISHED
    [key] = parse_keys(keys)
    assert isinstance(key, Ed25519PublicKey)


def test_the_keys_can_stand_in_one_line_or_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.pem"
    file.write_text(pem(KEY))

    assert parse_keys(read(GHL_WEBHOOK_PUBLIC_KEYS=pem(KEY).replace("\n", "\\n"))) == (KEY.public_key(),)
    assert parse_keys(read(GHL_WEBHOOK_PUBLIC_KEYS="", GHL_WEBHOOK_PUBLIC_KEYS_FILE=str(file))) == (
        KEY.public_key(),
    )


@pytest.mark.parametrize(("days", "is_wrong"), [(0, False), (30, True), (31, False)])
def test_events_that_may_come_again_must_be_kept(settings: Any, days: int, is_wrong: bool) -> None:
    settings.EVENT_RETENTION_DAYS = days

    assert bool(found("webhooks.E002")) == is_wrong
