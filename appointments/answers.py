"""What the tenant API answers with, in HighLevel's camelCase, built from rows.
Problems are rendered in ghlapp/problems.py; here they are only described."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any

from django.utils import timezone
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from appointments import recurrence
from appointments.models import Booking, TimelineEntry
from appointments.openapi import untitled


class Answer(BaseModel):
    """What we answer with: built from rows, so nothing is checked again."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", json_schema_extra=untitled
    )

    def shown(self) -> dict[str, Any]:
        # Rows hold plain strings where the schema names an enumeration; nothing to warn about.
        return self.model_dump(mode="json", by_alias=True, warnings=False)


class ErrorAnswer(Answer):
    code: str
    detail: str
    upstream_status: int | None = None
    trace_id: str | None = None


class BookingAnswer(Answer):
    """A booking: the request's fields as they are wanted, filled up with what HighLevel is known to have."""

    id: str
    status: Booking.Status
    location_id: str
    calendar_id: str
    contact_id: str | None
    contact: dict[str, Any] | None
    start_time: str
    end_time: str | None = None
    title: str | None = None
    meeting_location_type: str | None = None
    meeting_location_id: str | None = None
    override_location_config: bool | None = None
    assigned_user_id: str | None = None
    description: str | None = None
    address: str | None = None
    ignore_date_range: bool | None = None
    to_notify: bool | None = None
    ignore_free_slot_validation: bool | None = None
    rrule: str | None = None
    next_occurrences: Annotated[
        list[str] | None,
        Field(
            description=(
                "When the series of `rrule` comes next: at most five starts, written with the offset of `startTime`; "
                "empty when it is over, null without an `rrule` and in lists. Computed here, by the wall clock of "
                "the location's time zone, which HighLevel is taken to repeat by; where that is not known, without "
                "daylight saving."
            )
        ),
    ] = None
    appointment_id: str | None
    appointment_status: str | None
    external_reference: str | None
    metadata: dict[str, str]
    in_sync: bool
    attempts: int
    next_attempt_at: datetime | None
    expires_at: datetime
    cancel_requested_at: datetime | None
    error: ErrorAnswer | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, booking: Booking) -> dict[str, Any]:
        """As JSON has it. Rows hold what was checked when it came in: pydantic gives the schema, and nothing here."""
        fields = cls._fields(booking)
        fields["next_occurrences"] = _next_occurrences(booking, fields)
        return _in_camel_case(cls, fields)

    @classmethod
    def listed(cls, booking: Booking) -> dict[str, Any]:
        """As one of many: without what takes time to compute."""
        return _in_camel_case(cls, cls._fields(booking))

    @staticmethod
    def _fields(booking: Booking) -> dict[str, Any]:
        fields = {**booking.known, **booking.wish, **{name: getattr(booking, name) for name in OWN_COLUMNS}}
        fields["id"] = str(booking.pk)
        fields["next_attempt_at"] = booking.next_step_at
        fields["contact"] = booking.contact and {
            to_camel(name): value for name, value in booking.contact.items()
        }
        fields["contact_id"] = booking.contact_id or None
        # HighLevel's, and so null until it has the appointment.
        fields["appointment_status"] = booking.appointment_status or None
        fields["error"] = booking.error and _in_camel_case(ErrorAnswer, booking.error)
        return fields


OWN_COLUMNS = (
    "status", "location_id", "calendar_id", "appointment_id", "external_reference", "metadata", "in_sync",
    "attempts", "expires_at", "cancel_requested_at", "created_at", "updated_at",
)  # fmt: skip


def _in_camel_case(answer: type[Answer], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Of these fields the answer's, null where there is none."""
    return {shown: _in_json(fields.get(name)) for name, shown in _names(answer)}


@cache
def _names(answer: type[Answer]) -> list[tuple[str, str]]:
    return [(name, field.alias or name) for name, field in answer.model_fields.items()]


def _in_json(value: Any) -> Any:
    """Times as pydantic writes them; DRF would drop their microseconds."""
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _next_occurrences(booking: Booking, fields: dict[str, Any]) -> list[str] | None:
    if not fields.get("rrule"):
        return None
    if booking.is_ended:
        return []
    try:
        zone = booking.location.timezone
        return recurrence.upcoming(fields["rrule"], fields["start_time"], zone, timezone.now())
    except ValueError:
        return None  # a rule of HighLevel's own, in words that we do not know


class CallAnswer(Answer):
    method: str
    path: str
    status: int | None
    duration_ms: int | None
    outcome: str
    trace_id: str | None


class TimelineEntryAnswer(Answer):
    """A change of state (`from`, `to`, `reason`) or a call to HighLevel (`call`)."""

    at: datetime
    kind: TimelineEntry.Kind
    from_status: Annotated[str | None, Field(alias="from")]
    to_status: Annotated[str | None, Field(alias="to")]
    reason: str | None
    call: CallAnswer | None

    @classmethod
    def of(cls, entry: TimelineEntry) -> dict[str, Any]:
        return cls.model_construct(
            at=entry.at,
            kind=TimelineEntry.Kind(entry.kind),
            from_status=entry.from_status or None,
            to_status=entry.to_status or None,
            reason=entry.reason or None,
            call=_call(entry) if entry.kind == TimelineEntry.Kind.CALL else None,
        ).shown()


def _call(entry: TimelineEntry) -> CallAnswer:
    return CallAnswer.model_construct(
        method=entry.method,
        path=entry.path,
        status=entry.http_status,
        duration_ms=entry.duration_ms,
        outcome=entry.outcome,
        trace_id=entry.trace_id or None,
    )


class Page(BaseModel):
    """Part of a list; `next` and `previous` are addresses of the pages beside it."""

    next: str | None
    previous: str | None


class TimelineAnswer(Page):
    results: list[TimelineEntryAnswer]


class BookingPage(Page):
    results: list[BookingAnswer]


class ProblemError(BaseModel):
    """What is wrong, and where: a JSON pointer (RFC 6901) into the body, or to a parameter."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: Annotated[str, Field(alias="requestId")]
    errors: list[ProblemError] | None = None


class RejectedProblem(Problem):
    """What a caller who waited is told: the booking's error, and the booking."""

    booking: BookingAnswer
