"""Whether a letter comes from HighLevel: signatures over its raw body, under HighLevel's public keys.
What letters say is in letters.py; which keys are believed is a setting."""

import base64
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

Key = Ed25519PublicKey | RSAPublicKey

# The same for every app; https://marketplace.gohighlevel.com/docs/webhook/WebhookIntegrationGuide
PUBLISHED_KEY = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAi2HR1srL4o18O8BRa7gVJY7G7bupbN3H9AwJrHCDiOg=
-----END PUBLIC KEY-----"""
# The older RSA one was to end on 2026-09-01: it counts only where somebody has configured its key.
HEADERS = (("X-GHL-Signature", Ed25519PublicKey), ("X-WH-Signature", RSAPublicKey))
PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----[^-]*-----END \1-----")


@lru_cache(maxsize=8)
def parse_keys(text: str) -> tuple[Key, ...]:
    r"""The keys of one or several PEM blocks, Ed25519 or RSA; `\n` may stand for the ends of lines.

    Raises ValueError, which names the block by its number.
    """
    text = text.replace("\\r", "").replace("\\n", "\n")
    blocks = [match[0] for match in PEM.finditer(text)]
    if not blocks or PEM.sub("", text).strip():
        raise ValueError("there is something else than whole PEM blocks")
    return tuple(_parse(block, number) for number, block in enumerate(blocks, start=1))


def _parse(block: str, number: int) -> Key:
    try:
        key = load_pem_public_key(block.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"PEM block {number} is not a public key") from None
    if not isinstance(key, Ed25519PublicKey | RSAPublicKey):
        raise ValueError(f"the key of PEM block {number} is neither Ed25519 nor RSA")  # noqa: TRY004  (it is text)
    return key


def verify(raw: bytes, headers: Mapping[str, str], keys: Iterable[Key]) -> bool:
    """Whether one of the keys has signed exactly these bytes. It is `headers` that compares names of headers.

    The first signature that is there decides: an older one must not make up for a newer one that is wrong.
    """
    for name, kind in HEADERS:
        signature = _signature(headers.get(name, ""))
        if signature is not None:
            return any(_has_signed(key, signature, raw) for key in keys if isinstance(key, kind))
    return False


def _signature(value: str) -> bytes | None:
    """None where there is none, which HighLevel also writes as `N/A`; empty where it is no base64."""
    value = value.strip()
    if value.upper() in {"", "N/A"}:
        return None
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        return b""


def _has_signed(key: Key, signature: bytes, raw: bytes) -> bool:
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, raw)
        else:
            key.verify(signature, raw, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True
