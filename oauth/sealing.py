"""Values sealed with AES-256-GCM under a ring of keys, and the model field that keeps them.
Only the vault opens one; everywhere else it is `<sealed>`."""

import base64
import hashlib
import os
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import models

KEY_BYTES = 32
NONCE_BYTES = 12  # NIST SP 800-38D: 96 bits


class CannotOpen(Exception):
    """A sealed value whose key is gone from the ring, that was changed, or that was copied from another place."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """`<key id>.<base64 of nonce and ciphertext>`, which neither str() nor repr() shows."""

    value: str

    def __str__(self) -> str:
        return "<sealed>" if self.value else ""

    __repr__ = __str__

    def __bool__(self) -> bool:
        return bool(self.value)

    @property
    def key_id(self) -> str:
        return self.value.partition(".")[0]


class KeyRing:
    """The keys of TOKEN_ENCRYPTION_KEYS: the first seals, all open.

    `context` names the place a value belongs to (table, row, field). It is authenticated with the value,
    which therefore opens nowhere else.
    """

    def __init__(self, keys: list[bytes]) -> None:
        # In the setting's order, a key that stands in it twice included.
        self.ids = tuple(key_id(key) for key in keys)
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        self._first = self.ids[0]

    @classmethod
    def parse(cls, encoded: list[str]) -> Self:
        """Raises ValueError, without showing any of it, where a key is not 32 bytes in base64."""
        return cls([_decode(key) for key in encoded])

    def seal(self, plain: str, context: str) -> Sealed:
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._ciphers[self._first].encrypt(nonce, plain.encode(), context.encode())
        return Sealed(f"{self._first}.{base64.b64encode(sealed).decode()}")

    def is_current(self, sealed: Sealed) -> bool:
        """Whether it is sealed with the key that seals now."""
        return sealed.key_id == self._first

    def open(self, sealed: Sealed, context: str) -> str:
        """Raises CannotOpen."""
        cipher = self._ciphers.get(sealed.key_id)
        if cipher is None:
            raise CannotOpen(f"TOKEN_ENCRYPTION_KEYS holds no key with the id {sealed.key_id!r}")
        try:
            raw = base64.b64decode(sealed.value.partition(".")[2], validate=True)
            return cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], context.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise CannotOpen("The value was changed or belongs to another place") from error


def key_id(key: bytes) -> str:
    """Tells keys apart without telling anything of them."""
    return hashlib.sha256(b"key id" + key).hexdigest()[:8]


def _decode(encoded: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise ValueError("a key is not base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {len(key)} bytes, not {KEY_BYTES}")
    return key


@cache
def keyring() -> KeyRing:
    if settings.TOKEN_ENCRYPTION_KEYS:
        return KeyRing.parse(settings.TOKEN_ENCRYPTION_KEYS)
    # checks.py lets a process come this far without keys only under DEBUG.
    return KeyRing([hashlib.sha256(b"debug" + settings.SECRET_KEY.encode()).digest()])


class SealedField(models.TextField):  # type: ignore[type-arg]
    """Keeps a Sealed as text."""

    def from_db_value(self, value: str | None, *_: Any) -> Sealed | None:
        return None if value is None else Sealed(value)

    def to_python(self, value: Any) -> Any:
        return Sealed(value) if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> Any:
        return value.value if isinstance(value, Sealed) else value
