"""E-mail addresses and phone numbers: which texts are one, and the key that all spellings of one share.
Who is found by them is in contacts.py."""

import hashlib
import re
import unicodedata
from typing import Any

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from phonenumbers import PhoneNumber, PhoneNumberFormat, ValidationResult

# As wide as `ContactMatch.address`: 64 characters, of which each may become three, @, and a domain.
MAX_KEY_LENGTH = 512
PHONE_CHARACTERS = re.compile(r"\+?[0-9 ()./-]+")
# E.164 allows 15 digits; fewer than 7 are an extension, or a number of a network's own.
MIN_PHONE_DIGITS, MAX_PHONE_DIGITS = 7, 15


def check_email(text: str) -> str:
    """The e-mail address as it came. Raises ValueError.

    Refuses what looks like another address than it is (blank, invisible and compatibility characters), a name beside
    the address, and several addresses. Whether the domain takes mail is not asked.
    """
    if any(unicodedata.category(character)[0] in "CZ" for character in text):
        raise ValueError("An e-mail address holds no blank, invisible or control characters.")
    if unicodedata.normalize("NFKC", text) != unicodedata.normalize("NFC", text):
        raise ValueError("An e-mail address holds no full-width or other compatibility characters.")
    try:
        validate_email(text, check_deliverability=False, strict=True)
    except EmailNotValidError as error:
        raise ValueError(f"This is no e-mail address: {error}") from None
    return text


def check_phone(text: str, country: str) -> str:
    """The phone number as it came. `country` is the location's, or empty. Raises ValueError."""
    if phone_number(text, country) is None:
        raise ValueError("This is no phone number: give one, best with + and its country's code.")
    return text


def phone_number(text: str, country: str) -> str | None:
    """The number in E.164; its digits alone where its country is not known; None where it is none.

    `country` (ISO 3166, or empty) is that of a number without +: taken as one of there where it is valid, else as an
    international one that lacks its +, where it is valid as that.
    """
    if not PHONE_CHARACTERS.fullmatch(text):
        return None
    digits = re.sub(r"[^0-9]", "", text)
    is_international = text.startswith("+")
    written = _parsed(text, None if is_international else country)
    if written and phonenumbers.is_valid_number(written):
        return _e164(written)
    # Without a country it may be a national number as well.
    if not is_international and country in phonenumbers.SUPPORTED_REGIONS:
        guessed = _parsed(f"+{digits.removeprefix('00')}", None)
        if guessed and phonenumbers.is_valid_number(guessed):
            return _e164(guessed)
    # Numbering plans grow faster than the library.
    if written and _is_possible(written):
        return _e164(written)
    is_unknown = not is_international and country not in phonenumbers.SUPPORTED_REGIONS
    is_plausible = MIN_PHONE_DIGITS <= len(digits) <= MAX_PHONE_DIGITS and "/" not in text
    return digits if is_unknown and is_plausible else None


def _parsed(text: str, country: str | None) -> PhoneNumber | None:
    if country is not None and country not in phonenumbers.SUPPORTED_REGIONS:
        return None
    try:
        return phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return None


def _is_possible(number: PhoneNumber) -> bool:
    """Long enough to be dialled from everywhere, and not too long."""
    return bool(phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE)


def _e164(number: PhoneNumber) -> str:
    return str(phonenumbers.format_number(number, PhoneNumberFormat.E164))


def keys(contact: dict[str, Any], country: str) -> list[str]:
    """What a contact is found by, the e-mail address first; the same texts for all spellings of the same.

    Also of what is no address (any more): it then stands for itself.
    """
    email, phone = contact.get("email"), contact.get("phone")
    found = [f"email:{_email_key(email)}"] if email else []
    if phone:
        number = phone_number(phone, country)
        found.append("phone:" + (number or phone).removeprefix("+"))
    return [_fitting(key) for key in found]


def _email_key(text: str) -> str:
    try:
        read = validate_email(text.strip(), check_deliverability=False)
    except EmailNotValidError:
        return text.strip().casefold()
    return f"{read.local_part.casefold()}@{read.ascii_domain}"


def _fitting(key: str) -> str:
    return key if len(key) <= MAX_KEY_LENGTH else "sha256:" + hashlib.sha256(key.encode()).hexdigest()
