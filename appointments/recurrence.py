"""Recurrences: what an rrule says, whether it can be meant, and when its series comes next.
HighLevel makes the instances itself; nothing here is sent to it."""

import re
from calendar import isleap, monthrange
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import islice
from math import prod
from typing import Self, cast
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rrulestr

from appointments.times import instant

SHOWN_AT_ONCE = 5
LONGEST = 10_000
MOST_TIMES_A_DAY = 100
# What one step of a rule goes through grows with the product of its parts' values, and again with BYSETPOS.
MOST_VALUES, MOST_POSITIONS = 1_000, 31
# As far as anybody looks into a rule: some thirty years of days, or so many starts.
FARTHEST = 10_000
# Days that one step of a rule goes through; whatever comes more often than daily goes through one day too.
DAYS = {"YEARLY": 366, "MONTHLY": 31, "WEEKLY": 7, "DAILY": 1}

WITHIN_DAYS = ("SECONDLY", "MINUTELY", "HOURLY")
FREQUENCIES = (*WITHIN_DAYS, *DAYS)
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
# Lowest and highest value of each BY part of whole numbers; those of the second table count from the end, too.
RANGES = {"BYSECOND": (0, 59), "BYMINUTE": (0, 59), "BYHOUR": (0, 23), "BYMONTH": (1, 12)}
SIGNED_RANGES = {"BYMONTHDAY": 31, "BYYEARDAY": 366, "BYWEEKNO": 53, "BYSETPOS": 366}
BY_PARTS = (*RANGES, *SIGNED_RANGES, "BYDAY")
# RFC 5545, 3.3.10: the frequencies that a part must not come with.
NOT_WITH = {
    "BYMONTHDAY": ("WEEKLY",),
    "BYYEARDAY": ("DAILY", "WEEKLY", "MONTHLY"),
    "BYWEEKNO": tuple(each for each in FREQUENCIES if each != "YEARLY"),
}
NAMES = frozenset({"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", *BY_PARTS})
# Of a rule that comes more often than daily: what is asked of the wall clock, and not counted in steps of time.
WALL_CLOCK_PARTS = ("BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYDAY", "BYHOUR")
RULE = re.compile(r"(?:RRULE:)?((?:[A-Z]+=[A-Z0-9,+-]+)(?:;[A-Z]+=[A-Z0-9,+-]+)*)", re.ASCII | re.IGNORECASE)
WHOLE = re.compile(r"[+-]?\d{1,3}", re.ASCII)
DAY = re.compile(r"(?P<nth>[+-]?\d{1,2})?(?P<day>MO|TU|WE|TH|FR|SA|SU)", re.ASCII)
# Of nought dateutil makes a rule that never ends.
NUMBER = re.compile(r"0*[1-9]\d{0,5}", re.ASCII)
IN_UTC = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
LOCAL = re.compile(r"\d{8}T\d{6}", re.ASCII)
EXDATE = re.compile(
    r"EXDATE(?:;VALUE=DATE-TIME|;TZID=(?P<zone>[^:;]+))*:(?P<moments>[0-9TZ, ]+)", re.ASCII | re.IGNORECASE
)

# For the API's schema: FREQ first and all in capitals, as RFC 5545 asks of writers; readers are not so strict.
_DAYS_OF_WEEK = "(?:MO|TU|WE|TH|FR|SA|SU)"
_PARTS = (
    "(?:INTERVAL|COUNT)=0*[1-9][0-9]{0,5}",
    "UNTIL=[0-9]{8}T[0-9]{6}Z",
    f"WKST={_DAYS_OF_WEEK}",
    f"BYDAY=(?:[+-]?[0-9]{{1,2}})?{_DAYS_OF_WEEK}(?:,(?:[+-]?[0-9]{{1,2}})?{_DAYS_OF_WEEK})*",
    f"(?:{'|'.join((*RANGES, *SIGNED_RANGES))})=[+-]?[0-9]{{1,3}}(?:,[+-]?[0-9]{{1,3}})*",
)
_MOMENT = "[0-9]{8}T[0-9]{6}Z?"
PATTERN = (
    f"^(?:RRULE:)?FREQ=(?:{'|'.join(FREQUENCIES)})(?:;(?:{'|'.join(_PARTS)}))*"
    f"(?:\\nEXDATE(?:;VALUE=DATE-TIME|;TZID=[A-Za-z0-9_+/-]+)*:{_MOMENT}(?:,{_MOMENT})*)*$"
)

NO_RULE = "This is not an RRULE of RFC 5545, such as FREQ=WEEKLY;COUNT=4."
NO_DTSTART = "Leave DTSTART out: a series begins with startTime."
ONLY_EXDATES = "One RRULE, and after it nothing but EXDATE lines."
NO_EXDATE = "EXDATE holds moments in UTC or with a TZID, such as EXDATE:20270624T220000Z."
NO_UNTIL = "UNTIL must be a moment in UTC, such as UNTIL=20270701T000000Z."
NO_END = "What comes more often than daily must end soon: give it a COUNT or an UNTIL."
TOO_OFTEN = f"BYHOUR, BYMINUTE and BYSECOND make more than {MOST_TIMES_A_DAY} starts a day."
TOO_MANY_VALUES = (
    f"BYSETPOS has at most {MOST_POSITIONS} values; those of the other BY parts multiply to {MOST_VALUES}."
)
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
        return self.parts["FREQ"] in WITHIN_DAYS

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
        """In UTC, each once, by the clock of `begin`'s zone: nine o'clock stays nine o'clock.

        What comes more often than daily comes after equal times, whatever is done to the clocks.

        Raises TooFar, or ValueError for what turns out to be no rule.
        """
        last = None
        try:
            for number, start in enumerate(self._rule(begin)):
                if number >= FARTHEST:
                    raise TooFar
                at = start.astimezone(UTC)
                # A time that the clocks skip is an hour later, where there may be one already.
                if at != last and at not in self.exceptions:
                    yield at
                last = at
        except OverflowError as error:  # the year 9999
            raise TooFar from error
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(NO_RULE) from error  # dateutil raises what it happens to meet

    def _rule(self, begin: datetime) -> Iterator[datetime]:
        if not self.is_within_days:
            return self._stepped(self.parts, begin)
        # In steps of time at the offset of the beginning; the wall clock decides which of them count.
        parts = {name: self.parts[name] for name in self.parts if name not in (*WALL_CLOCK_PARTS, "COUNT")}
        fixed = begin.replace(tzinfo=timezone(begin.utcoffset() or timedelta(0)))
        steps = (step for step in self._stepped(parts, fixed) if self._is_on(step.astimezone(begin.tzinfo)))
        return islice(steps, int(self.parts["COUNT"])) if "COUNT" in self.parts else steps

    def _stepped(self, parts: dict[str, str], begin: datetime) -> Iterator[datetime]:
        text = ";".join(f"{name}={value}" for name, value in parts.items())
        rule = cast("rrule", rrulestr(text, dtstart=begin))
        steps = FARTHEST // DAYS.get(parts["FREQ"], 1)
        return iter(rule.replace(interval=_Stride(parts.get("INTERVAL", "1"), steps)))

    def _is_on(self, wall: datetime) -> bool:
        """Whether the wall clock shows what the rule asks of it."""
        days_of_month, days_of_year = monthrange(wall.year, wall.month)[1], 366 if isleap(wall.year) else 365
        day_of_year = wall.timetuple().tm_yday
        shown = {
            "BYMONTH": (wall.month,),
            "BYMONTHDAY": (wall.day, wall.day - days_of_month - 1),
            "BYYEARDAY": (day_of_year, day_of_year - days_of_year - 1),
            "BYDAY": (WEEKDAYS[wall.weekday()],),
            "BYHOUR": (wall.hour,),
        }
        return all(
            any(str(each) in self.parts[name].split(",") for each in values)
            for name, values in shown.items()
            if name in self.parts
        )


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
    if parts.get("FREQ") not in FREQUENCIES or len(parts) < len(pairs) or not parts.keys() <= NAMES:
        raise ValueError(NO_RULE)
    if not all(NUMBER.fullmatch(parts.get(name, "1")) for name in ("INTERVAL", "COUNT")):
        raise ValueError("INTERVAL and COUNT are whole numbers from 1 to 999999.")
    if "UNTIL" in parts:
        _check_until(parts)
    if parts.get("WKST", "MO") not in WEEKDAYS:
        raise ValueError("WKST is one of MO, TU, WE, TH, FR, SA, SU.")
    values = {name: _values(name, parts[name]) for name in BY_PARTS if name in parts}
    _check_combinations(parts, values)
    return {**parts, **{name: ",".join(each) for name, each in values.items()}}


def _check_until(parts: dict[str, str]) -> None:
    if "COUNT" in parts:
        raise ValueError("A rule has a COUNT or an UNTIL, not both.")
    if not IN_UTC.fullmatch(parts["UNTIL"]):
        raise ValueError(NO_UNTIL)
    try:
        datetime.fromisoformat(parts["UNTIL"])
    except ValueError:
        raise ValueError(NO_UNTIL) from None


def _values(name: str, written: str) -> list[str]:
    """The values of a BY part, each once and written in one way. Raises ValueError for one that it cannot have."""
    texts = written.split(",")
    if name == "BYDAY":
        days = [DAY.fullmatch(text) for text in texts]
        if not all(day and (day["nth"] is None or 1 <= abs(int(day["nth"])) <= 53) for day in days):
            raise ValueError(
                "BYDAY has weekdays such as MO, with MONTHLY and YEARLY also 1MO or -1MO (1 to 53)."
            )
        return list(
            dict.fromkeys(f"{int(day['nth']) if day['nth'] else ''}{day['day']}" for day in days if day)
        )
    lowest, highest = RANGES.get(name) or (1, SIGNED_RANGES[name])
    numbers = [int(text) if WHOLE.fullmatch(text) else None for text in texts]
    signed = name in SIGNED_RANGES
    if not all(each is not None and lowest <= (abs(each) if signed else each) <= highest for each in numbers):
        to = f"{lowest} to {highest}" + (f" or -{highest} to -1" if signed else "")
        raise ValueError(f"{name} has whole numbers from {to}.")
    return list(dict.fromkeys(str(each) for each in numbers))


def _check_combinations(parts: dict[str, str], values: dict[str, list[str]]) -> None:
    """What RFC 5545, 3.3.10 says of parts beside each other, and how much work they may make together."""
    freq = parts["FREQ"]
    for name, frequencies in NOT_WITH.items():
        if name in values and freq in frequencies:
            raise ValueError(f"{name} must not be used with FREQ={freq}.")
    if any(len(day) > 2 for day in values.get("BYDAY", [])) and (
        freq not in ("MONTHLY", "YEARLY") or "BYWEEKNO" in values
    ):
        raise ValueError("BYDAY has numbers only with FREQ=MONTHLY or YEARLY, and not beside BYWEEKNO.")
    if "BYSETPOS" in values and len(values) == 1:
        raise ValueError("BYSETPOS needs another BY part.")
    counts = {name: len(each) for name, each in values.items()}
    if prod(counts.get(name, 1) for name in ("BYHOUR", "BYMINUTE", "BYSECOND")) > MOST_TIMES_A_DAY:
        raise ValueError(TOO_OFTEN)
    positions = counts.pop("BYSETPOS", 1)
    if positions > MOST_POSITIONS or prod(counts.values()) > MOST_VALUES:
        raise ValueError(TOO_MANY_VALUES)


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
