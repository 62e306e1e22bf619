"""The rules that keep strangers' letters out: each has a test that fails without it."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from django.test import Client

from tests.ghlapp.test_problems import is_problem
from tests.webhooks.conftest import KEY, PATH, deliver, only_letter, pem, signed, written
from webhooks import inbox
from webhooks.models import Letter

pytestmark = pytest.mark.django_db

LARGEST = 256 * 1024


def refused(answer: Any, status: int, code: str) -> None:
    is_problem(answer, status, code)
    assert not Letter.objects.exists()


def dropped(answer: Any) -> None:
    assert (answer.status_code, answer.json()) == (200, {"status": "dropped"})
    assert not Letter.objects.exists()


def of_size(size: int) -> bytes:
    empty = written(padding="")
    return empty.replace(b'"padding": ""', b'"padding": "%s"' % (b"x" * (size - len(empty))))


# --- Signatures -------------------------------------------------------------------------------------------


def test_it_refuses_a_changed_body() -> None:
    raw = written()

    refused(deliver(raw.replace(b"INSTALL", b"UPDATED"), signed(raw)), 401, "invalid_signature")


def test_it_refuses_another_key() -> None:
    raw = written()

    refused(deliver(raw, signed(raw, Ed25519PrivateKey.generate())), 401, "invalid_signature")


def test_it_refuses_a_body_that_was_parsed_and_written_again() -> None:
    """The signature is over bytes, not over what they mean."""
    raw = written()
    again = json.dumps(json.loads(raw), separators=(",", ":")).encode()
    assert json.loads(again) == json.loads(raw)

    refused(deliver(again, signed(raw)), 401, "invalid_signature")


@pytest.mark.parametrize("headers", [{}, {"X-GHL-Signature": "N/A", "X-WH-Signature": "N/A"}])
def test_it_refuses_a_letter_that_nobody_signed(headers: dict[str, str]) -> None:
    refused(deliver(written(), headers), 401, "invalid_signature")


def test_it_refuses_everything_once_the_key_is_replaced(settings: Any) -> None:
    settings.GHL_WEBHOOK_PUBLIC_KEYS = pem(Ed25519PrivateKey.generate())

    refused(deliver(written()), 401, "invalid_signature")


def test_it_believes_the_old_key_and_the_new_one_while_they_change(settings: Any) -> None:
    new = Ed25519PrivateKey.generate()
    settings.GHL_WEBHOOK_PUBLIC_KEYS = pem(KEY) + pem(new)

    for key in (KEY, new):
        raw = written()
        assert deliver(raw, signed(raw, key)).json() == {"status": "stored"}


def test_it_believes_rsa_only_where_its_key_is_configured(settings: Any) -> None:
    key, raw = rsa.generate_private_key(65537, 2048), written()
    older = {"X-WH-Signature": base64.b64encode(key.sign(raw, PKCS1v15(), SHA256())).decode()}

    refused(deliver(raw, older), 401, "invalid_signature")
    settings.GHL_WEBHOOK_PUBLIC_KEYS = pem(KEY) + pem(key)
    refused(deliver(raw, {**older, "X-GHL-Signature": "c2VzYW1l"}), 401, "invalid_signature")
    assert deliver(raw, {**older, "X-GHL-Signature": "N/A"}).json() == {"status": "stored"}


# --- Size, type and shape ---------------------------------------------------------------------------------


def test_it_takes_the_largest_letter_that_highlevel_sends() -> None:
    raw = of_size(LARGEST)
    assert len(raw) == LARGEST

    assert deliver(raw).json() == {"status": "stored"}


def test_it_refuses_a_larger_one_though_it_is_signed() -> None:
    refused(deliver(of_size(LARGEST + 1)), 413, "body_too_large")


def test_it_refuses_a_larger_one_whatever_its_length_was_said_to_be() -> None:
    raw = of_size(LARGEST + 1)

    assert inbox.receive(raw, {**signed(raw), "Content-Type": "application/json"}) == "too_large"
    assert not Letter.objects.exists()


class NeverRead:
    def read(self, *_: Any) -> bytes:
        raise AssertionError("the body was read")

    readline = read


def test_it_reads_nothing_of_what_says_that_it_is_too_large() -> None:
    answer = deliver(b"", {}, CONTENT_LENGTH=str(LARGEST + 1), **{"wsgi.input": NeverRead()})

    refused(answer, 413, "body_too_large")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "",
    ],
)
def test_it_refuses_a_wrong_content_type(content_type: str) -> None:
    refused(deliver(written(), content_type=content_type), 400, "invalid_request")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_it_takes_json_by_its_other_spellings(content_type: str) -> None:
    assert deliver(written(), content_type=content_type).status_code == 200


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"null", b"{", b"type=INSTALL", b'{"a": "\xff"}', b"[" * 100_000]
)
def test_it_refuses_what_is_no_json_object(raw: bytes) -> None:
    refused(deliver(raw), 400, "invalid_request")


@pytest.mark.parametrize(("raw", "content_type"), [(b"{", "application/json"), (b"{}", "text/plain")])
def test_it_tells_strangers_nothing_about_bodies(raw: bytes, content_type: str) -> None:
    refused(deliver(raw, {}, content_type), 401, "invalid_signature")


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "head", "options"])
def test_it_takes_nothing_but_posts(method: str) -> None:
    answer = getattr(Client(), method)(PATH)

    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"


def test_it_needs_no_csrf_token() -> None:
    raw = written()
    client = Client(enforce_csrf_checks=True)

    assert client.generic("POST", PATH, raw, "application/json", headers=signed(raw)).status_code == 200


# --- Whose and when ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("app", ["ve9EPM428h8vShlRW1KT", "665c6bb13d4e5364bdec0e2f-test1234", "", None, 7])
def test_it_drops_letters_to_another_app(app: Any) -> None:
    """HighLevel signs the letters of all apps with one key."""
    dropped(deliver(written(appId=app)))


def test_it_does_nothing_for_a_replay() -> None:
    raw = written()
    deliver(raw)
    first = Letter.objects.values().get()

    answer = deliver(raw)

    assert (answer.status_code, answer.json()) == (200, {"status": "duplicate"})
    assert Letter.objects.values().get() == first


def test_it_takes_another_body_under_a_known_id_for_a_replay() -> None:
    deliver(written(webhookId="w1", locationId="first"))

    assert deliver(written(webhookId="w1", locationId="second")).json() == {"status": "duplicate"}
    assert only_letter().location_id == "first"
