"""What bodies and queries of the tenant API may hold, in HighLevel's camelCase.
What a valid request leads to is in bookings.py."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails
from rest_framework.exceptions import APIException

from appointments import addresses, contact_fields, openapi, recurrence
from appointments.models import Booking, first_id_of
from appointments.openapi import NO_NUL, NULL, given, untitled, untitled_with, without_null
from appointments.times import MOMENT_PATTERN, TIME_PATTERN, instant, mistakes_of_end, whole_seconds
from ghl.types import AppointmentStatus, MeetingLocationType, whole_id

Mistakes = list[tuple[str, str]]
# A booking that nobody could make for a year is not worth keeping for longer.
MAX_LIFE = timedelta(days=365)
# An answer is not to outgrow its request by much: a body may hold thousands of unknown fields.
MOST_MISTAKES = 100


class InvalidRequest(APIException):
    """What is wrong with a request, as (JSON pointer, detail) pairs."""

    status_code = 400
    default_code = "invalid_request"

    def __init__(self, *errors: tuple[str, str]) -> None:
        super().__init__("The request is not valid; see errors.")
        self.more = {"errors": [{"pointer": pointer, "detail": detail} for pointer, detail in errors]}


# NUL, and halves of surrogate pairs: JSON can say them, PostgreSQL cannot keep them.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """The text as it came. Raises ValueError where PostgreSQL cannot keep it."""
    if UNSTORABLE.search(text):
        raise ValueError("NUL and unpaired surrogates are not allowed.")
    return text


def _moment(text: str) -> str:
    instant(text)
    return text


# RFC 8259, 6: readers agree on whole numbers up to here.
MAX_NUMBER = 2**53 - 1
# Of a custom field with several options.
MAX_CHOICES = 100


def _field_value(value: object) -> object:
    """A custom field's: text, a number, true or false, or several texts."""
    if isinstance(value, list) and len(value) > MAX_CHOICES:
        raise ValueError(f"These are more than {MAX_CHOICES} texts.")
    if isinstance(value, int | float) and abs(value) > MAX_NUMBER:
        raise ValueError("This number is too large for JSON's readers (RFC 8259, 6).")
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str):
            if len(text) > MAX_TEXT:
                raise ValueError(f"A text has at most {MAX_TEXT} characters.")
            storable(text)
        elif isinstance(value, list) or not isinstance(text, int | float):
            # Pydantic makes a mistake of the request's out of a ValueError alone.
            raise ValueError("This must be a text, a number, true, false or a list of texts.")  # noqa: TRY004
    return value


def _published(pattern: str, **more: Any) -> Any:
    """What the schema says of a text whose own check says the same, or more."""
    return Field(json_schema_extra={"pattern": pattern, **more})


# HighLevel names no lengths; these are beyond what its forms and calendars show.
MAX_LINE, MAX_TEXT = 1_000, 10_000
_Storable = Annotated[str, AfterValidator(storable)]
_Short = Annotated[_Storable, StringConstraints(max_length=255)]
Line = Annotated[_Storable, StringConstraints(max_length=MAX_LINE), _published(NO_NUL)]
Text = Annotated[_Storable, StringConstraints(max_length=MAX_TEXT), _published(NO_NUL)]
ShortText = Annotated[_Short, _published(NO_NUL)]
# Its length is looked at with the rest of it.
Rule = Annotated[_Storable, _published(recurrence.PATTERN, maxLength=recurrence.LONGEST)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Time = Annotated[
    str,
    AfterValidator(whole_seconds),
    _published(
        TIME_PATTERN,
        format="date-time",
        description=(
            "RFC 3339 with an offset; reaches HighLevel as written. A fraction that is zero is removed, any other "
            "refused."
        ),
    ),
]
Moment = Annotated[
    str,
    AfterValidator(_moment),
    _published(MOMENT_PATTERN, format="date-time", description="RFC 3339 with an offset."),
]
Metadata = Annotated[
    dict[_Short, Annotated[_Storable, StringConstraints(max_length=1_000)]],
    Field(max_length=50),
    WithJsonSchema(openapi.texts_by_name(most=50, name=255, text=1_000)),
]
FieldValue = Annotated[
    Any,
    AfterValidator(_field_value),
    WithJsonSchema(openapi.custom_field_value(MAX_TEXT, MAX_NUMBER, MAX_CHOICES)),
]


class Body(BaseModel):
    """Strict: no conversions, and what is not known is refused rather than dropped. null is as good as left out."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        hide_input_in_errors=True,
        frozen=True,
        json_schema_extra=untitled,
    )


class CustomField(Body):
    """A custom field's value; HighLevel names the key `field_value`."""

    id: Id | None = None
    key: ShortText | None = None
    field_value: Annotated[FieldValue, Field(alias="field_value")]


class ContactDetails(Body):
    """Whom to find in HighLevel by e-mail, then by phone, and to create where neither leads to anybody.

    A contact that is found stays as it is, unless `updateExisting` says otherwise. Where e-mail and phone lead to two
    contacts, the e-mail's is taken. No tags: HighLevel would replace all there are.
    """

    model_config = ConfigDict(
        json_schema_extra=untitled_with({"anyOf": [given("email", "string"), given("phone", "string")]})
    )

    name: ShortText | None = None
    first_name: ShortText | None = None
    last_name: ShortText | None = None
    email: Annotated[
        Annotated[
            _Short,
            AfterValidator(addresses.check_email),
            _published(r"^[^@\s]+@[^@\s]+$", format="email"),
        ]
        | None,
        Field(description="One address, additional ones of a contact too.", examples=["asha@example.com"]),
    ] = None
    phone: Annotated[
        Annotated[str, StringConstraints(max_length=64, pattern=r"^\+?[0-9 ()./-]*[0-9][0-9 ()./-]*$")]
        | None,
        Field(
            description=(
                "One number, additional ones of a contact too; without + and a country's code it is taken as one of "
                "the location's country. Reaches HighLevel in E.164."
            ),
            examples=["+13125550100"],
        ),
    ] = None
    update_existing: Annotated[
        bool | None,
        Field(
            description=(
                "Have HighLevel overwrite a contact that is found with what is given here, its main e-mail address "
                "and phone number too, also where it was found by an additional one."
            )
        ),
    ] = None
    gender: ShortText | None = None
    address1: ShortText | None = None
    city: ShortText | None = None
    state: ShortText | None = None
    postal_code: ShortText | None = None
    country: (
        Annotated[str, AfterValidator(contact_fields.check_country), _published(contact_fields.COUNTRY)]
        | None
    ) = None
    website: (
        Annotated[_Short, AfterValidator(contact_fields.check_website), _published(contact_fields.WEBSITE)]
        | None
    ) = None
    timezone: (
        Annotated[
            _Short,
            AfterValidator(contact_fields.check_timezone),
            _published(contact_fields.TIMEZONE, examples=["Asia/Kolkata"]),
        ]
        | None
    ) = None
    company_name: ShortText | None = None
    date_of_birth: (
        Annotated[_Short, AfterValidator(contact_fields.check_birthday), _published(contact_fields.BIRTHDAY)]
        | None
    ) = None
    source: ShortText | None = None
    assigned_to: Id | None = None
    custom_fields: Annotated[list[CustomField], Field(max_length=100)] | None = None


class AppointmentFields(Body):
    """What can be wished for when booking and when changing, under HighLevel's names."""

    end_time: Time | None = None
    title: Line | None = None
    meeting_location_type: MeetingLocationType | None = None
    meeting_location_id: Line | None = None
    override_location_config: bool | None = None
    appointment_status: AppointmentStatus | None = None
    assigned_user_id: Id | None = None
    description: Text | None = None
    address: Line | None = None
    ignore_date_range: bool | None = None
    to_notify: bool | None = None
    ignore_free_slot_validation: bool | None = None
    external_reference: ShortText | None = None
    metadata: Metadata | None = None

    @property
    def wish(self) -> dict[str, Any]:
        """The appointment's fields that were given, under our names."""
        return self.model_dump(exclude=NOT_THE_APPOINTMENTS, exclude_none=True)


class BookingRequest(AppointmentFields):
    """Every body field of HighLevel's create-appointment under its own name, and ours beside them.

    https://marketplace.gohighlevel.com/docs/ghl/calendars/create-appointment
    """

    model_config = ConfigDict(
        json_schema_extra=untitled_with(
            {
                "oneOf": [
                    given("contactId", "string", absent="contact"),
                    given("contact", "object", absent="contactId"),
                ]
            },
            {"anyOf": [{"properties": {"rrule": NULL}}, given("ignoreFreeSlotValidation", True)]},
        )
    )

    calendar_id: Id
    location_id: Annotated[
        Id | None, Field(description="May be left out when the key covers one location.")
    ] = None
    contact_id: Annotated[Id | None, Field(description="This or `contact`.")] = None
    contact: Annotated[ContactDetails | None, Field(description="Found or created before booking.")] = None
    start_time: Time
    rrule: Annotated[
        Rule | None,
        Field(
            description=(
                "A series instead of a single appointment: one RRULE (RFC 5545), with or without `RRULE:`, without "
                "DTSTART, and EXDATE lines after it; reaches HighLevel as written. Needs "
                "`ignoreFreeSlotValidation: true`. UNTIL and EXDATE in UTC. COUNT and UNTIL may be left out, but not "
                "for what comes more often than daily."
            ),
            examples=[
                "RRULE:FREQ=DAILY;INTERVAL=1;COUNT=5",
                "FREQ=WEEKLY;UNTIL=20270801T000000Z\nEXDATE:20270630T013000Z",
            ],
        ),
    ] = None
    expires_at: Annotated[
        Time | None, Field(description="Stop trying to book then; at most a year ahead.")
    ] = None


# What null clears: in HighLevel, and here. Nothing else can be without a value there, once it has one.
EMPTIED = ("description", "address")
CLEARED = (*EMPTIED, "externalReference", "metadata")


def _changes(schema: dict[str, Any]) -> None:
    untitled(schema)
    without_null(schema, kept=CLEARED)


class ChangeRequest(AppointmentFields):
    """What can be changed of a booking; what is left out stays. Moving the start alone keeps the duration.

    `appointmentStatus: cancelled` is the same as cancelling. `metadata` and `externalReference` change at once. null
    clears these two and, in HighLevel, `description` and `address`, which are then empty texts; no other field.
    """

    model_config = ConfigDict(json_schema_extra=_changes)

    calendar_id: Id | None = None
    start_time: Time | None = None

    @property
    def wish(self) -> dict[str, Any]:
        """The appointment's fields that were given, under our names; HighLevel empties a text by an empty text."""
        emptied = {
            name: "" for name in EMPTIED if name in self.model_fields_set and getattr(self, name) is None
        }
        return {**super().wish, **emptied}

    @property
    def ours(self) -> dict[str, Any]:
        """What HighLevel is not told of, as columns."""
        given: dict[str, Any] = {}
        if "external_reference" in self.model_fields_set:
            given["external_reference"] = self.external_reference
        if "metadata" in self.model_fields_set:
            given["metadata"] = self.metadata or {}
        return given


NOT_CLEARED = (
    "This cannot be cleared: HighLevel takes no empty value for it. Leave it out, or give another value."
)
FIXED = ("locationId", "contactId", "contact", "rrule", "expiresAt")


def change_request(parsed: Any) -> ChangeRequest:
    """The change in a parsed body. Raises InvalidRequest."""
    if isinstance(parsed, Mapping) and (fixed := [name for name in FIXED if name in parsed]):
        raise InvalidRequest(*((f"/{name}", "This cannot be changed.") for name in fixed))
    change = read(ChangeRequest, parsed)
    if kept := [name for name, value in parsed.items() if value is None and name not in CLEARED]:
        raise InvalidRequest(*((f"/{name}", NOT_CLEARED) for name in kept))
    return change


NOT_THE_APPOINTMENTS = {
    "location_id",
    "contact_id",
    "contact",
    "external_reference",
    "metadata",
    "expires_at",
}


def booking_request(parsed: Any) -> BookingRequest:
    """The request in a parsed body. Raises InvalidRequest with a pointer for each thing that is wrong."""
    body = read(BookingRequest, parsed)
    if errors := [*_whom(body), *_when(body), *_how_often(body)]:
        raise InvalidRequest(*errors)
    return body


def _whom(body: BookingRequest) -> Mistakes:
    if (body.contact_id is None) == (body.contact is None):
        return [("/contactId", "Give either contactId or contact.")]
    if body.contact and not (body.contact.email or body.contact.phone):
        return [("/contact", "A contact needs an e-mail or a phone to be found by.")]
    return []


def check_phone(body: BookingRequest, country: str) -> None:
    """Whether the contact's phone number is one in a location of that country (or of none known).

    Raises InvalidRequest.
    """
    if body.contact is None or body.contact.phone is None:
        return
    try:
        addresses.check_phone(body.contact.phone, country)
    except ValueError as error:
        raise InvalidRequest(("/contact/phone", str(error))) from None


def _when(body: BookingRequest) -> Mistakes:
    ends = mistakes_of_end(body.start_time, body.end_time) if body.end_time else []
    mistakes = [("/endTime", mistake) for mistake in ends]
    if body.expires_at and instant(body.expires_at) > datetime.now(UTC) + MAX_LIFE:
        mistakes.append(("/expiresAt", f"This is more than {MAX_LIFE.days} days ahead."))
    return mistakes


def _how_often(body: BookingRequest) -> Mistakes:
    if body.rrule is None:
        return []
    if body.ignore_free_slot_validation is not True:
        return [("/rrule", "HighLevel applies an rrule only with ignoreFreeSlotValidation: true.")]
    try:
        recurrence.check(body.rrule, body.start_time)
    except ValueError as error:
        return [("/rrule", str(error))]
    return []


class ListQuery(BaseModel):
    """The filters of the list; `…From` is inclusive, `…To` exclusive."""

    model_config = ConfigDict(
        extra="forbid",
        alias_generator=to_camel,
        hide_input_in_errors=True,
        json_schema_extra=untitled,
    )

    status: Booking.Status | None = None
    location_id: ShortText | None = None
    calendar_id: ShortText | None = None
    contact_id: ShortText | None = None
    external_reference: ShortText | None = None
    appointment_id: Annotated[
        Annotated[ShortText, AfterValidator(whole_id)] | None,
        Field(description="HighLevel's id; that of an instance finds its series' booking."),
    ] = None
    start_time_from: Moment | None = None
    start_time_to: Moment | None = None
    created_from: Moment | None = None
    created_to: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 50
    # Not in the schema: `next` and `previous` are followed as they are.
    cursor: Line | None = None

    def filters(self) -> dict[str, Any]:
        """As keyword arguments for a queryset of bookings."""
        given = self.model_dump(exclude={"limit", "cursor"}, exclude_none=True)
        filters = {
            LOOKUPS.get(name, name): instant(value) if name in LOOKUPS else value
            for name, value in given.items()
        }
        # Ids are in order of acceptance, so the index of the order serves these filters too.
        if (since := filters.get("created_at__gte")) is not None:
            filters["id__gte"] = first_id_of(since, -ID_MARGIN)
        if (until := filters.get("created_at__lt")) is not None:
            filters["id__lt"] = first_id_of(until, ID_MARGIN)
        return filters


# An id and its `created_at` are taken from one clock, one after the other.
ID_MARGIN = timedelta(minutes=1)
LOOKUPS = {
    "start_time_from": "starts_at__gte",
    "start_time_to": "starts_at__lt",
    "created_from": "created_at__gte",
    "created_to": "created_at__lt",
}


def list_query(parameters: Mapping[str, str]) -> ListQuery:
    """The parameters of a list request. Raises InvalidRequest."""
    return read(ListQuery, parameters)


Model = TypeVar("Model", bound=BaseModel)
DETAILS = {"missing": "This field is required.", "extra_forbidden": "There is no such field."}


def read(model: type[Model], parsed: Any) -> Model:
    """What was parsed, as the model. Raises InvalidRequest with a pointer for each mistake."""
    if not isinstance(parsed, Mapping):
        raise InvalidRequest(("", "The body must be a JSON object."))
    try:
        return model.model_validate(parsed)
    except ValidationError as error:
        mistakes = [_mistake(each) for each in error.errors(include_url=False, include_input=False)]
        raise InvalidRequest(*mistakes[:MOST_MISTAKES]) from None


def _mistake(error: ErrorDetails) -> tuple[str, str]:
    """A JSON pointer (RFC 6901) and what is wrong there."""
    # Pydantic marks the key of a dict, as against its value, by a last step of its own.
    place = error["loc"][:-1] if error["loc"][-1:] == ("[key]",) else error["loc"]
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in place)
    return "".join(f"/{step}" for step in steps), DETAILS.get(
        error["type"], error["msg"].removeprefix("Value error, ")
    )
