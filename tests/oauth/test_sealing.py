"""Sealed values: they open in their own place, under a key of the ring, and show themselves nowhere."""

import base64
import json
import logging
from typing import Any

import pytest
from django.core import serializers
from django.db import connection
from django.forms.models import model_to_dict

from oauth import sealing
from oauth.keeping import TokenUnreadable
from oauth.models import Token
from oauth.sealing import CannotOpen, KeyRing, Sealed, key_id
from oauth.vault import LocationTokens
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona
from tests.oauth.conftest import plain, stored

OLD, NEW = b"o" * 32, b"n" * 32
PLACE = "oauth_token:1:access_token"


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


def test_it_opens_what_it_sealed() -> None:
    ring = KeyRing([NEW])

    sealed = ring.seal("a token, ü", PLACE)

    assert "token" not in sealed.value
    assert ring.open(sealed, PLACE) == "a token, ü"


def test_it_never_seals_twice_alike() -> None:
    ring = KeyRing([NEW])

    assert ring.seal("same", PLACE).value != ring.seal("same", PLACE).value


def test_it_opens_with_any_key_of_the_ring_and_seals_with_the_first() -> None:
    sealed = KeyRing([OLD]).seal("a token", PLACE)
    ring = KeyRing([NEW, OLD])

    assert ring.open(sealed, PLACE) == "a token"
    assert ring.seal("a token", PLACE).key_id == key_id(NEW)
    assert sealed.key_id == key_id(OLD)


def test_it_names_a_key_that_the_ring_has_lost() -> None:
    sealed = KeyRing([OLD]).seal("a token", PLACE)

    with pytest.raises(CannotOpen, match=key_id(OLD)):
        KeyRing([NEW]).open(sealed, PLACE)


@pytest.mark.parametrize(
    "elsewhere", ["oauth_token:2:access_token", "oauth_token:1:refresh_token", "other:1:access_token", ""]
)
def test_it_opens_nowhere_else(elsewhere: str) -> None:
    ring = KeyRing([NEW])
    sealed = ring.seal("a token", PLACE)

    with pytest.raises(CannotOpen):
        ring.open(sealed, elsewhere)


def test_it_does_not_open_once_a_bit_is_changed() -> None:
    ring = KeyRing([NEW])
    key, _, text = ring.seal("a token", PLACE).value.partition(".")
    raw = base64.b64decode(text)

    for position in range(len(raw)):
        changed = raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :]
        with pytest.raises(CannotOpen):
            ring.open(Sealed(f"{key}.{base64.b64encode(changed).decode()}"), PLACE)


@pytest.mark.parametrize("rest", ["", "AAAA", "not base64!", "ü", "A" * 16])
def test_it_does_not_open_what_was_never_sealed(rest: str) -> None:
    with pytest.raises(CannotOpen):
        KeyRing([NEW]).open(Sealed(f"{key_id(NEW)}.{rest}"), PLACE)


@pytest.mark.parametrize(
    "wrong", [encoded(b"short")[:-1], encoded(b"s" * 31), encoded(b"s" * 33), "sesame" * 9, "ü" * 44, ""]
)
def test_it_refuses_a_wrong_key_without_showing_it(wrong: str) -> None:
    with pytest.raises(ValueError, match="key") as refused:
        KeyRing.parse([encoded(NEW), wrong])

    assert not wrong or wrong not in str(refused.value)
    assert encoded(NEW) not in str(refused.value)
    assert refused.value.__cause__ is None


def test_it_shows_itself_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    sealed = KeyRing([NEW]).seal("a token", PLACE)
    logging.getLogger("oauth").warning("kept %s and %r", sealed, [sealed])

    shown = [str(sealed), repr(sealed), f"{sealed}", f"{sealed!r:>20}", str({"a": sealed}), caplog.text]

    for text in shown:
        assert "<sealed>" in text
        assert sealed.value.partition(".")[2] not in text


def test_rows_show_nothing_of_it(acme: Persona) -> None:
    token = stored()
    texts = [
        repr(token),
        str(token),
        str(model_to_dict(token)),
        repr(token.__dict__),
        serializers.serialize("json", [token]),
    ]

    for text in texts:
        assert token.access_token.value not in text
        assert token.refresh_token.value not in text
    assert json.loads(texts[-1])[0]["fields"]["access_token"] == "<sealed>"


def test_the_database_holds_no_token_in_plain_text(acme: Persona, globex: Persona) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT t::text FROM oauth_token t")
        rows = "\n".join(row[0] for row in cursor.fetchall())

    for location_id in (ACME_LOCATION, GLOBEX_LOCATION):
        for name in ("access_token", "refresh_token"):
            assert plain(stored(location_id), name) not in rows
    assert "eyJhbGci" not in rows  # how each begins; shorter, it is to be found in what is sealed by chance


def test_a_value_copied_to_another_row_does_not_open(
    acme: Persona, globex: Persona, caplog: pytest.LogCaptureFixture
) -> None:
    of_acme = stored()
    Token.objects.filter(location_id=GLOBEX_LOCATION).update(access_token=of_acme.access_token)

    with pytest.raises(TokenUnreadable):
        LocationTokens(GLOBEX_LOCATION).token()

    assert f"access_token of the token of {GLOBEX_LOCATION} cannot be opened" in caplog.text
    assert of_acme.access_token.value not in caplog.text


def test_a_value_copied_to_another_field_does_not_open(acme: Persona) -> None:
    Token.objects.update(access_token=stored().refresh_token)

    with pytest.raises(TokenUnreadable):
        LocationTokens(ACME_LOCATION).token()


def test_a_new_first_key_leaves_what_is_stored_readable(acme: Persona, settings: Any) -> None:
    before = LocationTokens(ACME_LOCATION).token()
    settings.TOKEN_ENCRYPTION_KEYS = [encoded(NEW), *settings.TOKEN_ENCRYPTION_KEYS]
    sealing.keyring.cache_clear()

    try:
        assert LocationTokens(ACME_LOCATION).token() == before
    finally:
        sealing.keyring.cache_clear()


def test_debugging_needs_no_keys(settings: Any) -> None:
    settings.TOKEN_ENCRYPTION_KEYS, settings.DEBUG = [], True
    sealing.keyring.cache_clear()

    try:
        ring = sealing.keyring()
        assert ring.open(ring.seal("a token", PLACE), PLACE) == "a token"
    finally:
        sealing.keyring.cache_clear()
