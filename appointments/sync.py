"""News from HighLevel about appointments, by letter or by list, more than once and in any order: whose it is, and
whether it is news at all. What follows is done by the booking's next step, which reads the appointment itself."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import DateTimeField, Value
from django.db.models.functions import Greatest, Now
from django.utils import timezone

from appointments import differences, look, orphans, turns
from appointments.attempts import CHANGE, CREATE
from appointments.models import UNLEASED, Booking
from ghl.letters import Letter
from ghl.types import Appointment
from webhooks.inbox import FURTHEST_AHEAD

CREATED, DELETED = "AppointmentCreate", "AppointmentDelete"


@dataclass(frozen=True)
class News:
    """What HighLevel shows of an appointment; `at` is its clock. `is_first`: as it was made."""

    location_id: str
    appointment: Appointment
    at: datetime | None
    is_first: bool = False
    is_deletion: bool = False

    @property
    def shown(self) -> differences.Fields:
        """Of a series' instance without its times: those of the series are its first one's."""
        seen, is_instance = differences.shown(self.appointment), self.appointment.is_of_a_series
        return {name: seen[name] for name in seen if not (is_instance and name in differences.TIMES)}


def heard(letter: Letter) -> None:
    """A letter: AppointmentCreate, -Update or -Delete. It changes no booking by itself: it has HighLevel read.

    Raises orphans.Busy, a HighLevelError or TokenUnavailable where it is to come again.
    """
    if letter.appointment is None or letter.location_id is None:
        return
    news = News(
        letter.location_id,
        letter.appointment,
        letter.appointment.date_updated or letter.sent_at,
        is_first=letter.type == CREATED,
        is_deletion=letter.type == DELETED,
    )
    # Whoever is about to become its owner has an open intent until the statement that makes it so: who is asked
    # about both, and then about the first again, is not missed.
    if not _told_owner(news) and not told_who_waits(news) and not _told_owner(news) and not news.is_deletion:
        orphans.meet_claimed(news.location_id, news.appointment)


def _told_owner(news: News) -> bool:
    mine = Booking.objects.filter(location_id=news.location_id, appointment_id=news.appointment.whole_id)
    owner = mine.first()
    if owner is None:
        return False
    # What an instance is changed to does not say whether its series is moved.
    may_be_moved = news.appointment.is_of_a_series and not news.is_first
    is_known_well = not may_be_moved and _is_plausible(news) and is_known(owner, news) and _noted(owner, news)
    if not is_known_well and not is_old(owner, news):
        tell(owner)
    return True


def _is_plausible(news: News) -> bool:
    """Not of a time to come, by which everything that follows would seem old."""
    return news.at is None or news.at <= timezone.now() + FURTHEST_AHEAD


def tell(owner: Booking) -> None:
    """Have its appointment read; where somebody works on it, after that."""
    Booking.objects.filter(pk=owner.pk).hear()
    turns.wake(owner.location_id)


def is_old(owner: Booking, news: News) -> bool:
    return differences.is_no_newer(news.at, owner.known_as_of)


def is_known(owner: Booking, news: News) -> bool:
    """Whether it says what is known already, or what our own call under way is to bring about."""
    if news.is_deletion:
        return owner.is_ended and owner.appointment_status in differences.ENDINGS
    known = {**owner.synced, **owner.known}
    intent = owner.open_intent
    sent = intent.fields if intent and intent.operation == CHANGE else {}
    return any(
        not differences.is_news(news.shown, before, is_first=news.is_first)
        for before in (known, {**known, **sent})
    )


def _noted(owner: Booking, news: News) -> bool:
    """Note how new the known is. False where somebody may know otherwise by now: read too long ago, or at work."""
    if owner.lease is not None and not owner.intent_open:
        return False
    at = Value(news.appointment.date_updated, DateTimeField())
    unchanged = Booking.objects.filter(pk=owner.pk, lease=owner.lease, updated_at=owner.updated_at)
    return bool(unchanged.update(known_as_of=Greatest("known_as_of", at)))


def told_who_waits(news: News) -> bool:
    """Whether it may be what an open create has made: of that the look is due now, or what came after is news."""
    unsure = Booking.objects.filter(
        location_id=news.location_id,
        contact_id=news.appointment.contact_id or "",
        appointment_id=None,
        intent_open=True,
        intent_operation=CREATE,
    ).exclude(status__in=Booking.ENDED)
    if not news.is_first:
        told = unsure.hear()
    else:
        mine = [each.pk for each in unsure if _may_have_made(each, news.appointment)]
        unsure.filter(UNLEASED, pk__in=mine).update(next_attempt_at=Now())
        told = len(mine)
    if told:
        turns.wake(news.location_id)
    return bool(told)


def _may_have_made(booking: Booking, found: Appointment) -> bool:
    intent = booking.open_intent
    return intent is not None and look.is_match(found, booking, intent.fields, intent.at)
