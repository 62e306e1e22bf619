"""Bookings and their history: what is wanted (the wish), what HighLevel is known to have (the known), and the
work that is left. What is done with a booking is in bookings.py; how its rows change in states.py."""

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import uuid_utils.compat
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q, Subquery
from django.db.models.functions import Cast, Greatest, Now

from appointments.addresses import MAX_KEY_LENGTH
from oauth.models import FOREVER, ID_LENGTH, ApiKey, Location, Tenant, Token, Upstream, unbraked

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_id() -> uuid.UUID:
    """UUIDv7: in order of acceptance, so that the newest rows lie together in every index."""
    return uuid_utils.compat.uuid7()


def first_id_of(moment: datetime, after: timedelta) -> uuid.UUID:
    """The smallest UUIDv7 (RFC 9562, 5.7: 48 bits of milliseconds, version, variant) of so long after an instant."""
    milliseconds = min(max(0, (moment - EPOCH + after) // timedelta(milliseconds=1)), 2**48 - 1)
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62)


# Nobody is at it.
UNLEASED = Q(lease_until__isnull=True) | Q(lease_until__lt=Now())


# An appointment of which HighLevel gave no end is over by then.
OVER_AFTER = timedelta(days=1)
# Of an appointment's fields those that people write freely, or that name a person.
PERSONAL_FIELDS = ["title", "description", "address", "meeting_location_id", "contact_id"]


class Without(models.Func):
    """A JSON object without its personal fields."""

    template = "%(expressions)s"
    arg_joiner = " - "

    def __init__(self, column: str) -> None:
        fields = models.Value(PERSONAL_FIELDS, ArrayField(models.TextField()))
        super().__init__(models.F(column), Cast(fields, ArrayField(models.TextField())))


class BookingQuerySet(models.QuerySet["Booking"]):
    def seen_by(self, key: ApiKey) -> "BookingQuerySet":
        """What a tenant's key may read: its tenant's bookings in the locations it covers."""
        theirs = self.filter(tenant_id=key.tenant_id, location__in=Location.objects.covered_by(key))
        everybody = Upstream.objects.values("not_before")[:1]
        return theirs.annotate(held_until=Greatest("location__not_before", Subquery(everybody)))

    def due(self) -> "BookingQuerySet":
        """Something is to be done, nobody is at it and its location need not wait. By PostgreSQL's clock."""
        return self.filter(
            UNLEASED,
            unbraked("location__"),
            next_attempt_at__lte=Now(),
        )

    def hear(self) -> int:
        """There is news of them in HighLevel: the next step, after the one that is under way, is to read it.

        What was erased is not read again: HighLevel may still have it.
        """
        unerased = self.filter(erased_at__isnull=True)
        return unerased.update(news=models.F("news") + 1, next_attempt_at=Now())

    def settled(self) -> "BookingQuerySet":
        """No work is left with them, and none can come: ended, or their appointment's time is over."""
        idle = self.filter(next_attempt_at__isnull=True, intent_open=False, lease__isnull=True)
        is_past = Q(starts_at__lt=Now() - OVER_AFTER) & ~Q(wish__has_key="rrule")
        return idle.filter(Q(status__in=Booking.ENDED) | is_past)

    def erase(self) -> int:
        """Empty what may be about a person; ids of calendar and appointment, times and states stay."""
        return self.update(
            wish=Without("wish"),
            synced=Without("synced"),
            known=Without("known"),
            intent=Without("intent"),
            contact=None,
            contact_id="",
            external_reference=None,
            metadata={},
            error=None,
            trace="",
            unresolved_slot=None,
            erased_at=Now(),
        )


@dataclass(frozen=True)
class Intent:
    """A call that was about to be sent, or was: which, its fields, the version of the wish they are of, since
    when, and until when it can have begun."""

    operation: str
    fields: dict[str, Any]
    version: int
    at: datetime
    call_deadline: datetime


class BookingStatus(models.TextChoices):
    """`Booking.Status`; the name by which the API's schema knows it."""

    PENDING = "pending"
    ON_HOLD = "on_hold"
    BOOKED = "booked"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Booking(models.Model):
    """Our promise about one appointment.

    `wish`, `synced` and `known` hold an appointment's fields under our names (`start_time`, …), as text where
    HighLevel has text: what is wanted, what of it HighLevel was given, and what HighLevel showed when it was last
    looked at (it may write the same differently). `wish_version` grows with each change of the wish.

    `intent` holds the fields exactly as they are sent, committed before they are. While it is open nobody knows
    whether HighLevel did it; afterwards it is kept, for a retry to look for.
    """

    Status: TypeAlias = BookingStatus

    WAITING = (Status.PENDING, Status.ON_HOLD)
    ENDED = (Status.REJECTED, Status.FAILED, Status.CANCELLED)

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT, related_name="bookings", db_index=False)
    location = models.ForeignKey(Location, models.PROTECT, related_name="bookings", db_index=False)
    idempotency_key = models.CharField(max_length=255, null=True, blank=True)  # noqa: DJ001  (unique where set)
    # SHA-256 of the accepted body, parsed and written canonically.
    request_digest = models.BinaryField(max_length=32)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    # The wish, with columns of its own for what is filtered by.
    wish = models.JSONField()
    wish_version = models.PositiveIntegerField(default=1)
    contact = models.JSONField(null=True, blank=True)
    calendar_id = models.CharField(max_length=ID_LENGTH)
    contact_id = models.CharField(max_length=ID_LENGTH, blank=True)
    starts_at = models.DateTimeField()
    external_reference = models.CharField(max_length=255, null=True, blank=True)  # noqa: DJ001  (null as sent)
    metadata = models.JSONField(default=dict)
    expires_at = models.DateTimeField()
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    # Of the last change that HighLevel has not been given yet; it is taken back a day later.
    change_requested_at = models.DateTimeField(null=True, blank=True)

    # The known.
    appointment_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)  # noqa: DJ001
    appointment_status = models.CharField(max_length=32, blank=True)
    known = models.JSONField(default=dict, blank=True)
    synced = models.JSONField(default=dict, blank=True)
    known_version = models.PositiveIntegerField(default=0)
    # The newest of HighLevel's `dateUpdated` that the known holds: held against its other instants only.
    known_as_of = models.DateTimeField(null=True, blank=True)
    # Pieces of news from HighLevel, and how many of them the known has taken in.
    news = models.PositiveIntegerField(default=0)
    news_seen = models.PositiveIntegerField(default=0)
    # Its appointment turned up once it was cancelled, and is to be cancelled too (rule 11).
    is_orphaned = models.BooleanField(default=False)
    duplicate_suspected = models.BooleanField(default=False)

    # When what is personal in it was erased.
    erased_at = models.DateTimeField(null=True, blank=True, editable=False)

    # The work.
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    next_attempt_at = models.DateTimeField(null=True, blank=True, db_default=Now())
    lease = models.UUIDField(null=True, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    attempts = models.PositiveIntegerField(default=0)
    # Steps in a row that came to nothing: what the backoff grows with.
    failures = models.PositiveIntegerField(default=0)
    contact_attempts = models.PositiveSmallIntegerField(default=0)
    error = models.JSONField(null=True, blank=True)
    # What was unforeseen, for the operator: how often in a row, and the last trace.
    crashes = models.PositiveSmallIntegerField(default=0)
    trace = models.TextField(blank=True)

    # The intent.
    intent_open = models.BooleanField(default=False)
    intent_operation = models.CharField(max_length=8, blank=True)
    intent = models.JSONField(null=True, blank=True)
    intent_version = models.PositiveIntegerField(null=True, blank=True)
    intent_at = models.DateTimeField(null=True, blank=True)
    call_deadline = models.DateTimeField(null=True, blank=True)
    # Looks that have not found what it made.
    looks = models.PositiveSmallIntegerField(default=0)
    # Calendar, contact and start of an unresolved create: no two bookings have the same at a time (rule 8).
    unresolved_slot = models.CharField(max_length=255, null=True, blank=True)  # noqa: DJ001

    objects = BookingQuerySet.as_manager()

    # Set by the claim: its instant by PostgreSQL's clock, the location's token, and whether it has more that is due.
    claimed_at: datetime
    token: Token | None = None
    more_due: bool

    class Meta:
        constraints = [
            # Of those alone that have one: most rows need not be in these indexes.
            models.UniqueConstraint(
                fields=["tenant", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="one_booking_per_key",
            ),
            models.UniqueConstraint(
                fields=["appointment_id"],
                condition=Q(appointment_id__isnull=False),
                name="one_owner_per_appointment",
            ),
            models.UniqueConstraint(
                fields=["location", "unresolved_slot"],
                condition=Q(unresolved_slot__isnull=False),
                name="one_unresolved_create_per_slot",
            ),
        ]
        # One for each filter of the list, which shows the newest first; `created…` is filtered by the id.
        indexes = [
            models.Index(fields=["tenant", "id"], name="booking_newest"),
            models.Index(
                fields=["tenant", "external_reference"],
                condition=Q(external_reference__isnull=False),
                name="booking_external_reference",
            ),
            models.Index(fields=["tenant", "status", "id"], name="booking_status"),
            models.Index(fields=["tenant", "location", "id"], name="booking_location"),
            models.Index(fields=["tenant", "calendar_id", "id"], name="booking_calendar"),
            models.Index(fields=["tenant", "contact_id", "id"], name="booking_contact"),
            models.Index(fields=["tenant", "starts_at"], name="booking_start"),
            models.Index(
                fields=["location", "id"], condition=Q(next_attempt_at__isnull=False), name="booking_to_claim"
            ),
            models.Index(
                fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="booking_due"
            ),
            models.Index(
                fields=["location", "contact_id"], condition=Q(intent_open=True), name="booking_unsure"
            ),
            models.Index(
                fields=["location", "calendar_id", "starts_at"],
                condition=Q(status="booked"),
                name="booking_to_compare",
            ),
        ]

    def __str__(self) -> str:
        return f"booking {self.pk}"

    @property
    def open_intent(self) -> Intent | None:
        """The call whose outcome is unknown, if there is one."""
        if not (self.intent_open and self.intent and self.intent_at and self.call_deadline):
            return None
        return Intent(
            self.intent_operation, self.intent, self.intent_version or 1, self.intent_at, self.call_deadline
        )

    @property
    def next_step_at(self) -> datetime | None:
        """When it is really tried next: not before what holds it ends, where anybody knows when that is."""
        # Set where a tenant reads it: until when nothing is sent for the location, or for anybody.
        held_until: datetime | None = getattr(self, "held_until", None)
        if self.is_ended:
            return None  # what is left to do is looking for what may have come of it
        if self.next_attempt_at is None or held_until is None or held_until == FOREVER:
            return self.next_attempt_at
        return max(self.next_attempt_at, held_until)

    @property
    def has_news(self) -> bool:
        """HighLevel is to be asked what has become of its appointment."""
        return self.news > self.news_seen

    @property
    def is_ended(self) -> bool:
        return self.status in self.ENDED

    @property
    def etag(self) -> str:
        """RFC 9110, 8.8.3: another one after every change that matters to whoever wants to change the booking.

        Attempts and their times are left out: a worker's every step would refuse the tenant's.
        """
        version = [self.wish, self.known_version, self.status, str(self.cancel_requested_at)]
        version += [self.appointment_status, self.metadata, self.external_reference]
        return f'"{hashlib.sha256(json.dumps(version, sort_keys=True).encode()).hexdigest()[:20]}"'

    @property
    def status_while_open(self) -> "Booking.Status":
        """What it shows while work on it goes on."""
        if self.is_ended:
            return self.Status(self.status)
        return self.Status.PENDING if self.appointment_id is None else self.Status.BOOKED

    @property
    def in_sync(self) -> bool:
        """HighLevel has what is asked for, changes and cancelling included."""
        if self.status == self.Status.CANCELLED:
            return not self.is_orphaned
        settled = self.appointment_id is not None and self.known_version == self.wish_version
        return settled and self.cancel_requested_at is None


class LostCreate(models.Model):
    """A create that HighLevel was taken not to have done. Should its appointment turn up nevertheless, this tells
    whose it is (rule 11)."""

    booking = models.ForeignKey(Booking, models.CASCADE, related_name="lost_creates", db_index=False)
    # As they were sent, with columns of their own for what an appointment is told by.
    fields = models.JSONField()
    calendar_id = models.CharField(max_length=ID_LENGTH)
    contact_id = models.CharField(max_length=ID_LENGTH)
    starts_at = models.DateTimeField()
    sent_at = models.DateTimeField()
    # What turned up.
    appointment_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)  # noqa: DJ001

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["booking", "sent_at"], name="one_lost_create_per_call"),
        ]
        indexes = [models.Index(fields=["contact_id", "sent_at"], name="lost_create_contact_sent")]

    def __str__(self) -> str:
        return f"lost create of {self.booking_id}"


class Comparison(models.Model):
    """When a location's bookings are to be compared with HighLevel's calendars next, and how far that has come."""

    location = models.OneToOneField(Location, models.CASCADE, primary_key=True, related_name="+")
    # Moved ahead by whoever compares: who does not come back has died, and it is due again.
    due_at = models.DateTimeField()
    calls = models.PositiveIntegerField(default=0)
    # Compared up to here, by calendar and start; empty at the beginning.
    calendar_id = models.CharField(max_length=ID_LENGTH, blank=True)
    starts_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["due_at"], name="comparison_due")]

    def __str__(self) -> str:
        return f"comparison of {self.location_id}"


class TimelineKind(models.TextChoices):
    STATE = "state"
    CALL = "call"


class TimelineEntry(models.Model):
    """One line of a booking's history: a change of state, or one call to HighLevel."""

    Kind: TypeAlias = TimelineKind

    booking = models.ForeignKey(Booking, models.CASCADE, related_name="timeline")
    at = models.DateTimeField(db_default=Now())
    kind = models.CharField(max_length=8, choices=Kind)
    from_status = models.CharField(max_length=16, blank=True)
    to_status = models.CharField(max_length=16, blank=True)
    reason = models.CharField(max_length=255, blank=True)
    method = models.CharField(max_length=8, blank=True)
    path = models.CharField(max_length=255, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True, blank=True)
    duration_ms = models.PositiveIntegerField(null=True, blank=True)
    outcome = models.CharField(max_length=64, blank=True)
    trace_id = models.CharField(max_length=128, blank=True)

    class Meta:
        verbose_name_plural = "timeline entries"

    def __str__(self) -> str:
        return f"{self.kind} of {self.booking_id}"


class ContactMatch(models.Model):
    """The contact that an e-mail address or phone number led to in a location; its lease makes one booking at a time
    look for it (rule 16). How leases are taken is in contact_leases.py.
    """

    location = models.ForeignKey(Location, models.CASCADE, related_name="+", db_index=False)
    # As addresses.py writes it.
    address = models.CharField(max_length=MAX_KEY_LENGTH)
    # Of the whole contact as HighLevel was given it, where it was to be updated.
    digest = models.BinaryField(max_length=32, null=True)
    contact_id = models.CharField(max_length=ID_LENGTH, blank=True)
    # When HighLevel knew nobody of this address, since which none was created either.
    absent_at = models.DateTimeField(null=True, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["location", "address"], name="one_match_per_address")]

    def __str__(self) -> str:
        return f"contact match of {self.location_id}"
