"""The look: what became of a create whose outcome is unknown. It searches for what was sent, not for what is
wished by now (rule 5), and believes "not found" only once HighLevel can no longer be busy with it (rule 6)."""

from dataclasses import replace
from datetime import datetime, timedelta

from django.conf import settings

from appointments.attempts import Attempt
from appointments.models import Booking
from appointments.times import instant
from ghl.types import Appointment
from oauth import upstream

AROUND = timedelta(minutes=1)
# HighLevel's clock and ours may differ by this much; an older appointment was not made by our call.
CLOCKS_DIFFER = timedelta(seconds=60)
FIRST_LOOK_AFTER = timedelta(seconds=1)
ENOUGH_LOOKS = 2


def settle_time() -> timedelta:
    return timedelta(seconds=settings.GHL_SETTLE_SECONDS)


def find(attempt: Attempt, sent: dict[str, str], since: datetime) -> list[Appointment]:
    """The appointments that a create with the fields `sent` may have made and that no booking owns, oldest first."""
    start = instant(sent["start_time"])
    listed = attempt.ask(
        lambda token: upstream.client().events(
            token,
            location_id=sent["location_id"],
            calendar_id=sent["calendar_id"],
            start=start - AROUND,
            end=start + AROUND,
            calls=attempt.calls,
        )
    )
    ours = [_whole(each) for each in listed if _may_be_ours(each, sent, start, since)]
    owned = set(
        Booking.objects.filter(appointment_id__in=[each.id for each in ours]).values_list(
            "appointment_id", flat=True
        )
    )
    return sorted((each for each in ours if each.id not in owned), key=_age)


def _may_be_ours(found: Appointment, sent: dict[str, str], start: datetime, since: datetime) -> bool:
    same = found.contact_id == sent["contact_id"] and found.starts_at == start and not found.deleted
    return same and (found.date_added is None or found.date_added >= since - CLOCKS_DIFFER)


def _whole(found: Appointment) -> Appointment:
    """Of a series the series itself, which is what HighLevel answers a create with, not its first instance."""
    return replace(found, id=found.master_event_id or found.id)


def _age(found: Appointment) -> str:
    return found.date_added.isoformat() if found.date_added else ""


def next_look(given_up_at: datetime, now: datetime, looks: int) -> timedelta | None:
    """How long until the next look: soon at first, then at three times the distance, the last when all is settled.

    None where "not found" is to be believed: after two looks, of which the last was after that moment (rule 6).
    """
    left = given_up_at + settle_time() - now
    if left <= timedelta(0):
        return None if looks >= ENOUGH_LOOKS else FIRST_LOOK_AFTER
    return min(max(FIRST_LOOK_AFTER, 2 * (now - given_up_at)), left)
