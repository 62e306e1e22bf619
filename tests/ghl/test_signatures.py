"""Who has signed a letter: over the bytes as they came, by the first signature that is there."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from ghl.signatures import PUBLISHED_KEY, parse_keys, verify

RAW = b'{"type": "INSTALL", "appId": "app1"}'
ED, OTHER_ED = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
BOTH = (ED.public_key(), RSA.public_key())


def pem(key: Any) -> str:
    text: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


def newer(key: ed25519.Ed25519PrivateKey = ED, raw: bytes = RAW) -> dict[str, str]:
    return {"X-GHL-Signature": base64.b64encode(key.sign(raw)).decode()}


def older(raw: bytes = RAW) -> dict[str, str]:
    return {"X-WH-Signature": base64.b64encode(RSA.sign(raw, PKCS1v15(), SHA256())).decode()}


def test_it_knows_highlevels_published_key() -> None:
    [key] = parse_keys(PUBLISHED_KEY)

    assert isinstance(key, ed25519.Ed25519PublicKey)
    assert key.public_bytes_raw().hex() == "8b61d1d6cacbe28d7c3bc0516bb815258ec6edbba96cddc7f40c09ac708388e8"


@pytest.mark.parametrize(
    "text",
    [
        pem(ED) + pem(RSA),
        (pem(ED) + pem(RSA)).replace("\n", "\\n"),
        (pem(ED) + pem(RSA)).replace("\n", "\\r\\n"),
        (pem(ED) + pem(RSA)).replace("\n", "\r\n"),
        f"\n  {pem(ED).strip()} {pem(RSA).strip()} ",
    ],
)
def test_it_reads_several_keys_however_their_lines_end(text: str) -> None:
    assert parse_keys(text) == BOTH


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "whole PEM blocks"),
        ("sesame", "whole PEM blocks"),
        (pem(ED) + "sesame", "whole PEM blocks"),
        (pem(ED)[:-12], "whole PEM blocks"),
        (pem(ED) + pem(RSA).replace("MII", "sesame"), "block 2 is not a public key"),
        (pem(ED) + pem(EC), "block 2 is neither Ed25519 nor RSA"),
        (
            ED.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "block 1 is not a public key",
        ),
    ],
)
def test_it_says_which_key_is_wrong_and_shows_none(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        parse_keys(text)

    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("headers", [newer(), {**newer(), "X-WH-Signature": "N/A"}])
def test_it_believes_the_key(headers: dict[str, str]) -> None:
    assert verify(RAW, headers, [ED.public_key()])


def test_it_believes_each_of_several_keys() -> None:
    keys = [OTHER_ED.public_key(), *BOTH]

    assert verify(RAW, newer(ED), keys)
    assert verify(RAW, newer(OTHER_ED), keys)


@pytest.mark.parametrize(
    "raw", [RAW + b" ", RAW.replace(b"app1", b"app2"), b"", RAW.replace(b": ", b":")], ids=repr
)
def test_it_believes_no_other_bytes(raw: bytes) -> None:
    assert not verify(raw, newer(), BOTH)
    assert not verify(raw, older(), BOTH)


@pytest.mark.parametrize(
    "signature",
    [
        *("", " ", "N/A", "n/a ", "no base64", "c2VzYW1l", "ü"),
        newer(OTHER_ED)["X-GHL-Signature"],
        newer()["X-GHL-Signature"] + "," + newer()["X-GHL-Signature"],
        ED.sign(RAW).hex(),
    ],
    ids=lambda signature: f"{len(signature)} characters",
)
def test_it_believes_no_other_signature(signature: str) -> None:
    assert not verify(RAW, {"X-GHL-Signature": signature}, BOTH)
    assert not verify(RAW, {"X-WH-Signature": signature}, BOTH)


def test_it_believes_no_letter_without_a_signature() -> None:
    assert not verify(RAW, {}, BOTH)


def test_it_believes_nobody_without_keys() -> None:
    assert not verify(RAW, newer(), [])


@pytest.mark.parametrize("absent", [{}, {"X-GHL-Signature": "N/A"}, {"X-GHL-Signature": " n/a "}])
def test_it_believes_the_older_signature_where_its_key_is_given(absent: dict[str, str]) -> None:
    assert verify(RAW, {**absent, **older()}, BOTH)
    assert not verify(RAW, {**absent, **older()}, [ED.public_key()])


def test_it_lets_no_older_signature_make_up_for_a_wrong_newer_one() -> None:
    assert not verify(RAW, {**newer(OTHER_ED), **older()}, BOTH)
    assert not verify(RAW, {"X-GHL-Signature": "no base64", **older()}, BOTH)


def test_it_takes_no_signature_for_one_of_the_other_kind() -> None:
    swapped = {"X-GHL-Signature": older()["X-WH-Signature"]}

    assert not verify(RAW, swapped, BOTH)
    assert not verify(RAW, {"X-WH-Signature": newer()["X-GHL-Signature"]}, BOTH)
