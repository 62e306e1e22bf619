"""Judgement: what tenants were promised, what the API says became of it, and what stands in the sandbox's books.
Nothing here talks to anybody; where the three come from is runs.py."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.chaos.tenants import Record

INACTIVE = ("cancelled", "invalid")
ENDED = ("rejected", "failed", "cancelled")
Shown = dict[str, Any]
# What staff changes it by.
STAFFS = {"startTime": "start_time", "title": "title"}


@dataclass(frozen=True)
class Verdict:
    """`lost` says why, `doubled` how; None is as it should be. `delay_seconds`: from the last wish to its end."""

    record: Record
    status: str | None
    lost: str | None
    doubled: str | None
    delay_seconds: float | None

    @property
    def accepted(self) -> bool:
        return self.status is not None or self.record.booking_id is not None

    @property
    def good(self) -> bool:
        return self.lost is None and self.doubled is None


def judge(
    records: Iterable[Record], bookings: Iterable[Shown], appointments: Iterable[Shown]
) -> list[Verdict]:
    known, standing = _by_token(bookings), _by_token(_active(appointments))
    return [_judged(record, known[record.errand.token], standing[record.errand.token]) for record in records]


def is_finished(booking: Shown) -> bool:
    return booking["status"] in ENDED or (booking["status"] == "booked" and booking["inSync"])


def token_of(title: str) -> str:
    """Every title begins with `Chaos` and the token of its errand."""
    return title.split(" ")[1] if title.startswith("Chaos ") else ""


def _by_token(entries: Iterable[Shown]) -> defaultdict[str, list[Shown]]:
    found: defaultdict[str, list[Shown]] = defaultdict(list)
    for entry in entries:
        found[token_of(entry["title"])].append(entry)
    return found


def _active(appointments: Iterable[Shown]) -> list[Shown]:
    """Of a series the first occurrence that stands, under the id that a booking knows it by."""
    found: dict[str, Shown] = {}
    for each in appointments:
        number = each.get("masterEventId") or each["id"]
        earliest = number not in found or _instant(each["startTime"]) < _instant(found[number]["startTime"])
        if each["appointmentStatus"] not in INACTIVE and earliest:
            found[number] = {**each, "id": number}
    return list(found.values())


def _judged(record: Record, bookings: list[Shown], standing: list[Shown]) -> Verdict:
    booking = bookings[0] if bookings else None
    doubled = None
    if len(bookings) > 1:
        doubled = f"one key made {len(bookings)} bookings"
    elif len(standing) > 1:
        doubled = f"{len(standing)} appointments stand: {', '.join(each['id'] for each in standing)}"
    if booking is None:
        return Verdict(record, None, _lost_without_booking(record, standing), doubled, None)
    return Verdict(
        record, booking["status"], _lost(record, booking, standing), doubled, _delay(record, booking)
    )


def _lost_without_booking(record: Record, standing: list[Shown]) -> str | None:
    if record.booking_id:
        return "accepted, and unknown to the API"
    return "an appointment stands that no booking is for" if standing else None


def _lost(record: Record, booking: Shown, standing: list[Shown]) -> str | None:
    if not is_finished(booking):
        return f"still {booking['status']}, inSync {booking['inSync']}"
    if booking["status"] in ENDED:
        return _lost_at_its_end(record, booking, standing)
    if record.cancelled:
        return "its cancel was accepted, and it is booked"
    return _lost_in_the_books(record, booking, standing)


def _lost_at_its_end(record: Record, booking: Shown, standing: list[Shown]) -> str | None:
    if standing:
        return f"{booking['status']}, and appointment {standing[0]['id']} stands"
    asked = record.is_ended_by_staff or any(step.kind == "cancel" for step in record.errand.steps)
    if booking["status"] == "cancelled" and not asked:
        return "cancelled, and nobody has asked for that"
    return None


def _lost_in_the_books(record: Record, booking: Shown, standing: list[Shown]) -> str | None:
    has = next((each for each in standing if each["id"] == booking["appointmentId"]), None)
    if has is None:
        return f"booked, and no active appointment {booking['appointmentId']} has its title"
    for name, read in (("appointmentStatus", str), ("startTime", _instant), ("title", str)):
        if read(has[name]) != read(booking[name]):
            return f"HighLevel has {name} {has[name]}, the booking {booking[name]}"
    for name, read in (("startTime", _instant), ("title", str)):
        possible = _possible(record, booking, name)
        if read(booking[name]) not in {read(each) for each in possible}:
            return f"{name} is {booking[name]}, and the last accepted wish was {possible[-1]}"
    return None


def _possible(record: Record, booking: Shown, name: str) -> list[str]:
    """The last accepted wish; with an error any of them, for a change that was refused is taken back and says so.

    Or what staff made of it, before or after.
    """
    by_staff = [act[STAFFS[name]] for act in record.staff if STAFFS[name] in act]
    if not record.wishes:  # never answered: it is what was posted
        return [*by_staff, record.errand.body[name]]
    accepted = record.wishes if booking["error"] else record.wishes[-1:]
    return [*by_staff, *(each[name] for each in (*record.doubtful, *accepted))]


def _delay(record: Record, booking: Shown) -> float | None:
    # What staff did later came later.
    if not is_finished(booking) or record.staff:
        return None
    wished_at = max(filter(None, (_instant(booking["createdAt"]), record.last_wish_at)))
    return max(0.0, (_instant(booking["updatedAt"]) - wished_at).total_seconds())


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
