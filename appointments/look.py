"""The look: what became of a create whose outcome is unknown. It searches for what was sent, not for what is
wished by now (rule 5), and believes "not found" only once HighLevel can no longer be busy with it (rule 6)."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from appointments import differences, recurrence, states
from appointments.attempts import CREATE, Attempt, NotNow, call_time, lease_time
from appointments.models import Booking, Intent
from appointments.times import instant
from ghl.errors import AppointmentNotFound, LocationForbidden
from ghl.letters import parse_letter
from ghl.types import Appointment, whole_id
from oauth import upstream
from webhooks.models import Letter

AROUND = timedelta(minutes=1)
# HighLevel's clock and ours may differ by this much; an older appointment was not made by our call.
CLOCKS_DIFFER = timedelta(seconds=60)
FIRST_LOOK_AFTER = timedelta(seconds=1)
ENOUGH_LOOKS = 2
# Of a contact's appointments, by their own ids, in one look.
MOST_READ = 20
# Who makes an appointment is not documented in full; these are surely people.
PEOPLES_SOURCES = frozenset({"booking_widget", "calendar_page"})


def settle_time() -> timedelta:
    return timedelta(seconds=settings.GHL_SETTLE_SECONDS)


class NotAllRead(NotNow):
    """Nothing was found, and the contact has more appointments to be read than one look reads."""

    def __init__(self) -> None:
        super().__init__("not all has been read yet", FIRST_LOOK_AFTER)


def find(attempt: Attempt, sent: dict[str, Any], since: datetime) -> list[tuple[Appointment, bool]]:
    """The appointments that a create with the fields `sent` may have made and that no booking owns, likeliest first,
    each with whether it is there as it was sent.

    Those at their place, oldest first; where there is none, one that somebody has moved, cancelled or deleted since
    (rule 5): what an event told of, or what the contact has elsewhere. Raises NotNow where something else is to be
    found out first.
    """
    booking = attempt.booking
    if sent.get("rrule"):
        _await_other_series(booking, sent)
    at_its_place = _unowned(each for each in _listed(attempt, sent) if is_match(each, booking, sent, since))
    found = at_its_place or _told_of(attempt, sent, since) or _moved(attempt, sent, since)
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


def _told_of(attempt: Attempt, sent: dict[str, Any], since: datetime) -> list[Appointment]:
    """What events say was made there, wherever it is by now; the newest first, which is likeliest ours.

    An event proves nothing, so each is read by its own id. One that HighLevel does not have counts only where another
    event says that it was deleted.
    """
    booking = attempt.booking
    created, deleted = (
        Letter.objects.of_contact(type_, booking.location_id, sent["contact_id"])
        for type_ in ("AppointmentCreate", "AppointmentDelete")
    )
    claimed = (parse_letter(each.body).appointment for each in created)
    there = _unowned(each for each in claimed if each and is_match(each, booking, sent, since))
    gone = {whole_id(each) for each in deleted.values_list("appointment_id", flat=True)} if there else set()
    found = (_verified(attempt, each, each.id in gone) for each in there[: -MOST_READ - 1 : -1])
    return [each for each in found if each and _may_be_ours(replace(each, deleted=False), sent, since)]


def _verified(attempt: Attempt, claimed: Appointment, is_said_to_be_gone: bool) -> Appointment | None:
    try:
        found = _read(attempt, claimed)
    except LocationForbidden:
        return None  # another location's, for the location's own list was answered just before
    return replace(claimed, deleted=True) if found is None and is_said_to_be_gone else found


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
    candidates = sorted(new, key=_newness, reverse=True)
    # One look reads so many and the next ones go on, for all are read before "not found" is believed.
    rounds = -(-len(candidates) // MOST_READ) or 1
    begin = attempt.booking.looks % rounds * MOST_READ
    read = [_read(attempt, each) for each in candidates[begin : begin + MOST_READ]]
    ours = (each for each in read if each and _has_moved(each, sent, since))
    found = [each for each in _unowned(ours) if not _may_be_anothers(attempt.booking, each, sent, since)]
    if not found and begin + MOST_READ < len(candidates):
        raise NotAllRead
    return sorted(found, key=lambda each: each.title != sent.get("title"))


def _newness(found: Appointment) -> tuple[datetime, str]:
    """For an order: what has no date may be the newest of all."""
    return found.added_by or datetime.max.replace(tzinfo=UTC), found.id


def _read(attempt: Attempt, found: Appointment) -> Appointment | None:
    # Each read is a whole call: the lease is to outlive all of them.
    states.keep(attempt.booking, lease_time(), looks=attempt.booking.looks)
    try:
        return attempt.read(found.id)
    except AppointmentNotFound:
        return None  # deleted since


def _has_moved(found: Appointment, sent: dict[str, Any], since: datetime) -> bool:
    """Whether the create may have made it and somebody changed it since, for what nobody changed was made as it is.

    Staff rarely changes the title too: where that is another, its dates must show that it was changed, and that it
    was made by no page of people's and within the time that HighLevel may take for a call.
    """
    if found.title != sent.get("title", found.title) and not (
        found.was_changed and found.source not in PEOPLES_SOURCES and _was_made_by_then(found, since)
    ):
        return False
    return found.was_changed is not False and _may_be_ours(found, sent, since)


def _was_made_by_then(found: Appointment, since: datetime) -> bool:
    until = since + call_time() + settle_time() + CLOCKS_DIFFER
    return found.date_added is None or found.date_added <= until


def _may_be_anothers(booking: Booking, found: Appointment, sent: dict[str, Any], since: datetime) -> bool:
    """Whether another create of unknown outcome is likelier to have made it: that one's look is to have it.

    It is where it stands where the other one wants it, or under its title. Where neither place nor title tells, for
    staff has changed both, it is the one that was sent nearest to when the appointment was made.
    """
    others = _unsure_creates(booking)
    if found.starts_at is None:
        return others.exists()
    return any(
        _is_likelier(found, sent, since, each.intent, each.intent_at)
        for each in others
        if each.intent and each.intent_at
    )


def _is_likelier(
    found: Appointment, sent: dict[str, Any], since: datetime, theirs: dict[str, Any], their_since: datetime
) -> bool:
    our_title, their_title = sent.get("title"), theirs.get("title")
    if instant(theirs["start_time"]) == found.starts_at:
        return True
    if found.title is not None and our_title != their_title and found.title in (our_title, their_title):
        return found.title == their_title
    if not _has_moved(found, theirs, their_since):
        return False
    if found.date_added is None:
        return their_since < since
    return abs(found.date_added - their_since) < abs(found.date_added - since)


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
