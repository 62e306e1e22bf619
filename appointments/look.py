"""The look: what became of a create whose outcome is unknown. It searches for what was sent, not for what is
wished by now (rule 5), and believes "not found" only once HighLevel can no longer be busy with it (rule 6)."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from appointments import differences, recurrence
from appointments.attempts import CREATE, Attempt, NotNow
from appointments.models import Booking, Intent
from appointments.times import instant
from ghl.errors import AppointmentNotFound
from ghl.letters import parse_letter
from ghl.types import Appointment
from oauth import upstream
from webhooks.models import Letter

AROUND = timedelta(minutes=1)
# HighLevel's clock and ours may differ by this much; an older appointment was not made by our call.
CLOCKS_DIFFER = timedelta(seconds=60)
FIRST_LOOK_AFTER = timedelta(seconds=1)
ENOUGH_LOOKS = 2
# Of a contact's appointments, by their own ids, in one look.
MOST_READ = 20


def settle_time() -> timedelta:
    return timedelta(seconds=settings.GHL_SETTLE_SECONDS)


def find(attempt: Attempt, sent: dict[str, Any], since: datetime) -> list[tuple[Appointment, bool]]:
    """The appointments that a create with the fields `sent` may have made and that no booking owns, likeliest first,
    each with whether it is there as it was sent.

    Those at their place, oldest first; where there is none, one that somebody has moved, cancelled or deleted since
    (rule 5): what a letter told of, or what the contact has elsewhere. Raises NotNow where something else is to be
    found out first.
    """
    booking = attempt.booking
    if sent.get("rrule"):
        _await_other_series(booking, sent)
    at_its_place = _unowned(each for each in _listed(attempt, sent) if is_match(each, booking, sent, since))
    if not at_its_place and (told_of := _told_of(booking, sent, since)):
        return [(each, False) for each in told_of]
    found = at_its_place or _moved(attempt, sent, since)
    return [(each, differences.is_as_sent(each, sent)) for each in found]


def _listed(attempt: Attempt, sent: dict[str, Any]) -> list[Appointment]:
    first, last = _between(attempt.booking, sent)
    return attempt.ask(
        lambda token: upstream.client().events(
            token,
            location_id=sent["location_id"],
            calendar_id=sent["calendar_id"],
            start=first - AROUND,
            end=last + AROUND,
            calls=attempt.calls,
        )
    )


def is_match(found: Appointment, booking: Booking, sent: dict[str, Any], since: datetime) -> bool:
    """Whether it is where a create with these fields put it, and was not there before."""
    first, last = _between(booking, sent)
    begins_there = found.starts_at == first or bool(
        found.is_of_a_series and found.starts_at and first <= found.starts_at <= last
    )
    at_its_place = begins_there and found.calendar_id in (None, sent["calendar_id"])
    return at_its_place and _may_be_ours(found, sent, since)


def _told_of(booking: Booking, sent: dict[str, Any], since: datetime) -> list[Appointment]:
    """What HighLevel wrote of as it was made, wherever it is by now; the newest first, which is likeliest ours."""
    letters = Letter.objects.created_for(booking.location_id, sent["contact_id"])
    made = (parse_letter(each.body).appointment for each in letters)
    return _unowned(each for each in made if each and is_match(each, booking, sent, since))[::-1]


def _between(booking: Booking, sent: dict[str, Any]) -> tuple[datetime, datetime]:
    """Where it may begin: a series whose rule first comes later than its start has no instance there."""
    if not sent.get("rrule"):
        return (instant(sent["start_time"]),) * 2
    firsts = recurrence.first_starts(sent["rrule"], sent["start_time"], booking.location.timezone)
    return min(firsts), max(firsts)


def _await_other_series(booking: Booking, sent: dict[str, Any]) -> None:
    """One instance shows a whole series: that of an earlier one, of unknown outcome too, would pass for ours.

    Of two such series only the later one waits. Others of the same start are twins, which rule 8 keeps apart.
    """
    unsure = _unsure_creates(booking).filter(
        status__in=Booking.WAITING, intent__calendar_id=sent["calendar_id"]
    )
    series = [each.intent for each in unsure if each.intent and each.intent.get("rrule")]
    if any(instant(each["start_time"]) < instant(sent["start_time"]) for each in series):
        raise NotNow("an earlier series' outcome is unknown", FIRST_LOOK_AFTER)


def _may_be_ours(found: Appointment, sent: dict[str, Any], since: datetime) -> bool:
    # An rrule may come to nothing in HighLevel, but nothing comes to a series without one.
    possible = bool(sent.get("rrule")) or not found.is_of_a_series
    is_theirs = found.contact_id == sent["contact_id"]
    return is_theirs and possible and not found.deleted and not _is_older(found, since)


def _is_older(found: Appointment, since: datetime) -> bool:
    """Whether it was surely there before. What HighLevel wrote without a date, or without an offset, may be new."""
    return found.added_by is not None and found.added_by < since - CLOCKS_DIFFER


def _moved(attempt: Attempt, sent: dict[str, Any], since: datetime) -> list[Appointment]:
    """What the contact has elsewhere by now, unless it is another booking's of theirs.

    Their list writes dates without an offset and may leave much out, so nothing of it is judged by what the list
    says but its age: each is read by its own id.
    """
    listed = attempt.ask(
        lambda token: upstream.client().contact_appointments(token, sent["contact_id"], calls=attempt.calls)
    )
    new = _unowned(each for each in listed if not each.deleted and not _is_older(each, since))
    read = (_read(attempt, each) for each in sorted(new, key=_newness, reverse=True)[:MOST_READ])
    ours = (each for each in read if each and _has_moved(each, sent, since))
    found = [each for each in _unowned(ours) if not _may_be_anothers(attempt.booking, each)]
    return sorted(found, key=lambda each: each.title != sent.get("title"))


def _newness(found: Appointment) -> datetime:
    """For an order: what has no date may be the newest of all."""
    return found.added_by or datetime.max.replace(tzinfo=UTC)


def _read(attempt: Attempt, found: Appointment) -> Appointment | None:
    try:
        return attempt.read(found.id)
    except AppointmentNotFound:
        return None  # deleted since


def _has_moved(found: Appointment, sent: dict[str, Any], since: datetime) -> bool:
    """Whether the create may have made it and somebody changed it since, for what nobody changed was made as it is.

    Where its dates do not tell, the title must be the one that was sent: staff rarely changes both at once.
    """
    if found.was_changed is None and found.title != sent.get("title", found.title):
        return False
    return found.was_changed is not False and _may_be_ours(found, sent, since)


def _may_be_anothers(booking: Booking, found: Appointment) -> bool:
    """Whether it stands where another create of unknown outcome wants it: that one's look is to have it."""
    others = _unsure_creates(booking)
    if found.starts_at is None:
        return others.exists()
    return any(instant(each.intent["start_time"]) == found.starts_at for each in others if each.intent)


def _unsure_creates(booking: Booking) -> QuerySet[Booking]:
    """What else was sent for the same contact, of unknown outcome too."""
    unsure = Booking.objects.filter(
        location_id=booking.location_id, intent_open=True, intent_operation=CREATE
    )
    return unsure.filter(contact_id=booking.contact_id).exclude(pk=booking.pk)


def _unowned(found: Iterable[Appointment]) -> list[Appointment]:
    """Of a series the series itself, which is what HighLevel answers a create with, not each instance."""
    whole: dict[str, Appointment] = {}
    for each in found:
        whole.setdefault(each.whole_id, replace(each, id=each.whole_id))
    owned = set(Booking.objects.filter(appointment_id__in=whole).values_list("appointment_id", flat=True))
    return sorted((each for each in whole.values() if each.id not in owned), key=_age)


def _age(found: Appointment) -> str:
    return found.date_added.isoformat() if found.date_added else ""


def next_look(intent: Intent, now: datetime, looks: int) -> timedelta | None:
    """How long until the next look: soon at first, then at three times the distance, the last when all is settled.

    None where "not found" is to be believed: after two looks, of which the last was after that moment (rule 6).
    """
    left = intent.call_deadline + settle_time() - now
    if left <= timedelta(0):
        return None if looks >= ENOUGH_LOOKS else FIRST_LOOK_AFTER
    return min(max(FIRST_LOOK_AFTER, 2 * (now - intent.at)), left)
