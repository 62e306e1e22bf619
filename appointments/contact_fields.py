"""What a contact's fields may hold, where HighLevel would refuse or misread the rest: each check gives the text back
as it came, or raises ValueError. E-mail addresses and phone numbers are in addresses.py."""

import re
from datetime import date
from functools import cache
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from ghl.types import COUNTRIES


def check_country(text: str) -> str:
    if text not in COUNTRIES:
        raise ValueError("This is no country's code of two letters (ISO 3166-1).")
    return text


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())


def check_timezone(text: str) -> str:
    if text not in _timezones():
        raise ValueError("This is no time zone's name in the IANA database.")
    return text


# https://marketplace.gohighlevel.com/docs/ghl/contacts/create-contact
YEAR_FIRST = re.compile(r"([0-9]{4})([-/._])([0-9]{2})\2([0-9]{2})")
YEAR_LAST = re.compile(r"([0-9]{2})([-/._])([0-9]{2})\2([0-9]{4})")


def check_birthday(text: str) -> str:
    if match := YEAR_FIRST.fullmatch(text):
        year, month, day = match.group(1, 3, 4)
    elif match := YEAR_LAST.fullmatch(text):
        month, day, year = match.group(1, 3, 4)
    else:
        raise ValueError("Write a date as YYYY-MM-DD or MM-DD-YYYY; `/`, `.` and `_` may stand for `-`.")
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        raise ValueError("There is no such date.") from None
    return text


# For the API's schema: what a pattern can say of these.
COUNTRY = f"^(?:{'|'.join(sorted(COUNTRIES))})$"
MONTH, DAY = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
BIRTHDAY = "^(?:{})$".format(
    "|".join(
        f"[0-9]{{4}}{mark}{MONTH}{mark}{DAY}|{MONTH}{mark}{DAY}{mark}[0-9]{{4}}"
        for mark in ("-", "/", r"\.", "_")
    )
)
TIMEZONE = "^[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*$"
WEBSITE = r"^\S+\.\S+$"


def check_website(text: str) -> str:
    try:
        read = urlsplit(text if "//" in text else f"//{text}")
    except ValueError:
        raise ValueError("This is no address of a website.") from None
    is_web = read.scheme in {"", "http", "https"} and "." in (read.hostname or "")
    if not is_web or not text.isprintable() or " " in text:
        raise ValueError("This is no address of a website.")
    return text
