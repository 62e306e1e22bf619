"""Recurrences: what an rrule says, whether it can be meant, and when its series comes next.
HighLevel makes the instances itself; nothing here is sent to it."""

import re
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from math import prod
from typing import Self, cast
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rrulestr

from appointments.times import instant

SHOWN_AT_ONCE = 5
LONGEST = 10_000
MOST_TIMES_A_DAY = 100
# As far as anybody looks into a rule: some thirty years of days, or so many starts.
FARTHEST = 10_000
# Days that one step of a rule goes through; whatever comes more often than daily goes through one day too.
DAYS = {"YEARLY": 366, "MONTHLY": 31, "WEEKLY": 7, "DAILY": 1}

NAMES = frozenset({
    "FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYSETPOS", "BYMONTH", "BYWEEKNO", "BYYEARDAY", "BYMONTHDAY",
    "BYDAY", "BYHOUR", "BYMINUTE", "BYSECOND",
})  # fmt: skip
RULE = re.compile(r"(?:RRULE:)?((?:[A-Z]+=[A-Z0-9,+-]+)(?:;[A-Z]+=[A-Z0-9,+-]+)*)", re.ASCII | re.IGNORECASE)
# Of nought dateutil makes a rule that never ends.
NUMBER = re.compile(r"0*[1-9]\d{0,5}", re.ASCII)
IN_UTC = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
LOCAL = re.compile(r"\d{8}T\d{6}", re.ASCII)
EXDATE = re.compile(
    r"EXDATE(?:;VALUE=DATE-TIME|;TZID=(?P<zone>[^:;]+))*:(?P<moments>[0-9TZ, ]+)", re.ASCII | re.IGNORECASE
)

NO_RULE = "This is not an RRULE of RFC 5545, such as FREQ=WEEKLY;COUNT=4."
NO_DTSTART = "Leave DTSTART out: a series begins with startTime."
ONLY_EXDATES = "One RRULE, and after it nothing but EXDATE lines."
NO_EXDATE = "EXDATE holds moments in UTC or with a TZID, such as EXDATE:20270624T220000Z."
NO_UNTIL = "UNTIL must be a moment in UTC, such as UNTIL=20270701T000000Z."
NO_END = "What comes more often than daily must end soon: give it a COUNT or an UNTIL."
TOO_OFTEN = f"BYHOUR, BYMINUTE and BYSECOND make more than {MOST_TIMES_A_DAY} starts a day."
NO_START = "This never comes, or not for decades."


class TooFar(Exception):
    """The rule goes on, but nobody looks any further."""


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A rule's parts, in capitals, and the instants that it leaves out."""

    parts: dict[str, str]
    exceptions: frozenset[datetime]

    @classmethod
    def read(cls, text: str) -> Self:
        """From one RRULE, with or without its name, and EXDATE lines after it. ValueError says what is wrong."""
        if len(text) > LONGEST:
            raise ValueError(f"An rrule has at most {LONGEST:,} characters.")
        lines = [line.strip() for line in text.strip().split("\n")]
        if any(line.upper().startswith("DTSTART") for line in lines):
            raise ValueError(NO_DTSTART)
        return cls(_parts(lines[0]), frozenset(each for line in lines[1:] for each in _exceptions(line)))

    @property
    def is_within_days(self) -> bool:
        """It comes more often than daily."""
        return self.parts["FREQ"] not in DAYS

    def skipped(self, begin: datetime, until: datetime) -> datetime:
        """Where to begin for what comes after `until`: years of days need not be gone through one by one."""
        days = {"DAILY": 1, "WEEKLY": 7}.get(self.parts["FREQ"])
        if days is None or "COUNT" in self.parts:
            return begin
        stride = days * int(self.parts.get("INTERVAL", "1"))
        # A day less, for the wall clock may have been put forward.
        strides = ((until - begin).days - 1) // stride
        return begin + timedelta(days=max(0, strides) * stride)

    def starts(self, begin: datetime) -> Iterator[datetime]:
        """In UTC, as the wall clock of `begin`'s zone has them: nine o'clock stays nine o'clock.

        Raises TooFar, or ValueError for what turns out to be no rule.
        """
        try:
            for number, start in enumerate(self._rule(begin)):
                if number >= FARTHEST:
                    raise TooFar
                if (at := start.astimezone(UTC)) not in self.exceptions:
                    yield at
        except OverflowError as error:  # the year 9999
            raise TooFar from error
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(NO_RULE) from error  # dateutil raises what it happens to meet

    def _rule(self, begin: datetime) -> Iterator[datetime]:
        text = ";".join(f"{name}={value}" for name, value in self.parts.items())
        rule = cast("rrule", rrulestr(text, dtstart=begin))
        steps = FARTHEST // DAYS.get(self.parts["FREQ"], 1)
        return iter(rule.replace(interval=_Stride(self.parts.get("INTERVAL", "1"), steps)))


class _Stride(int):
    """An INTERVAL that can be taken so many times: dateutil looks for the next start up to the year 9999, which for
    a thirtieth of February takes seconds."""

    left: int

    def __new__(cls, interval: str, steps: int) -> Self:
        stride = super().__new__(cls, interval)
        stride.left = steps
        return stride

    def __radd__(self, other: int) -> int:
        return other + self._taken()

    def __mul__(self, other: int) -> int:  # weeks
        return self._taken() * other

    def _taken(self) -> int:
        self.left -= 1
        if self.left < 0:
            raise TooFar
        return int(self)


def _parts(line: str) -> dict[str, str]:
    match = RULE.fullmatch(line)
    pairs = [pair.split("=") for pair in match[1].upper().split(";")] if match else []
    parts: dict[str, str] = dict(pairs)
    if "FREQ" not in parts or len(parts) < len(pairs) or not parts.keys() <= NAMES:
        raise ValueError(NO_RULE)
    if not all(NUMBER.fullmatch(parts.get(name, "1")) for name in ("INTERVAL", "COUNT")):
        raise ValueError("INTERVAL and COUNT are whole numbers from 1 to 999999.")
    if "UNTIL" in parts and not IN_UTC.fullmatch(parts["UNTIL"]):
        raise ValueError(NO_UNTIL)
    if (
        prod(parts.get(name, "").count(",") + 1 for name in ("BYHOUR", "BYMINUTE", "BYSECOND"))
        > MOST_TIMES_A_DAY
    ):
        raise ValueError(TOO_OFTEN)
    return parts


def _exceptions(line: str) -> Iterator[datetime]:
    if not line.upper().startswith("EXDATE"):
        raise ValueError(ONLY_EXDATES)
    match = EXDATE.fullmatch(line)
    if match is None:
        raise ValueError(NO_EXDATE)
    zone = find_zone(match["zone"] or "")
    for moment in match["moments"].upper().split(","):
        yield _exception(moment.strip(), zone)


def _exception(written: str, zone: tzinfo | None) -> datetime:
    # Without either it would be a matter of opinion which start is left out.
    if not (LOCAL if zone else IN_UTC).fullmatch(written):
        raise ValueError(NO_EXDATE)
    try:
        moment = datetime.fromisoformat(written)
        return moment.replace(tzinfo=zone or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(NO_EXDATE) from None


def find_zone(name: str) -> ZoneInfo | None:
    """The IANA time zone of that name, if there is one."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a file name of sorts, and not ours
        return None


def check(text: str, start: str) -> None:
    """Raises ValueError, which says what is wrong with the rule for a series that begins at `start`."""
    recurrence = Recurrence.read(text)
    starts = recurrence.starts(datetime.fromisoformat(start))
    try:
        first = next(starts, None)
        if recurrence.is_within_days:
            deque(starts, maxlen=0)
    except TooFar:
        raise ValueError(NO_END if recurrence.is_within_days else NO_START) from None
    # One that is over already is HighLevel's to judge.
    if first is None and "UNTIL" not in recurrence.parts:
        raise ValueError(NO_START)


def upcoming(text: str, start: str, zone_name: str, now: datetime) -> list[str]:
    """The next starts after `now`, written with the offset of `start`. ValueError where the text is no rule.

    Daylight saving is that of the named zone; where nobody knows the zone there is none.
    """
    recurrence, begin = Recurrence.read(text), _begin(start, zone_name)
    coming = (each for each in _near(recurrence.starts(recurrence.skipped(begin, now))) if each > now)
    return [_written(each, start) for each in islice(coming, SHOWN_AT_ONCE)]


def first_starts(text: str, start: str, zone_name: str) -> set[datetime]:
    """Where a series may have its first instance: at `start`, or where the rule first comes, which may be later and,
    in two zones, on two days."""
    recurrence, firsts = Recurrence.read(text), {instant(start)}
    for zone in ("", zone_name):
        firsts |= set(islice(_near(recurrence.starts(_begin(start, zone))), 1))
    return firsts


def _near(starts: Iterator[datetime]) -> Iterator[datetime]:
    """As far as anybody looks."""
    with suppress(TooFar):
        yield from starts


def _begin(start: str, zone_name: str) -> datetime:
    begin = datetime.fromisoformat(start)
    return begin.astimezone(find_zone(zone_name) or begin.tzinfo)


def _written(moment: datetime, like: str) -> str:
    text = moment.astimezone(datetime.fromisoformat(like).tzinfo).isoformat()
    return text.replace("+00:00", "Z") if like.endswith("Z") else text
