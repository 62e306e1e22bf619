"""What the mail room's tests share: letters signed by a key of their own, and somebody who gets them.
The key is not the sandbox's, so that nothing passes because it is known anyway."""

import base64
import json
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings as django_settings
from django.db.models.functions import Now
from django.test import Client

from ghl import letters
from tests.appointments.conftest import _empty_redis
from tests.fixtures import ACME_LOCATION
from webhooks import handlers, inbox
from webhooks.models import Letter

__all__ = ["_empty_redis"]

KEY = Ed25519PrivateKey.generate()
APP = django_settings.GHL_CLIENT_ID.partition("-")[0]
PATH = "/webhooks/highlevel"


def pem(key: Any) -> str:
    text: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


@pytest.fixture(autouse=True)
def _our_key(settings: Any) -> None:
    settings.GHL_WEBHOOK_PUBLIC_KEYS = pem(KEY)


def content(**changes: Any) -> dict[str, Any]:
    """An INSTALL sent just now; a field given as None is left out."""
    fields = {
        "type": "INSTALL",
        "appId": APP,
        "installType": "Location",
        "locationId": ACME_LOCATION,
        "companyId": "GNb7aIv4rQFVb9iwNl5K",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "webhookId": str(uuid.uuid4()),
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def written(**changes: Any) -> bytes:
    return json.dumps(content(**changes)).encode()


def signed(raw: bytes, key: Ed25519PrivateKey = KEY) -> dict[str, str]:
    return {"X-GHL-Signature": base64.b64encode(key.sign(raw)).decode(), "X-WH-Signature": "N/A"}


def deliver(
    raw: bytes, headers: dict[str, str] | None = None, content_type: str = "application/json", **environ: Any
) -> Any:
    """Post these bytes as HighLevel would; `headers` instead of a right signature."""
    headers = signed(raw) if headers is None else headers
    return Client().generic("POST", PATH, raw, content_type, headers=headers, **environ)


def send(**changes: Any) -> Letter:
    """Have a letter stored."""
    answer = deliver(written(**changes))
    assert (answer.status_code, answer.json()) == (200, {"status": "stored"})
    return Letter.objects.latest("id")


def only_letter() -> Letter:
    return Letter.objects.get()


def hurry(letter: Letter) -> Letter:
    """Let a letter's wait or lease be over, and have a worker come by."""
    Letter.objects.filter(pk=letter.pk).update(next_attempt_at=Now())
    inbox.process_due()
    letter.refresh_from_db()
    return letter


class Recipient:
    """Stands in the table for INSTALL: keeps what it gets, then does what it is told to."""

    def __init__(self) -> None:
        self.got: list[letters.Letter] = []
        self.then: Callable[[letters.Letter], Any] = nothing

    def take(self, letter: letters.Letter) -> None:
        self.got.append(letter)
        self.then(letter)


def nothing(letter: letters.Letter) -> None: ...


@pytest.fixture
def recipient(monkeypatch: pytest.MonkeyPatch) -> Recipient:
    someone = Recipient()
    monkeypatch.setitem(handlers.HANDLERS, "INSTALL", (f"{__name__}.take",))
    monkeypatch.setattr(sys.modules[__name__], "take", someone.take, raising=False)
    return someone
