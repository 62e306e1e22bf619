"""What can go wrong with a request about bookings, as the tenant API says it.
Rendering is ghlapp/problems.py's; what is wrong with a body or query is in requests.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from drf_spectacular.utils import OpenApiResponse
from rest_framework.exceptions import APIException, PermissionDenied

from appointments import bookings
from appointments.answers import BookingAnswer, Problem
from appointments.models import Booking
from appointments.requests import InvalidRequest


class LocationNotAllowed(PermissionDenied):
    default_code = "location_not_allowed"
    default_detail = "The API key does not cover this location, or there is no such location."


class LocationDisconnected(PermissionDenied):
    default_code = "location_disconnected"
    default_detail = "The app is no longer installed in this location; bookings can be read but not made."


class IdempotencyKeyReused(APIException):
    status_code = 422
    default_code = "idempotency_key_reused"
    default_detail = "This Idempotency-Key belongs to another request with a different body."


class BookingEnded(APIException):
    status_code = 409
    default_code = "booking_ended"
    default_detail = "The booking has ended or is being cancelled; it cannot be changed."


class NotRetryable(APIException):
    status_code = 409
    default_code = "not_retryable"
    default_detail = "Only a failed or rejected booking can be tried once more."


class PreconditionFailed(APIException):
    status_code = 412
    default_code = "precondition_failed"
    default_detail = "The booking has changed since the version that If-Match names."


class BookingRejected(APIException):
    """For a caller who waited: HighLevel refused the booking for good."""

    status_code = 409

    def __init__(self, booking: Booking, headers: dict[str, str]) -> None:
        error = booking.error or {}
        super().__init__(error.get("detail"), error.get("code"))
        self.more = {"booking": BookingAnswer.of(booking)}
        self.headers = headers


def problems(**described: str) -> dict[tuple[int, str], Any]:
    """Responses for the schema, by `_<status>`, those that every route may give included."""
    return {
        (int(status.removeprefix("_")), "application/problem+json"): OpenApiResponse(
            Problem, description=text
        )
        for status, text in {**ALWAYS, **described}.items()
    }


ALWAYS = {
    "_400": "The request is not valid; `errors` points at what is wrong.",
    "_401": "No valid API key.",
    "_403": "The key lacks the scope, or does not cover the location.",
    "_503": "Nothing was accepted; try again after `Retry-After` seconds.",
}
# Of every route that reads a body.
OF_BODIES = {
    "_408": "The body did not arrive in time.",
    "_413": "The body is larger than 256 KB.",
    "_415": "The body is not JSON.",
    "_429": "Too many requests wait for the rest of their bodies; try again after `Retry-After` seconds.",
}


@contextmanager
def refusals() -> Iterator[None]:
    """What a booking cannot do, as problems."""
    try:
        yield
    except bookings.Ended as error:
        raise BookingEnded from error
    except bookings.NotTheSame as error:
        raise PreconditionFailed from error
    except bookings.NotRetryable as error:
        raise NotRetryable from error
    except bookings.ImpossibleEnd as error:
        raise InvalidRequest(*(("/endTime", mistake) for mistake in error.args)) from error
