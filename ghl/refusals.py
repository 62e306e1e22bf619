"""Which error an answer of HighLevel means: the one place where its words are recognised.

No sending and no deciding what to do about it. It needs no client: any status, headers and bytes will do.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from . import errors
from .errors import HighLevelError, Refused
from .reading import Json, clean, json_object, mapping, text

Kind = Literal["resource", "refresh", "code"]

LONGEST_MESSAGE = 500
LONGEST_WAIT = timedelta(days=1)
JWT = re.compile(r"\beyJ[\w-]{5,}(\.[\w-]*)*")


@dataclass(frozen=True, slots=True)
class Row:
    """These words under one of these statuses mean this error."""

    statuses: frozenset[int]
    words: re.Pattern[str]
    error: type[HighLevelError]


def _row(statuses: Iterable[int], words: str, error: type[HighLevelError]) -> Row:
    return Row(frozenset(statuses), re.compile(words, re.IGNORECASE), error)


NO = (400, 401, 403, 404, 409, 422)  # answers that say no and mean it; which of them is used varies over time
ANY = range(400, 600)

# The first row that fits counts. Order matters where words overlap: "Token's user type mismatch!" is not
# about the token, "The event id is invalid." not about a calendar. A gap of bounded length keeps the search linear.
EVERYWHERE = (
    _row(ANY, r"route is not yet supported by the IAM", errors.RouteNotSupported),
    _row(NO, r"location is not active", errors.LocationInactive),
)
RESOURCE = (
    *EVERYWHERE,
    _row(
        NO,
        r"version header|API version|endpoint has been removed|^cannot (get|post|put|delete) /|NoSuchBucket",
        errors.RouteNotSupported,
    ),
    _row((401, 403), r"not authorized for this scope", errors.ScopeMissing),
    _row(
        (401, 403),
        r"authclass type is not allowed|user type mismatch|access to this feature",
        errors.AuthClassRefused,
    ),
    _row((401, 403), r"access to this location", errors.LocationForbidden),
    _row((401,), r"^$|jwt|token|unauthori[sz]ed|expired", errors.TokenRejected),
    _row(NO, r"\bslot\b.{0,100}no(t| longer) available", errors.SlotUnavailable),
    _row(NO, r"assignedUserId is missing|team member needs to be selected", errors.AssignedUserRequired),
    _row(NO, r"not part of (the )?calendar team", errors.AssignedUserInvalid),
    _row(
        NO,
        r"\b(event|appointment)( with)?( id)?\b.{0,100}(not found|is invalid|does(n't| not) exist)",
        errors.AppointmentNotFound,
    ),
    _row(NO, r"\bduplicated? contacts?\b", errors.DuplicateContact),
    _row(
        NO,
        r"\bcontact( with)?( id)?\b.{0,100}(not found|is invalid|does(n't| not) exist)",
        errors.ContactNotFound,
    ),
    _row(
        NO,
        r"\bcalendar( with)?( id)?\b.{0,100}(not found|is invalid|does(n't| not) exist|inactive|not active)",
        errors.CalendarNotFound,
    ),
)
GRANT = (
    *EVERYWHERE,
    _row(NO, r"^(missing|invalid) parameter", errors.ClientMisconfigured),
    _row(NO, r"authorization code", errors.CodeRejected),
)
TABLES: Mapping[Kind, tuple[Row, ...]] = {
    "resource": RESOURCE,
    "refresh": (*GRANT, _row((400, 401), r"invalid.grant|refresh token", errors.RefreshTokenDead)),
    "code": (*GRANT, _row((400, 401), r"invalid.grant", errors.CodeRejected)),
}


def from_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    kind: Kind = "resource",
    not_found: type[Refused] = errors.InvalidRequest,
) -> HighLevelError:
    """The error an answer means; to be asked about every answer that is not a readable 2xx.

    `kind`: a resource endpoint, or the token endpoint refreshing or exchanging a code.
    `not_found`: what a 404 means whose words tell nothing.
    """
    data = json_object(body)
    said = _said(data, body)
    facts: dict[str, Any] = {"status": status, "trace_id": text(data or {}, "traceId")}
    lower = {name.lower(): value for name, value in headers.items()}
    facts["retry_after"] = retry_after(lower)
    # What a 2xx says is somebody's record or token, not an explanation.
    message = (shown(said) if status >= 300 else "") or f"HTTP {status}"
    if status == 429:
        return _rate_limited(message, lower, facts)
    error = _meaning(status, said, data is not None, kind, not_found)(message, **facts)
    if isinstance(error, errors.DuplicateContact):
        error.contact_id = text(mapping((data or {}).get("meta")), "contactId")
    return error


def _meaning(
    status: int, said: str, is_json: bool, kind: Kind, not_found: type[Refused]
) -> type[HighLevelError]:
    for row in TABLES[kind]:
        if status in row.statuses and row.words.search(said):
            return row.error
    if status >= 500 or status == 408:
        return errors.ServerFailed
    if status < 400:
        return errors.UnreadableAnswer
    if status == 403 and not is_json:  # the edge answers in HTML or text, HighLevel itself in JSON
        return errors.ClientBlocked
    if kind != "resource":
        return errors.ClientMisconfigured
    # An HTML 404 is some gateway's and says nothing about the record.
    by_status = {401: errors.AuthClassRefused, 403: errors.LocationForbidden, 404: is_json and not_found}
    return by_status.get(status) or errors.InvalidRequest


def _rate_limited(message: str, headers: Mapping[str, str], facts: dict[str, Any]) -> HighLevelError:
    daily = headers.get("x-ratelimit-daily-remaining", "").strip() == "0"
    if facts["retry_after"] is None and not daily:
        interval = _number(headers.get("x-ratelimit-interval-milliseconds", ""))
        facts["retry_after"] = None if interval is None else _wait(interval / 1000)
    return errors.RateLimited(message, daily_exhausted=daily, **facts)


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """How long `Retry-After` asks to wait, in seconds or as a date (RFC 9110, 10.2.3); names in lower case.

    A date is held against the answer's own `Date` where it has one: the two clocks then agree.
    """
    value = headers.get("retry-after", "")
    seconds = _number(value)
    if seconds is not None:
        return _wait(seconds)
    until = _http_date(value)
    if until is None:
        return None
    now = _http_date(headers.get("date", "")) or datetime.now(UTC)
    return _wait((until - now).total_seconds())


def _http_date(value: str) -> datetime | None:
    try:
        read = parsedate_to_datetime(value)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _number(value: str) -> float | None:
    try:
        read = float(value)
    except ValueError:
        return None
    return read if math.isfinite(read) else None


def _wait(seconds: float) -> timedelta:
    return timedelta(seconds=min(max(seconds, 0), LONGEST_WAIT.total_seconds()))


def _said(data: Json | None, body: bytes) -> str:
    """HighLevel's words, wherever they are: `message` (string or list), the OAuth pair, or the body."""
    if data is None:
        return " ".join(re.sub(r"<[^<>]*>", " ", body[:8192].decode("utf-8", "replace")).split())
    nested = mapping(data.get("error"))  # v3 wraps code and message in `error`
    message = data.get("message", nested.get("message"))
    if isinstance(message, list):
        return "; ".join(str(part) for part in message)
    if isinstance(message, str):
        return message
    return ": ".join(filter(None, (text(data, "error"), text(data, "error_description"))))


def shown(said: str) -> str:
    """Words fit for logs and answers: one line's worth, no token."""
    return JWT.sub("<sealed>", clean(said))[:LONGEST_MESSAGE]
