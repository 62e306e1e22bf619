"""How what is wished, what was last carried out and what HighLevel shows differ, field by field.
Pure: nothing here asks HighLevel or writes a row."""

import re
from datetime import datetime
from typing import Any

from appointments.times import instant
from ghl.types import CHANGE_FIELDS, Appointment

Fields = dict[str, Any]

CANCELLED, INVALID = "cancelled", "invalid"
# An appointment with one of these takes nobody's time.
ENDINGS = (CANCELLED, INVALID)
TIMES = frozenset({"start_time", "end_time"})
NO_FRACTION = re.compile(r"\.0{1,9}(?=Z|[+-])")
# They say how a call is to be made and are no property of the appointment.
OPTIONS = ("ignore_date_range", "to_notify", "ignore_free_slot_validation")
CHANGEABLE = tuple(name for name in CHANGE_FIELDS if name not in {*OPTIONS, "rrule"})
SHOWN = (
    "calendar_id", "start_time", "end_time", "title", "meeting_location_type", "appointment_status",
    "assigned_user_id", "address", "description",
)  # fmt: skip


def shown(appointment: Appointment) -> Fields:
    """What HighLevel shows of it, under the wish's names; what it left out is left out.

    Times without a fraction, which HighLevel may write and refuses to be sent.
    """
    values = {name: getattr(appointment, name) for name in (*SHOWN, "rrule")}
    seen = {name: value for name, value in values.items() if value is not None}
    return {name: NO_FRACTION.sub("", seen[name]) if name in TIMES else seen[name] for name in seen}


def same(name: str, one: Any, other: Any) -> bool:
    """Whether two values of a field mean the same; HighLevel writes a time back in the location's zone."""
    if one == other or name not in TIMES or one is None or other is None:
        return bool(one == other)
    try:
        return instant(one) == instant(other)
    except ValueError:
        return False


def unsent(wish: Fields, synced: Fields) -> Fields:
    """The wished fields that HighLevel has not been given yet."""
    return {
        name: wish[name]
        for name in CHANGEABLE
        if name in wish and not same(name, wish[name], synced.get(name))
    }


def options(wish: Fields) -> Fields:
    return {name: wish[name] for name in OPTIONS if name in wish}


def is_cancelled(found: Appointment) -> bool:
    return found.deleted or found.appointment_status == CANCELLED


def is_as_sent(found: Appointment, sent: Fields) -> bool:
    """Whether nobody has moved, changed or cancelled what a create made, as far as HighLevel shows it."""
    seen = shown(found)
    return not is_cancelled(found) and all(
        same(name, seen[name], sent[name]) for name in SHOWN if name in seen and name in sent
    )


def has_landed(sent: Fields, before: Fields, found: Fields) -> bool:
    """Whether a change was carried out: something that it alone can have changed is as it was sent.

    Not all of it, for somebody may have changed some of it again.
    """
    telling = [name for name in SHOWN if name in sent and not same(name, before.get(name), sent[name])]
    return any(name in found and same(name, found[name], sent[name]) for name in telling)


def synced_after(wish: Fields, synced: Fields, sent: Fields) -> Fields:
    """What was not asked for is not a wish: the status that was only passed through stays HighLevel's."""
    return {**synced, **{name: sent[name] for name in sent if name in wish}}


def known_after(known: Fields, sent: Fields, seen: Fields) -> Fields:
    """What was not sent stays as it was read, so that somebody else's change meanwhile is noticed yet."""
    told = {*sent, *TIMES} if TIMES & sent.keys() else {*sent}
    # What was sent, or moved with it, and is not shown in the answer is known no more: what was sent last counts.
    kept = {name: value for name, value in known.items() if name not in told or name in seen}
    return {**kept, **{name: seen[name] for name in SHOWN if name in told and name in seen}}


def without_unseen(synced: Fields, sent: Fields) -> Fields:
    """Without what was sent and HighLevel does not show: whether it has that cannot be seen, so it is sent again."""
    return {name: value for name, value in synced.items() if name in SHOWN or name not in sent}


def taken_back(wish: Fields, synced: Fields) -> Fields:
    """The wish without what HighLevel has not been given, the options of that call included."""
    changed = {*CHANGEABLE, *OPTIONS}
    return {
        name: synced.get(name, value) for name, value in wish.items() if name in synced or name not in changed
    }


def taken_over(wish: Fields, synced: Fields, known: Fields, found: Fields) -> Fields:
    """What somebody changed in HighLevel since we last looked, but for fields with a newer wish of the tenant's.

    What was neither seen nor sent before is no change: answers to a create show less than those to a look.
    """
    before = {**synced, **known}
    changed = {
        name: found[name]
        for name in SHOWN
        if name in found and name in before and not same(name, found[name], before[name])
    }
    newer = unsent(wish, synced)
    return {name: value for name, value in changed.items() if name not in newer}


def is_news(found: Fields, before: Fields, *, is_first: bool = False) -> bool:
    """Whether HighLevel shows other than was known before; of its very `first` state only what was seen before."""
    return any(
        not same(name, value, before[name]) if name in before else not is_first
        for name, value in found.items()
        if name in SHOWN
    )


def is_no_newer(one: datetime | None, other: datetime | None) -> bool:
    """Whether one state of HighLevel's is surely no newer than another. Two within a whole second cannot be told."""
    if one is None or other is None:
        return False
    return one <= other if one.microsecond else one < other.replace(microsecond=0)


def wish_columns(wish: Fields) -> Fields:
    """A booking's wish and the columns that mirror it."""
    return {"wish": wish, "calendar_id": wish["calendar_id"], "starts_at": instant(wish["start_time"])}
