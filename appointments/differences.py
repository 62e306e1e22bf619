"""How what is wished, what was last carried out and what HighLevel shows differ, field by field.
Pure: nothing here asks HighLevel or writes a row."""

from typing import Any

from appointments.times import instant
from ghl.types import CHANGE_FIELDS, Appointment

Fields = dict[str, Any]

TIMES = frozenset({"start_time", "end_time"})
# They say how a call is to be made and are no property of the appointment.
OPTIONS = ("ignore_date_range", "to_notify", "ignore_free_slot_validation")
CHANGEABLE = tuple(name for name in CHANGE_FIELDS if name not in {*OPTIONS, "rrule"})
SHOWN = (
    "calendar_id", "start_time", "end_time", "title", "meeting_location_type", "appointment_status",
    "assigned_user_id", "address", "description",
)  # fmt: skip


def shown(appointment: Appointment) -> Fields:
    """What HighLevel shows of it, under the wish's names; what it left out is left out."""
    values = {name: getattr(appointment, name) for name in (*SHOWN, "rrule")}
    return {name: value for name, value in values.items() if value is not None}


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


def properties(sent: Fields) -> Fields:
    """What was sent without the options."""
    return {name: value for name, value in sent.items() if name not in OPTIONS}


def has(found: Fields, sent: Fields) -> bool:
    """Whether HighLevel shows all that was sent. What it does not show at all it may have or not: no."""
    return all(name in found and same(name, found[name], value) for name, value in properties(sent).items())


def taken_back(wish: Fields, synced: Fields) -> Fields:
    """The wish without what HighLevel has not been given."""
    gone = unsent(wish, synced)
    kept = {name: value for name, value in wish.items() if name not in gone}
    return {**kept, **{name: synced[name] for name in gone if name in synced}}


def taken_over(wish: Fields, synced: Fields, known: Fields, found: Fields) -> Fields:
    """What somebody changed in HighLevel since we last looked, but for fields with a newer wish of the tenant's.

    What is seen for the first time is no change: answers to a create show less than those to a look.
    """
    changed = {
        name: found[name]
        for name in SHOWN
        if name in found and name in known and not same(name, found[name], known[name])
    }
    newer = unsent(wish, synced)
    return {name: value for name, value in changed.items() if name not in newer}


def wish_columns(wish: Fields) -> Fields:
    """A booking's wish and the columns that mirror it."""
    return {"wish": wish, "calendar_id": wish["calendar_id"], "starts_at": instant(wish["start_time"])}
