"""The REST API that tenants call: authenticate, validate, call one function, shape the answer.
What bodies may hold is in requests.py, what a request leads to in bookings.py."""

import hashlib
import json
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from appointments import bookings, headers, reading
from appointments.answers import (
    BookingAnswer,
    BookingPage,
    RejectedProblem,
    TimelineAnswer,
    TimelineEntryAnswer,
)
from appointments.models import Booking
from appointments.openapi import ERROR_HEADERS, etag, response_header
from appointments.pagination import AS_THEY_ARE, PAGE_PARAMETERS, Pages, page_query
from appointments.problems import (
    OF_BODIES,
    BookingRejected,
    IdempotencyKeyReused,
    LocationDisconnected,
    LocationNotAllowed,
    problems,
    refusals,
)
from appointments.requests import (
    BookingRequest,
    ChangeRequest,
    InvalidRequest,
    ListQuery,
    booking_request,
    change_request,
    check_phone,
    list_query,
)
from appointments.times import instant
from appointments.waiting import WaitingPlaces
from oauth.access import BearerKey, key_of, with_current_key
from oauth.models import ApiKey, Location
from oauth.scopes import BOOKINGS_READ, BOOKINGS_WRITE

# Fewer than half of a web process's threads: those who wait must not keep out those who do not; and half of these for
# one key. A preference may be left unheeded (RFC 7240, 2), and the answer says so by leaving out Preference-Applied.
waiting_places = WaitingPlaces(in_all=8, for_each=4)


def _list_parameters() -> list[OpenApiParameter]:
    schema = ListQuery.model_json_schema()
    # `next` and `previous` are followed as they are.
    del schema["properties"]["cursor"]
    types = {name: each.get("anyOf", [each])[0] for name, each in schema["properties"].items()}
    # A shared definition has no place of its own in the schema of a single parameter.
    types = {
        name: schema["$defs"][each["$ref"].rpartition("/")[2]] if "$ref" in each else each
        for name, each in types.items()
    }
    about = {name: each.get("description", "") for name, each in schema["properties"].items()}
    return [OpenApiParameter(name, each, description=about[name]) for name, each in types.items()]


REPLAYED = "`true` where the idempotency key's earlier booking is answered with."


# HighLevel's documentation has the same ids and times.
EXAMPLE = {
    "locationId": "C2QujeCh8ZnC7al2InWR",
    "calendarId": "CVokAlI8fgw4WYWoCtQz",
    "startTime": "2027-06-23T03:30:00+05:30",
    "endTime": "2027-06-23T04:30:00+05:30",
}
EXAMPLES = {
    "For a contact of HighLevel's": {**EXAMPLE, "contactId": "0007BWpSzSwfiuSl0tR2", "title": "Test Event"},
    "For an address": {**EXAMPLE, "contact": {"name": "Asha Rao", "email": "asha@example.com"}},
    "A series": {
        **EXAMPLE,
        "contactId": "0007BWpSzSwfiuSl0tR2",
        "rrule": "RRULE:FREQ=DAILY;INTERVAL=1;COUNT=5",
        "ignoreFreeSlotValidation": True,
    },
}


class BookingList(APIView):
    scopes = {"GET": BOOKINGS_READ, "POST": BOOKINGS_WRITE}

    def get_authenticators(self) -> list[BaseAuthentication]:
        return _authenticators(self.request, "POST")

    @extend_schema(
        operation_id="createBooking",
        examples=[OpenApiExample(name, body, request_only=True) for name, body in EXAMPLES.items()],
        summary="Accept a booking",
        description="Answers at once; workers book it in HighLevel until it is made or refused for good.",
        request=BookingRequest,
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 255,
                    "pattern": headers.IDEMPOTENCY_KEY_PATTERN,
                },
                "header",
                description="1 to 255 printable ASCII characters. The same key and body again: the same booking.",
            ),
            OpenApiParameter(
                "Prefer",
                location="header",
                description="`wait=N` (RFC 7240): answer when booked, at most 30 s.",
            ),
            *ERROR_HEADERS,
            etag(201, 202),
            response_header("Location", "Where to read the booking: a path.", 201, 202, 409),
            response_header("Idempotent-Replayed", REPLAYED, 201, 202, 409, required=False),
            response_header("Preference-Applied", "`wait=N`, where it was waited.", 201, 202, required=False),
            response_header("Preference-Applied", "`wait=N`.", 409),
        ],
        responses={
            201: OpenApiResponse(BookingAnswer, description="Booked while the request waited."),
            202: OpenApiResponse(BookingAnswer, description="Accepted."),
            **problems(**OF_BODIES, _422="The idempotency key belongs to another body."),
            (409, "application/problem+json"): OpenApiResponse(
                RejectedProblem, description="Rejected while the request waited."
            ),
        },
    )
    def post(self, request: Request) -> Response:
        idempotency_key = headers.idempotency_key(request.headers.get("Idempotency-Key"))
        body = booking_request(request.data)
        if body.contact and body.contact.phone:  # which can be judged where the location is known alone
            location = with_current_key(self, request, lambda key: _location(key, body.location_id))
            check_phone(body, location.country)
        wanted = _wanted(body, request.data, idempotency_key)
        booking, replayed = with_current_key(self, request, lambda key: _request(key, wanted))
        return _accepted(request, booking, replayed)

    @extend_schema(
        operation_id="listBookings",
        summary="List bookings, newest first",
        description=AS_THEY_ARE,
        parameters=[*_list_parameters(), *ERROR_HEADERS],
        responses={200: BookingPage, **problems()},
    )
    def get(self, request: Request) -> Response:
        query = list_query(request.query_params.dict())
        found = Booking.objects.seen_by(key_of(request)).filter(**query.filters())
        return Pages(query.limit, "-id", UUID).response(found, request, BookingAnswer.listed)


def _authenticators(request: HttpRequest | None, method: str) -> list[BaseAuthentication]:
    """For a view whose `method` calls `with_current_key`; for its schema there is no request."""
    return [BearerKey(takes_recent=bool(request and request.method == method))]


BOOKING_ID = OpenApiParameter("booking_id", OpenApiTypes.UUID, "path")
IF_MATCH = OpenApiParameter(
    "If-Match",
    location="header",
    description=(
        "The ETag of the booking as last read, several of them, or `*`. One that a compressing proxy has rewritten "
        '(`W/"…"`, `"…-gzip"`) counts as the same.'
    ),
)
SEVERAL = "The API key covers several locations: say which."
NOT_SEEN = "There is none that this key may see."
DIFFERENT = "The booking has changed since it was read."


CHANGES = {
    "Reschedule": {"startTime": "2027-06-24T03:30:00+05:30", "endTime": "2027-06-24T04:30:00+05:30"},
    "Clear a text": {"title": "Test Event", "description": None},
}


class BookingDetail(APIView):
    scopes = {"GET": BOOKINGS_READ, "PATCH": BOOKINGS_WRITE}

    def get_authenticators(self) -> list[BaseAuthentication]:
        return _authenticators(self.request, "GET")

    @extend_schema(
        operation_id="readBooking",
        summary="Read a booking",
        parameters=[BOOKING_ID, *ERROR_HEADERS, etag(200)],
        responses={200: BookingAnswer, **problems(_404=NOT_SEEN)},
    )
    def get(self, request: Request, booking_id: UUID) -> Response:
        return _shown(with_current_key(self, request, lambda key: _booking(key, booking_id)))

    @extend_schema(
        operation_id="changeBooking",
        examples=[OpenApiExample(name, body, request_only=True) for name, body in CHANGES.items()],
        summary="Reschedule or change a booking",
        description=(
            "`inSync` is false until HighLevel has it. A change that HighLevel refuses for good, or that could not "
            "be made for a day, is taken back, with `error` set."
        ),
        request=ChangeRequest,
        parameters=[BOOKING_ID, IF_MATCH, *ERROR_HEADERS, etag(202)],
        responses={
            202: BookingAnswer,
            **problems(**OF_BODIES, _404=NOT_SEEN, _409="The booking has ended.", _412=DIFFERENT),
        },
    )
    def patch(self, request: Request, booking_id: UUID) -> Response:
        body = change_request(request.data)
        booking, if_match = _writable(request, booking_id), _if_match(request)
        fields = body.wish
        is_cancel = fields.get("appointment_status") == "cancelled"
        if is_cancel:
            del fields["appointment_status"]
        with refusals():
            if fields or body.ours or not is_cancel:
                booking = bookings.change(booking, fields, if_match, **body.ours)
                if_match = None  # it was right, and the change has made another one
            if is_cancel:
                booking = bookings.cancel(booking, if_match)
        return _shown(booking, 202)


class Cancel(APIView):
    scopes = {"POST": BOOKINGS_WRITE}

    @extend_schema(
        operation_id="cancelBooking",
        summary="Cancel a booking",
        description="In every state, also while a call is in flight; never given up. What has ended stays as it is.",
        request=None,
        parameters=[BOOKING_ID, IF_MATCH, *ERROR_HEADERS, etag(202)],
        responses={202: BookingAnswer, **problems(_404=NOT_SEEN, _412=DIFFERENT)},
    )
    def post(self, request: Request, booking_id: UUID) -> Response:
        with refusals():
            return _shown(bookings.cancel(_writable(request, booking_id), _if_match(request)), 202)


class Retry(APIView):
    scopes = {"POST": BOOKINGS_WRITE}

    @extend_schema(
        operation_id="retryBooking",
        summary="Try a failed or rejected booking once more",
        description="With a new `expiresAt`. What may have been booked before is looked for first.",
        request=None,
        parameters=[BOOKING_ID, *ERROR_HEADERS, etag(202)],
        responses={202: BookingAnswer, **problems(_404=NOT_SEEN, _409="It is neither failed nor rejected.")},
    )
    def post(self, request: Request, booking_id: UUID) -> Response:
        with refusals():
            return _shown(bookings.retry(_writable(request, booking_id)), 202)


class Timeline(APIView):
    scopes = {"GET": BOOKINGS_READ}

    @extend_schema(
        operation_id="readTimeline",
        summary="Read what happened to a booking, oldest first",
        description=AS_THEY_ARE,
        parameters=[BOOKING_ID, *PAGE_PARAMETERS, *ERROR_HEADERS],
        responses={200: TimelineAnswer, **problems(_404=NOT_SEEN)},
    )
    def get(self, request: Request, booking_id: UUID) -> Response:
        query = page_query(request)
        entries = _booking(key_of(request), booking_id).timeline.all()
        return Pages(query.limit, "id", int).response(entries, request, TimelineEntryAnswer.of)


def _request(key: ApiKey, wanted: bookings.Wanted) -> tuple[Booking, bool]:
    try:
        return bookings.request(key, wanted)
    except bookings.NotCovered as error:
        raise LocationNotAllowed from error
    except bookings.SeveralCovered as error:
        raise InvalidRequest(("/locationId", SEVERAL)) from error
    except bookings.KeyReused as error:
        raise IdempotencyKeyReused from error
    except bookings.Disconnected as error:
        raise LocationDisconnected from error
    except bookings.TooLate as error:
        raise InvalidRequest(("/expiresAt", "This lies in the past.")) from error


def _booking(key: ApiKey, booking_id: UUID) -> Booking:
    booking = reading.find(key, booking_id)
    if booking is None:
        raise Http404
    return booking


def _writable(request: Request, booking_id: UUID) -> Booking:
    booking = _booking(key_of(request), booking_id)
    if booking.location.status == Location.Status.UNINSTALLED:
        raise LocationDisconnected
    return booking


def _shown(booking: Booking, status: int = 200, **headers: str) -> Response:
    return Response(BookingAnswer.of(booking), status=status, headers={"ETag": booking.etag, **headers})


def _if_match(request: Request) -> set[str] | None:
    return headers.entity_tags(request.headers.get("If-Match", "*"))


def _location(key: ApiKey, location_id: str | None) -> Location:
    covered = Location.objects.covered_by(key)
    if location_id is not None:
        covered = covered.filter(pk=location_id)
    match list(covered[:2]):
        case []:
            raise LocationNotAllowed
        case [location]:
            return location
    raise InvalidRequest(("/locationId", SEVERAL))


def _wanted(body: BookingRequest, parsed: Any, idempotency_key: str | None) -> bookings.Wanted:
    return bookings.Wanted(
        wish=body.wish,
        calendar_id=body.calendar_id,
        starts_at=instant(body.start_time),
        digest=_digest(parsed),
        location_id=body.location_id,
        contact_id=body.contact_id,
        contact=body.contact.model_dump(exclude_none=True) if body.contact else None,
        external_reference=body.external_reference,
        metadata=body.metadata,
        expires_at=instant(body.expires_at) if body.expires_at else None,
        idempotency_key=idempotency_key,
    )


def _digest(parsed: Any) -> bytes:
    """The same for two bodies that are the same parsed JSON, whatever their spaces and order of keys."""
    return hashlib.sha256(json.dumps(parsed, sort_keys=True, separators=(",", ":")).encode()).digest()


def _accepted(request: Request, booking: Booking, replayed: bool) -> Response:
    answered = {"Location": f"/api/v1/bookings/{booking.pk}"}
    if replayed:
        answered["Idempotent-Replayed"] = "true"
    seconds = headers.preferred_wait(request.headers.get("Prefer", ""))
    if seconds is None:
        return _shown(booking, 202, **answered)
    with waiting_places.place(key_of(request).pk) as may_wait:
        if not may_wait:
            return _shown(booking, 202, **answered)
        booking = bookings.wait(booking, seconds)
    answered["Preference-Applied"] = f"wait={seconds}"
    if booking.status == Booking.Status.REJECTED:
        raise BookingRejected(booking, answered)
    status = 201 if booking.status == Booking.Status.BOOKED else 202
    return _shown(booking, status, **answered)
