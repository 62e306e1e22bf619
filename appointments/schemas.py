"""The tenant API's JSON: what bodies and queries may hold and what answers look like, in HighLevel's camelCase.
What a valid request leads to is in bookings.py."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, TypeVar

from dateutil.rrule import rrulestr
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel
from rest_framework.exceptions import APIException

from appointments.models import Booking, TimelineEntry

# RFC 3339 with optional seconds, an upper-case T and an upper-case Z: what HighLevel's own examples use.
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?P<fraction>\.\d+)?)?(?:Z|[+-]\d\d:\d\d)")
MEETING_LOCATION = Literal["custom", "zoom", "gmeet", "phone", "address", "ms_teams", "google"]
APPOINTMENT_STATUS = Literal["new", "confirmed", "cancelled", "showed", "noshow", "invalid"]
FRACTION = "HighLevel refuses fractions of a second; leave the fraction out."


class InvalidRequest(APIException):
    """What is wrong with a request, as (JSON pointer, detail) pairs."""

    status_code = 400
    default_code = "invalid_request"

    def __init__(self, *errors: tuple[str, str]) -> None:
        super().__init__("The request is not valid; see errors.")
        self.more = {"errors": [{"pointer": pointer, "detail": detail} for pointer, detail in errors]}


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("NUL characters are not allowed")
    return text


def _without_zero_fraction(text: str) -> str:
    match = INSTANT.fullmatch(text)
    if match is None:
        raise ValueError("This is not an ISO 8601 time with an offset, such as 2026-06-23T03:30:00+05:30.")
    fraction = match["fraction"] or ""
    if fraction.strip(".0"):
        raise ValueError(FRACTION)
    whole = text.replace(fraction, "", 1) if fraction else text
    instant(whole)
    return whole


def instant(text: str) -> datetime:
    """The instant that a validated time names. Raises ValueError for a day or hour that does not exist."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("There is no such time.") from None


Text = Annotated[str, AfterValidator(_storable)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Time = Annotated[
    str, AfterValidator(_without_zero_fraction), Field(json_schema_extra={"format": "date-time"})
]
ShortText = Annotated[str, StringConstraints(max_length=255), AfterValidator(_storable)]
Metadata = Annotated[dict[ShortText, Annotated[Text, Field(max_length=1000)]], Field(max_length=50)]


class Body(BaseModel):
    """Strict: no conversions, and what is not known is refused rather than dropped. null is as good as left out."""

    model_config = ConfigDict(
        strict=True, extra="forbid", alias_generator=to_camel, hide_input_in_errors=True, frozen=True
    )


class CustomField(Body):
    """A custom field's value; HighLevel names the key `field_value`."""

    id: Id | None = None
    key: ShortText | None = None
    field_value: Annotated[Text | float | bool | list[Text], Field(alias="field_value")]


class ContactDetails(Body):
    """Whom to find or create in HighLevel, by e-mail or phone. No tags: HighLevel would replace all there are."""

    name: ShortText | None = None
    first_name: ShortText | None = None
    last_name: ShortText | None = None
    email: Annotated[ShortText, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")] | None = None
    phone: Annotated[ShortText, StringConstraints(pattern=r"^\+?[0-9 ()./-]*[0-9][0-9 ()./-]*$")] | None = (
        None
    )
    gender: ShortText | None = None
    address1: ShortText | None = None
    city: ShortText | None = None
    state: ShortText | None = None
    postal_code: ShortText | None = None
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    website: ShortText | None = None
    timezone: ShortText | None = None
    company_name: ShortText | None = None
    date_of_birth: ShortText | None = None
    source: ShortText | None = None
    assigned_to: Id | None = None
    custom_fields: Annotated[list[CustomField], Field(max_length=100)] | None = None


class BookingRequest(Body):
    """Every body field of HighLevel's create-appointment under its own name, and ours beside them.

    https://marketplace.gohighlevel.com/docs/ghl/calendars/create-appointment
    """

    calendar_id: Id
    location_id: Annotated[
        Id | None, Field(description="May be left out when the key covers one location.")
    ] = None
    contact_id: Annotated[Id | None, Field(description="This or `contact`.")] = None
    contact: Annotated[ContactDetails | None, Field(description="Found or created before booking.")] = None
    start_time: Time
    end_time: Time | None = None
    title: Text | None = None
    meeting_location_type: MEETING_LOCATION | None = None
    meeting_location_id: Text | None = None
    override_location_config: bool | None = None
    appointment_status: APPOINTMENT_STATUS | None = None
    assigned_user_id: Id | None = None
    description: Text | None = None
    address: Text | None = None
    ignore_date_range: bool | None = None
    to_notify: bool | None = None
    ignore_free_slot_validation: bool | None = None
    rrule: Annotated[Text | None, Field(description="RFC 5545; needs `ignoreFreeSlotValidation: true`.")] = (
        None
    )
    external_reference: ShortText | None = None
    metadata: Metadata | None = None
    expires_at: Annotated[Time | None, Field(description="Stop trying to book then.")] = None

    @classmethod
    def read(cls, parsed: Any, now: datetime) -> Self:
        """The request in a parsed body. Raises InvalidRequest with a pointer for each thing that is wrong."""
        body = read(cls, parsed)
        if errors := [*_whom(body), *_when(body, now), *_how_often(body)]:
            raise InvalidRequest(*errors)
        return body

    @property
    def wish(self) -> dict[str, Any]:
        """The appointment's fields that were given, under our names."""
        return self.model_dump(exclude=NOT_THE_APPOINTMENTS, exclude_none=True)


NOT_THE_APPOINTMENTS = {
    "location_id",
    "contact_id",
    "contact",
    "external_reference",
    "metadata",
    "expires_at",
}


def _whom(body: BookingRequest) -> list[tuple[str, str]]:
    if (body.contact_id is None) == (body.contact is None):
        return [("/contactId", "Give either contactId or contact.")]
    if body.contact and not (body.contact.email or body.contact.phone):
        return [("/contact", "A contact needs an e-mail or a phone to be found by.")]
    return []


def _when(body: BookingRequest, now: datetime) -> list[tuple[str, str]]:
    errors = []
    if body.end_time and instant(body.end_time) <= instant(body.start_time):
        errors.append(("/endTime", "The end must come after the start."))
    if body.end_time and body.end_time.endswith("Z") != body.start_time.endswith("Z"):
        errors.append(("/endTime", "HighLevel refuses a start and an end of which only one ends in Z."))
    if body.expires_at and instant(body.expires_at) <= now:
        errors.append(("/expiresAt", "This lies in the past."))
    return errors


def _how_often(body: BookingRequest) -> list[tuple[str, str]]:
    if body.rrule is None:
        return []
    if body.ignore_free_slot_validation is not True:
        return [("/rrule", "HighLevel applies an rrule only with ignoreFreeSlotValidation: true.")]
    return [("/rrule", problem)] if (problem := _rrule_problem(body.rrule, instant(body.start_time))) else []


RRULE_LINE = re.compile(r"(RRULE:)?[A-Z]+=[^:]*|EXDATE[^:]*:.+", re.IGNORECASE)


def _rrule_problem(rrule: str, start: datetime) -> str | None:
    lines = rrule.split("\n")
    if not all(RRULE_LINE.fullmatch(line.strip()) for line in lines):
        return "This is not an RRULE of RFC 5545, such as FREQ=WEEKLY;COUNT=4 (EXDATE lines may follow)."
    try:
        rrulestr(rrule, dtstart=start, forceset=True)
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        return f"This is not a valid RRULE of RFC 5545: {error}."
    return None


class ListQuery(BaseModel):
    """The filters of the list; `…From` is inclusive, `…To` exclusive."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, hide_input_in_errors=True)

    status: Literal["pending", "on_hold", "booked", "rejected", "failed", "cancelled"] | None = None
    location_id: Text | None = None
    calendar_id: Text | None = None
    contact_id: Text | None = None
    external_reference: Text | None = None
    appointment_id: Text | None = None
    start_time_from: Time | None = None
    start_time_to: Time | None = None
    created_from: Time | None = None
    created_to: Time | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 50
    cursor: Text | None = None

    def filters(self) -> dict[str, Any]:
        """As keyword arguments for a queryset of bookings."""
        given = self.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
        return {
            LOOKUPS.get(name, name): instant(value) if name in LOOKUPS else value
            for name, value in given.items()
        }


LOOKUPS = {
    "start_time_from": "starts_at__gte",
    "start_time_to": "starts_at__lt",
    "created_from": "created_at__gte",
    "created_to": "created_at__lt",
}

Model = TypeVar("Model", bound=BaseModel)


def read(model: type[Model], parsed: Any) -> Model:
    """`parsed` as the model. Raises InvalidRequest."""
    if not isinstance(parsed, Mapping):
        raise InvalidRequest(("", "The body must be a JSON object."))
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        raise InvalidRequest(
            *(_pointed(each["loc"], each["type"], each["msg"]) for each in error.errors())
        ) from None


DETAILS = {"missing": "This field is required.", "extra_forbidden": "There is no such field."}


def _pointed(place: tuple[int | str, ...], kind: str, message: str) -> tuple[str, str]:
    """A JSON pointer (RFC 6901) and what is wrong there."""
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in place)
    return "".join(f"/{step}" for step in steps), DETAILS.get(kind, message.removeprefix("Value error, "))


class Answer(BaseModel):
    """What we answer with: built from rows, so nothing is checked again."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

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
        own = {name: getattr(booking, name) for name in OWN_COLUMNS}
        derived = {
            "id": str(booking.pk),
            "contact": booking.contact and {to_camel(name): value for name, value in booking.contact.items()},
            "contact_id": booking.contact_id or None,
            # HighLevel's, and so null until it has the appointment.
            "appointment_status": booking.appointment_status or None,
            "error": booking.error and ErrorAnswer.model_construct(**booking.error),
        }
        return cls.model_construct(**{**booking.known, **booking.wish, **own, **derived}).shown()


OWN_COLUMNS = (
    "status", "location_id", "calendar_id", "appointment_id", "external_reference", "metadata", "in_sync",
    "attempts", "next_attempt_at", "expires_at", "cancel_requested_at", "created_at", "updated_at",
)  # fmt: skip


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


class TimelineAnswer(BaseModel):
    results: list[TimelineEntryAnswer]


class BookingPage(BaseModel):
    next: str | None
    previous: str | None
    results: list[BookingAnswer]


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: Annotated[str, Field(alias="requestId")]
    errors: list[dict[str, str]] | None = None
