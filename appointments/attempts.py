"""One worker's attempt at one booking: what it asks HighLevel, and the intent that stands before every write.
What is asked for and why is in creating.py and changing.py; what an error leads to is in outcomes.py."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import IntegrityError
from django.db.models import F
from django.db.models.functions import Greatest, Now

from appointments import states
from appointments.models import Booking
from appointments.times import instant
from ghl.auth import authorized
from ghl.errors import HighLevelError
from ghl.types import Appointment, Call, appointment_body, change_body
from oauth import calling, pace, upstream
from oauth.models import Location
from oauth.vault import LocationTokens

T = TypeVar("T")

# A call must leave within this long of its intent, or its deadline says nothing about when HighLevel is done.
SEND_WITHIN_SECONDS = 1.0
# Above a whole call: time to write its outcome down before anybody else may take the booking.
LEASE_MARGIN = timedelta(seconds=10)
RESOLVED: dict[str, Any] = {"intent_open": False, "looks": 0, "unresolved_slot": None}
CREATE, CHANGE = "create", "change"


class NotNow(Exception):
    """Nothing is wrong; the step is to be taken again in `wait`."""

    def __init__(self, reason: str, wait: timedelta) -> None:
        super().__init__(reason)
        self.wait = wait


def call_time() -> timedelta:
    return timedelta(seconds=settings.GHL_TIMEOUT_SECONDS)


def lease_time() -> timedelta:
    """Long enough for one call and what comes after it; each write on the way stretches it again."""
    return call_time() + LEASE_MARGIN


@dataclass
class Attempt:
    """`calls` collects what goes into the timeline. `unresolved`: a call that writes, this attempt's or an earlier
    one's, may have happened. `sent`: this attempt has sent one."""

    booking: Booking
    slot: pace.Slot | None = None
    calls: list[Call] = field(default_factory=list)
    unresolved: bool = field(init=False)
    sent: bool = field(init=False, default=False)
    _tokens: LocationTokens = field(init=False)

    def __post_init__(self) -> None:
        self.unresolved = self.booking.intent_open
        self._tokens = LocationTokens(self.booking.location_id, self.booking.token)

    def ask(self, call: Callable[[str], T]) -> T:
        """`call` with the location's access token; once more with another one if HighLevel rejects it.

        Raises NotNow where the location's allowance is used up.
        """
        return authorized(self._tokens, lambda token: self._in_a_slot(call, token))

    def _in_a_slot(self, call: Callable[[str], T], token: str) -> T:
        made = len(self.calls)
        try:
            with calling.permit(self.booking.location_id, self._take_slot(), self.calls):
                return call(token)
        finally:
            self._note_quota(self.calls[made:])

    def _take_slot(self) -> pace.Slot:
        # The first is the one that was taken before the booking was: those who wait for one need no lease.
        if (slot := self.slot) is not None:
            self.slot = None
            return slot
        try:
            return pace.take(pace.location(self.booking.location_id), pace.Use.UPKEEP)
        except pace.NoSlot as error:
            raise NotNow("HighLevel's limit is reached", error.retry_after) from error

    def _note_quota(self, made: list[Call]) -> None:
        if made and (limits := made[-1].limits) and limits.daily_exhausted:
            # The rest of the location's bookings need not find that out one by one.
            self.booking.location.brake(Location.Waiting.DAILY_QUOTA, calling.QUOTA_WAIT)

    def give_slot_back(self) -> None:
        """The attempt is over and has made no call."""
        if self.slot is not None:
            pace.give_back(self.slot)
            self.slot = None

    def read(self, appointment_id: str) -> Appointment:
        return self.ask(
            lambda token: upstream.client().get_appointment(token, appointment_id, calls=self.calls)
        )

    def create(self, fields: dict[str, Any]) -> Appointment:
        """Send a create under an intent. Raises NotNow, LeaseLost, TokenUnavailable or a HighLevelError."""
        body = appointment_body(fields)
        # The only unresolved create of its slot (rule 8), and counted.
        more = {"unresolved_slot": _slot(fields), "attempts": F("attempts") + 1}

        def send(token: str) -> Appointment:
            self._arm(CREATE, fields, **more)
            return upstream.client().create_appointment(token, body, calls=self.calls)

        return self._write(send)

    def change(self, appointment_id: str, fields: dict[str, Any]) -> Appointment:
        """Send a change under an intent. Raises as `create` does."""
        body = change_body(fields)

        def send(token: str) -> Appointment:
            self._arm(CHANGE, fields)
            return upstream.client().change_appointment(token, appointment_id, body, calls=self.calls)

        return self._write(send)

    def _write(self, send: Callable[[str], Appointment]) -> Appointment:
        def send_and_know(token: str) -> Appointment:
            try:
                return send(token)
            except HighLevelError as error:
                self.unresolved = error.outcome_unknown
                raise

        return self.ask(send_and_know)

    def _arm(self, operation: str, fields: dict[str, Any], **more: Any) -> None:
        """Commit what is about to be sent, with the lease in hand (rule 2)."""
        started = time.monotonic()
        try:
            states.keep(
                self.booking,
                lease_time(),
                intent_open=True,
                intent_operation=operation,
                intent=fields,
                intent_version=self.booking.wish_version,
                intent_at=Now(),
                call_deadline=Now() + call_time(),
                **more,
            )
        except IntegrityError as error:
            raise NotNow("a twin's outcome is unknown", timedelta(seconds=2)) from error
        if time.monotonic() - started > SEND_WITHIN_SECONDS:
            raise NotNow("the intent took too long to write", timedelta(0))
        self.sent = self.unresolved = True

    def end(
        self,
        status: Booking.Status,
        *,
        reason: str,
        again_in: timedelta | None = states.NEVER,
        **changes: Any,
    ) -> None:
        """Write the attempt's outcome (see `states.move`), its calls and what is now known about the intent.

        What settles it brings RESOLVED itself: were that not to be written after all, nothing would be settled.
        """
        states.move(
            self.booking,
            status,
            reason=reason,
            calls=self.calls,
            again_in=again_in,
            **{**self._about_the_intent(), **changes},
        )

    def _about_the_intent(self) -> dict[str, Any]:
        if not self.unresolved:
            return RESOLVED
        # HighLevel's time to settle is counted from the deadline (rule 6), or from now where that has passed. Not
        # from a call given up before: a gateway may answer 500 at once while HighLevel is still at work behind it.
        return {"call_deadline": Greatest("call_deadline", Now())} if self.sent else {}


def _slot(fields: dict[str, Any]) -> str:
    return f"{fields['calendar_id']} {fields['contact_id']} {instant(fields['start_time']).isoformat()}"
