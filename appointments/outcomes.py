"""What follows when a step did not come through: refused for good, tried again, or held with its location.
Which answer is which error is ghl's; how a row changes is in states.py."""

import random
import traceback
from datetime import timedelta
from typing import Any

from appointments import contacts, differences, look, states
from appointments.attempts import Attempt, NotNow
from appointments.models import Booking
from ghl import errors
from ghl.reading import clean
from oauth import calling, installs
from oauth.keeping import (
    SUSPENDED_FOR,
    LocationSuspended,
    NeedsReconnect,
    TokenUnavailable,
    TokenUnreadable,
)
from oauth.models import Account, Location

Status = Booking.Status
Waiting = Account.Waiting

LONGEST_WAIT = timedelta(minutes=5)
MOST_CRASHES = 5
MOST_TRACE = 20_000

REFUSALS: dict[type[errors.HighLevelError], str] = {
    errors.SlotUnavailable: "slot_unavailable",
    errors.ContactNotFound: "contact_not_found",
    errors.CalendarNotFound: "calendar_not_found",
    errors.AssignedUserRequired: "assigned_user_required",
    errors.AssignedUserInvalid: "assigned_user_invalid",
    errors.ScopeMissing: "scope_missing",
    errors.AuthClassRefused: "location_forbidden",
    errors.LocationForbidden: "location_forbidden",
}
# Not HighLevel's judgement on the booking but a fault between it and us: failed, so that it can be retried.
OUR_FAULT = (errors.ClientBlocked, errors.RouteNotSupported)
# While a location waits for one of these its due bookings show `on_hold`, with this error.
HOLDS: dict[str, str] = {
    Waiting.SUSPENDED: "location_suspended",
    Waiting.NEEDS_RECONNECT: "location_needs_reconnect",
    Waiting.DAILY_QUOTA: "rate_limited",
    Waiting.VERIFYING: "upstream_unavailable",
}
HOLD_DETAILS: dict[str, str] = {
    Waiting.SUSPENDED: "HighLevel says that the location's account is paused.",
    Waiting.NEEDS_RECONNECT: "The app must be installed in the location again.",
    Waiting.DAILY_QUOTA: "The location's daily quota of calls is used up.",
    Waiting.VERIFYING: "HighLevel reported an uninstall and could not be asked yet whether it is so.",
}
# A reinstall is news that comes sooner.
UNINSTALLED_WAIT = timedelta(hours=1)
UNINSTALLED_DETAILS: dict[str, str] = {
    "location_uninstalled": "The app was uninstalled from the location.",
    "outcome_unknown": "The app was uninstalled before HighLevel could be asked what became of the last call.",
}


def record(attempt: Attempt, error: Exception) -> None:
    """Write down what an error leads to. Raises LeaseLost."""
    match error:
        case NotNow():
            _again(attempt, error.wait, reason=str(error))
        case states.WishChanged():
            _again(attempt, timedelta(0), reason="the wish has changed")
        case errors.LocationInactive():
            # The brake alone: only what the token endpoint says makes a location suspended, or active again.
            attempt.booking.location.brake(Waiting.SUSPENDED, SUSPENDED_FOR)
            _hold(attempt, error, Waiting.SUSPENDED)
        case TokenUnavailable():
            _go_without_token(attempt, error)
        case errors.RateLimited(daily_exhausted=True):
            calling.brake(attempt.booking.location, error)
            _hold(attempt, error, Waiting.DAILY_QUOTA)
        case errors.RateLimited():
            _fail_for_now(attempt, error, "rate_limited", calling.brake(attempt.booking.location, error))
        case errors.ContactNotFound() if contacts.may_ask_again(attempt.booking):
            _ask_for_contact_again(attempt, error)
        case errors.Refused():
            _refuse(attempt, error)
        case errors.HighLevelError():
            _try_again(attempt, error)


def _again(attempt: Attempt, wait: timedelta, *, reason: str, **changes: Any) -> None:
    """Go on later. Nothing of this needs the tenant's attention, so an on-hold booking is pending again."""
    attempt.end(
        attempt.booking.status_while_open, reason=reason, again_in=wait, **_unless_in_sync(attempt, changes)
    )


def _unless_in_sync(attempt: Attempt, changes: dict[str, Any]) -> dict[str, Any]:
    """Where it was only to be read again, what went wrong is no failure of anything the tenant asked for."""
    if not attempt.booking.in_sync:
        return changes
    return {name: value for name, value in changes.items() if name != "error"}


def _try_again(attempt: Attempt, error: errors.HighLevelError) -> None:
    code = "outcome_unknown" if attempt.unresolved else "upstream_unavailable"
    # Soon after a create that may have happened; what is known not to have happened, or not to be known, later.
    wait = look.FIRST_LOOK_AFTER if attempt.unresolved and attempt.sent else _backoff(attempt.booking)
    _fail_for_now(attempt, error, code, max(wait, error.retry_after or timedelta(0)))


def _fail_for_now(attempt: Attempt, error: errors.HighLevelError, code: str, wait: timedelta) -> None:
    booking = attempt.booking
    if not attempt.unresolved and booking.appointment_id is None:
        # No longer than to its expiry, so that it fails when it says it will.
        wait = max(timedelta(0), min(wait, booking.expires_at - booking.claimed_at))
    failure = described(code, error)
    _again(attempt, wait, reason=error.name, failures=booking.failures + 1, error=failure)


def _hold(attempt: Attempt, error: Exception, waiting_for: Account.Waiting) -> None:
    booking = attempt.booking
    attempt.end(
        Status.ON_HOLD if booking.appointment_id is None else booking.status_while_open,
        reason=waiting_for,
        again_in=timedelta(0),
        **_unless_in_sync(
            attempt, {"error": described(HOLDS[waiting_for], error, HOLD_DETAILS[waiting_for])}
        ),
    )


def _go_without_token(attempt: Attempt, error: TokenUnavailable) -> None:
    # The vault braked the location when it learned of the first two; doing it again could undo a reconnect.
    match error:
        case LocationSuspended():
            _hold(attempt, error, Waiting.SUSPENDED)
        case NeedsReconnect():
            _hold_or_end(attempt, error)
        case TokenUnreadable():
            failure = described(
                "internal_error", error, "The location's token cannot be read; the operator can see why."
            )
            _again(attempt, error.retry_after, reason="internal_error", error=failure)
        case _:
            _again(attempt, error.retry_after, reason=str(error))


def _hold_or_end(attempt: Attempt, error: NeedsReconnect) -> None:
    """There is no working token: until somebody reconnects, or for good where the app was uninstalled."""
    if not Location.objects.filter(
        pk=attempt.booking.location_id, status=Location.Status.UNINSTALLED
    ).exists():
        _hold(attempt, error, Waiting.NEEDS_RECONNECT)
        return
    code = "outcome_unknown" if attempt.unresolved else "location_uninstalled"
    _give_up(attempt, Status.FAILED, described(code, error, UNINSTALLED_DETAILS[code]))


def _ask_for_contact_again(attempt: Attempt, error: errors.ContactNotFound) -> None:
    contacts.forget(attempt.booking)
    failure = described("contact_not_found", error)
    _again(attempt, timedelta(0), reason=error.name, contact_id="", error=failure)


def _refuse(attempt: Attempt, error: errors.Refused) -> None:
    if isinstance(error, errors.ScopeMissing) and error.scope:
        attempt.booking.location.refuse_scope(error.scope)
    if isinstance(error, errors.LocationForbidden):
        installs.doubt(attempt.booking.location)
    ours = isinstance(error, OUR_FAULT)
    code = "internal_error" if ours else REFUSALS.get(type(error), "invalid_request")
    _give_up(attempt, Status.FAILED if ours else Status.REJECTED, described(code, error))


def _give_up(attempt: Attempt, verdict: Booking.Status, failure: dict[str, Any]) -> None:
    """There is nothing more to try: the booking ends, or what was to be changed of it is taken back."""
    booking = attempt.booking
    if booking.in_sync:
        # It was only to be read again, and the next comparison comes back to it.
        attempt.end(booking.status_while_open, reason=failure["code"], news_seen=booking.news)
    elif booking.appointment_id is None:
        # What was refused may be done all the same: it is looked for until that has settled. Its twins go on.
        again_in = look.FIRST_LOOK_AFTER if attempt.unresolved and attempt.sent else states.NEVER
        attempt.end(verdict, reason=failure["code"], again_in=again_in, error=failure, unresolved_slot=None)
    elif booking.cancel_requested_at is not None or booking.is_orphaned:
        # A cancel never expires; whatever stands in its way may be removed by somebody.
        # An uninstalled location's is following.py's, should the app be installed there again.
        uninstalled = failure["code"] in UNINSTALLED_DETAILS
        again_in = UNINSTALLED_WAIT if uninstalled else LONGEST_WAIT
        attempt.end(
            booking.status_while_open,
            reason=failure["code"],
            again_in=again_in,
            error=failure,
            news_seen=booking.news if uninstalled else booking.news_seen,
        )
    else:
        take_back(attempt, failure)


def take_back(attempt: Attempt, failure: dict[str, Any]) -> None:
    """The wish becomes again what HighLevel was last given, unless there is a newer one by now."""
    booking = attempt.booking
    wish = differences.taken_back(booking.wish, booking.synced)
    attempt.end(
        Status.BOOKED,
        reason=f"change taken back: {failure['code']}",
        noted=True,
        if_wish_stands={
            **differences.wish_columns(wish),
            "known_version": booking.wish_version,
            "change_requested_at": None,
        },
        failures=0,
        error=failure,
    )


def crashed(attempt: Attempt, error: Exception) -> None:
    """Something unforeseen: tried a few times, then left to the operator with its trace. Raises LeaseLost.

    What HighLevel has, or is to be rid of, cannot fail: it is tried on at long intervals.
    """
    booking = attempt.booking
    facts: dict[str, Any] = {
        "crashes": min(booking.crashes + 1, MOST_CRASHES),
        "failures": booking.failures + 1,
        "trace": clean("".join(traceback.format_exception(error)))[-MOST_TRACE:],
        "error": described(
            "internal_error", error, "Something unforeseen happened; the operator can see what."
        ),
    }
    if booking.crashes + 1 < MOST_CRASHES:
        _again(attempt, _backoff(booking), reason="internal_error", **facts)
    elif booking.appointment_id is None and booking.cancel_requested_at is None:
        attempt.end(Status.FAILED, reason="internal_error", unresolved_slot=None, **facts)
    else:
        _again(attempt, LONGEST_WAIT, reason="internal_error", **facts)


def described(code: str, error: Exception, detail: str | None = None) -> dict[str, Any]:
    """The booking's `error`: `code`, `detail`, `upstream_status`, `trace_id`."""
    return {
        "code": code,
        "detail": detail or getattr(error, "message", None) or str(error),
        "upstream_status": getattr(error, "status", None),
        "trace_id": getattr(error, "trace_id", None),
    }


def held(waiting_for: str) -> dict[str, Any]:
    """The `error` of a booking whose location waits."""
    return _error(HOLDS[waiting_for], HOLD_DETAILS[waiting_for])


def expired(booking: Booking) -> dict[str, Any]:
    """The `error` of a booking whose time is over: what stood in its way goes into the detail."""
    return _after(EXPIRED, booking)


def not_changed(booking: Booking) -> dict[str, Any]:
    """The `error` of a booking whose change could not be made in time, likewise."""
    return _after(NOT_CHANGED, booking)


def _after(failure: dict[str, Any], booking: Booking) -> dict[str, Any]:
    last = (booking.error or {}).get("detail")
    detail = f"{failure['detail']} The last failure was: {last}" if last else failure["detail"]
    return {**failure, "detail": detail}


def _error(code: str, detail: str) -> dict[str, Any]:
    return {"code": code, "detail": detail, "upstream_status": None, "trace_id": None}


EXPIRED = _error("expired", "It could not be booked before expiresAt.")
NOT_CHANGED = _error("expired", "HighLevel could not be given this change for a day.")


def _backoff(booking: Booking) -> timedelta:
    """Exponential with full jitter: anywhere up to 1 s at first, up to 5 min in the end."""
    return random.random() * min(LONGEST_WAIT, timedelta(seconds=2 ** min(booking.failures, 10)))  # noqa: S311
