"""Every answer HighLevel is known to refuse with, and the error each means."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from ghl import errors
from ghl.errors import HighLevelError
from ghl.refusals import from_response

SCOPE = "The token is not authorized for this scope."
AUTH_CLASS = (
    "This authClass type is not allowed to access this scope. "
    "Please verify your IAM configuration if this is not the case."
)
NO_ROUTE = "This route is not yet supported by the IAM Service. Please update the IAM config."
V3_ONLY = (
    "Endpoint /oauth/installedLocations?x=1 not available in API version v3. This endpoint was removed in "
    "version v3. Please use a version before v3."
)

RESOURCE_ROWS = [
    # What create-appointment answers
    (400, "The slot you have selected is no longer available.", errors.SlotUnavailable),
    (422, "The slot you have selected is no longer available.", errors.SlotUnavailable),
    (400, "Bad Request", errors.InvalidRequest),
    (400, "Contact with id abc123 not found", errors.ContactNotFound),
    (404, "Contact with id abc123 not found", errors.ContactNotFound),
    (400, "Contact not found", errors.ContactNotFound),
    (400, "Calendar not found", errors.CalendarNotFound),
    (404, "Calendar with id abc123 not found.", errors.CalendarNotFound),
    (400, "The calendar is inactive", errors.CalendarNotFound),
    (400, "The event id is invalid.", errors.AppointmentNotFound),
    (404, "Appointment not found", errors.AppointmentNotFound),
    (422, "A team member needs to be selected. assignedUserId is missing", errors.AssignedUserRequired),
    (422, "The user id not part of calendar team.", errors.AssignedUserInvalid),
    (422, ["appointmentStatus must be a valid enum value"], errors.InvalidRequest),
    (422, ["property foo should not exist", "timezone must be a string"], errors.InvalidRequest),
    (422, ["calendarId should not be empty", "contactId must be a string"], errors.InvalidRequest),
    (400, "The calendar is not an event calendar.", errors.InvalidRequest),
    (400, "This location does not allow duplicated contacts.", errors.DuplicateContact),
    (413, "Payload too large", errors.InvalidRequest),
    # Who may do what
    (401, "Invalid JWT", errors.TokenRejected),
    (401, "Invalid token: access token is invalid", errors.TokenRejected),
    (401, "Unauthorized", errors.TokenRejected),
    (401, "", errors.TokenRejected),
    (401, None, errors.TokenRejected),
    (401, SCOPE, errors.ScopeMissing),
    (401, AUTH_CLASS, errors.AuthClassRefused),
    (401, "Token's user type mismatch!", errors.AuthClassRefused),
    (401, "You do not have access to this feature!", errors.AuthClassRefused),
    (403, "You do not have access to this feature!", errors.AuthClassRefused),
    (401, "Something nobody has seen", errors.AuthClassRefused),
    (403, "The token does not have access to this location.", errors.LocationForbidden),
    (401, "The token does not have access to this location.", errors.LocationForbidden),
    (403, "Forbidden resource", errors.LocationForbidden),
    (400, "Location is not active", errors.LocationInactive),
    # Paths and versions
    (401, NO_ROUTE, errors.RouteNotSupported),
    (404, NO_ROUTE, errors.RouteNotSupported),
    (500, NO_ROUTE, errors.RouteNotSupported),
    (401, "version header was not found.", errors.RouteNotSupported),
    (401, "version header is invalid", errors.RouteNotSupported),
    (400, "Invalid API version segment 'bogus' at position 0", errors.RouteNotSupported),
    (400, V3_ONLY, errors.RouteNotSupported),
    (400, "API endpoint has been removed", errors.RouteNotSupported),
    (404, "Cannot POST /calendars/events/appointment", errors.RouteNotSupported),
    # Nobody knows
    (500, "Internal server error", errors.ServerFailed),
    (500, "The slot you have selected is no longer available.", errors.ServerFailed),
    (502, "Bad Gateway", errors.ServerFailed),
    (503, "Service Unavailable", errors.ServerFailed),
    (504, "Gateway Timeout", errors.ServerFailed),
    (408, "Request Timeout", errors.ServerFailed),
    (302, "Found", errors.UnreadableAnswer),
    (200, "fine", errors.UnreadableAnswer),
]


def named(value: object) -> str | None:
    return value.__name__ if isinstance(value, type) else str(value)[:40]


@pytest.mark.parametrize(("status", "message", "error"), RESOURCE_ROWS, ids=named)
def test_it_knows_what_a_resource_call_was_refused_for(
    status: int, message: object, error: type[HighLevelError]
) -> None:
    body = {"statusCode": status, "message": message, "error": "Whatever", "traceId": "t-1"}
    if message is None:
        body = {"traceId": "t-1"}

    found = from_response(status, {}, json.dumps(body).encode())

    assert type(found) is error
    assert (found.status, found.trace_id) == (status, "t-1")


PAGES = [
    (403, b"error code: 1010", errors.ClientBlocked),
    (
        403,
        b"<html><head><title>Access denied</title></head><p>error code: 1010</p></html>",
        errors.ClientBlocked,
    ),
    (403, b"", errors.ClientBlocked),
    (429, b"<html>error code: 1015</html>", errors.RateLimited),
    (502, b"<html><center><h1>502 Bad Gateway</h1></center></html>", errors.ServerFailed),
    (520, b"error code: 520", errors.ServerFailed),
    (524, b"", errors.ServerFailed),
    (500, b"This route is not yet supported by the IAM Service", errors.RouteNotSupported),
    (404, b"<html>404 Not Found</html>", errors.InvalidRequest),
    (404, b"<Error><Code>NoSuchBucket</Code></Error>", errors.RouteNotSupported),
    (401, b"", errors.TokenRejected),
    (400, b"[]", errors.InvalidRequest),
    (400, b"\xff\xfe", errors.InvalidRequest),
    (400, b"[" * 100_000, errors.InvalidRequest),
]


@pytest.mark.parametrize(("status", "body", "error"), PAGES, ids=named)
def test_it_knows_answers_that_are_no_json(status: int, body: bytes, error: type[HighLevelError]) -> None:
    found = from_response(status, {}, body, not_found=errors.AppointmentNotFound)

    assert type(found) is error
    assert "<" not in found.message.replace("<sealed>", "")


TOKEN_ROWS = [
    ("refresh", 400, {"message": "Invalid grant: refresh token is invalid"}, errors.RefreshTokenDead),
    (
        "refresh",
        400,
        {"error": "invalid_grant", "error_description": "The refresh token is expired"},
        errors.RefreshTokenDead,
    ),
    ("refresh", 401, {"error": "invalid_grant"}, errors.RefreshTokenDead),
    ("refresh", 400, {"message": "Location is not active"}, errors.LocationInactive),
    ("refresh", 400, {"message": "Invalid parameter: grantType"}, errors.ClientMisconfigured),
    ("refresh", 400, {"message": "Missing parameter: clientId"}, errors.ClientMisconfigured),
    ("refresh", 400, {"message": "Missing parameter: refresh token"}, errors.ClientMisconfigured),
    (
        "refresh",
        401,
        {"message": "Invalid client: client credentials are invalid"},
        errors.ClientMisconfigured,
    ),
    ("refresh", 401, {"message": "Unauthorized"}, errors.ClientMisconfigured),
    ("refresh", 422, {"message": ["client_id should not be empty"]}, errors.ClientMisconfigured),
    ("refresh", 403, {"message": "Forbidden"}, errors.ClientMisconfigured),
    ("refresh", 500, {"message": "Internal server error"}, errors.ServerFailed),
    ("refresh", 429, {"message": "Too Many Requests"}, errors.RateLimited),
    (
        "code",
        401,
        {"error": "UnAuthorized!", "error_description": "Authorization code not found"},
        errors.CodeRejected,
    ),
    ("code", 400, {"error": "invalid_grant"}, errors.CodeRejected),
    ("code", 400, {"message": "Invalid grant: authorization code is invalid"}, errors.CodeRejected),
    ("code", 400, {"message": "Location is not active"}, errors.LocationInactive),
    ("code", 400, {"message": "Invalid parameter: redirectUri"}, errors.ClientMisconfigured),
    (
        "code",
        400,
        {"error": {"code": "BAD", "message": "Missing parameter: code"}},
        errors.ClientMisconfigured,
    ),
]


@pytest.mark.parametrize(("kind", "status", "body", "error"), TOKEN_ROWS, ids=named)
def test_it_knows_what_the_token_endpoint_refused(
    kind: str, status: int, body: dict[str, object], error: type[HighLevelError]
) -> None:
    found = from_response(status, {}, json.dumps(body).encode(), kind=kind)

    assert type(found) is error


@pytest.mark.parametrize("kind", ["refresh", "code"])
def test_the_wrong_host_for_tokens_is_a_matter_of_configuration(kind: str) -> None:
    body = b"<?xml version='1.0'?><Error><Code>NoSuchBucket</Code></Error>"

    assert type(from_response(404, {}, body, kind=kind)) is errors.ClientMisconfigured


def test_a_bare_404_is_about_the_record_the_endpoint_names() -> None:
    body = b'{"statusCode": 404, "message": "Not Found"}'

    assert (
        type(from_response(404, {}, body, not_found=errors.AppointmentNotFound)) is errors.AppointmentNotFound
    )
    assert type(from_response(404, {}, body)) is errors.InvalidRequest


def limited(**headers: str) -> errors.RateLimited:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    found = from_response(429, named, b'{"message": "Too Many Requests"}')
    assert isinstance(found, errors.RateLimited)
    return found


def test_a_429_says_how_long_to_wait_in_seconds() -> None:
    assert limited(Retry_After="7", X_RateLimit_Interval_Milliseconds="10000").retry_after == timedelta(
        seconds=7
    )


def test_a_429_says_until_when_to_wait_by_its_own_clock() -> None:
    theirs = datetime(2031, 1, 1, tzinfo=UTC)
    until = format_datetime(theirs + timedelta(minutes=2), usegmt=True)

    found = limited(Retry_After=until, Date=format_datetime(theirs, usegmt=True))

    assert found.retry_after == timedelta(minutes=2)


def test_a_429_with_a_date_and_no_clock_is_held_against_ours() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(minutes=2)).replace("+0000", "-0000")

    wait = limited(Retry_After=until).retry_after

    assert wait is not None
    assert timedelta(seconds=110) < wait <= timedelta(minutes=2)


def test_a_429_without_retry_after_waits_for_the_interval() -> None:
    assert limited(X_RateLimit_Interval_Milliseconds="10000").retry_after == timedelta(seconds=10)


@pytest.mark.parametrize("value", ["", "soon", "nan", "-inf"])
def test_a_429_with_nonsense_says_nothing_of_waiting(value: str) -> None:
    assert limited(Retry_After=value, X_RateLimit_Interval_Milliseconds=value).retry_after is None


@pytest.mark.parametrize(("value", "wait"), [("-5", timedelta(0)), ("9e99", timedelta(days=1))])
def test_no_wait_is_negative_or_endless(value: str, wait: timedelta) -> None:
    assert limited(Retry_After=value).retry_after == wait


def test_a_429_for_the_day_is_told_from_one_for_the_burst() -> None:
    daily = limited(X_RateLimit_Daily_Remaining="0", X_RateLimit_Interval_Milliseconds="10000")

    assert (daily.daily_exhausted, daily.retry_after) == (True, None)
    assert limited(X_RateLimit_Daily_Remaining="0", Retry_After="60").retry_after == timedelta(minutes=1)
    assert not limited(X_RateLimit_Daily_Remaining="199000").daily_exhausted


def test_a_503_can_ask_to_wait_too() -> None:
    assert from_response(503, {"Retry-After": "3"}, b"").retry_after == timedelta(seconds=3)


def test_the_message_holds_highlevels_words_and_no_token() -> None:
    body = {"message": ["Invalid token eyJhbGciOi.eyJzdWIi.c2ln-x", "again\x00\ud800"]}

    found = from_response(401, {}, json.dumps(body).encode())

    assert found.message == "Invalid token <sealed>; again?"
    assert str(found) == "token_rejected (401): Invalid token <sealed>; again?"


def test_the_message_is_short() -> None:
    assert len(from_response(400, {}, b"x" * 1_000_000).message) == 500


def test_what_a_2xx_says_is_nobodys_explanation() -> None:
    found = from_response(200, {}, b'{"message": "secret", "refresh_token": "r"}')

    assert found.message == "HTTP 200"


TREE = {
    "not_sent": (True, False),
    "connect_failed": (True, False),
    "outcome_unknown": (True, True),
    "timed_out": (True, True),
    "connection_lost": (True, True),
    "server_failed": (True, True),
    "unreadable_answer": (True, True),
    "rate_limited": (True, False),
    "token_rejected": (True, False),
    "refused": (False, False),
    "slot_unavailable": (False, False),
    "contact_not_found": (False, False),
    "duplicate_contact": (False, False),
    "calendar_not_found": (False, False),
    "assigned_user_required": (False, False),
    "assigned_user_invalid": (False, False),
    "appointment_not_found": (False, False),
    "invalid_request": (False, False),
    "access_refused": (False, False),
    "scope_missing": (False, False),
    "auth_class_refused": (False, False),
    "location_forbidden": (False, False),
    "client_blocked": (False, False),
    "route_not_supported": (False, False),
    "grant_refused": (False, False),
    "refresh_token_dead": (False, False),
    "location_inactive": (True, False),
    "code_rejected": (False, False),
    "client_misconfigured": (False, False),
}


def every(error: type[HighLevelError]) -> list[type[HighLevelError]]:
    return [kind for child in error.__subclasses__() for kind in (child, *every(child))]


def test_every_error_knows_whether_to_come_back_and_whether_it_may_have_happened() -> None:
    assert {kind.name: (kind.transient, kind.outcome_unknown) for kind in every(HighLevelError)} == TREE


def test_the_tree_is_drawn_where_it_grows() -> None:
    assert [kind.__name__ for kind in every(HighLevelError) if kind.__name__ not in str(errors.__doc__)] == []


def test_a_duplicate_names_the_contact_where_highlevel_does() -> None:
    said = {"statusCode": 400, "message": "This location does not allow duplicated contacts."}
    named = {**said, "meta": {"contactId": "con1", "matchingField": "email"}}

    for body, contact_id in ((named, "con1"), (said, None)):
        error = from_response(400, {}, json.dumps(body).encode())
        assert isinstance(error, errors.DuplicateContact)
        assert error.contact_id == contact_id
