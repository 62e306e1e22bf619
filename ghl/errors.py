"""What can go wrong at HighLevel's end, as one tree; which answer means which is in `refusals.py`.

No wire format and no retrying here.

    HighLevelError
     ├ NotSent                 no byte of the request left: it cannot have happened
     │  └ ConnectFailed        refused, DNS, TLS, time-out before or while connecting
     ├ OutcomeUnknown          it may have happened: look before repeating
     │  ├ TimedOut             the call's total time was over
     │  ├ ConnectionLost       closed, reset or not HTTP, after sending began
     │  ├ ServerFailed         every 5xx, HTML included, and 408
     │  └ UnreadableAnswer     2xx without the id or the keys it must have; 3xx; too large
     ├ RateLimited             429, for the burst or for the day
     ├ TokenRejected           401 about the token itself: renew it once
     ├ Refused                 HighLevel's final no
     │  ├ SlotUnavailable
     │  ├ ContactNotFound
     │  ├ CalendarNotFound     or inactive
     │  ├ AssignedUserRequired
     │  ├ AssignedUserInvalid
     │  ├ AppointmentNotFound
     │  ├ DuplicateContact     the location has a contact of this e-mail or phone
     │  ├ InvalidRequest       every other 4xx
     │  ├ AccessRefused        until somebody reconnects or upgrades
     │  │  ├ ScopeMissing
     │  │  ├ AuthClassRefused  wrong kind of token, plan without the feature, a 401 not about the token
     │  │  └ LocationForbidden
     │  ├ ClientBlocked        the edge in front of HighLevel refuses our client
     │  └ RouteNotSupported    no such path or API version
     └ GrantRefused            what the token endpoint answers (and, for a paused account, any other)
        ├ RefreshTokenDead
        ├ LocationInactive     paused or unpaid: the same refresh token works again later
        ├ CodeRejected
        └ ClientMisconfigured  client id, secret or parameters
"""

import re
from datetime import timedelta
from typing import Any, ClassVar

from .types import Call


class HighLevelError(Exception):
    """A call to HighLevel that did not give what was asked for.

    `name` is the class's name in snake_case and stable: it is stored and shown to tenants.
    `transient`: asking again later may work without anybody's help.
    `outcome_unknown`: HighLevel may have carried the request out.
    `retry_after`: how long HighLevel asked us to wait, where it did.
    `message` holds HighLevel's words, shortened and without secrets.
    """

    name: ClassVar[str] = "high_level_error"
    transient: ClassVar[bool] = False
    outcome_unknown: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        trace_id: str | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.trace_id = trace_id
        self.retry_after = retry_after
        self.call: Call | None = None

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.message}"
            if self.status is None
            else f"{self.name} ({self.status}): {self.message}"
        )


class NotSent(HighLevelError):
    """No byte of the request left this machine."""

    transient = True


class ConnectFailed(NotSent):
    """No connection: refused, name not resolved, TLS failed, or no time left before sending began."""


class OutcomeUnknown(HighLevelError):
    """HighLevel may or may not have done it."""

    transient = True
    outcome_unknown = True


class TimedOut(OutcomeUnknown):
    """The call's total time was over after sending had begun."""


class ConnectionLost(OutcomeUnknown):
    """The connection ended, or spoke no HTTP, after sending had begun."""


class ServerFailed(OutcomeUnknown):
    """A 5xx, or a gateway's 408."""


class UnreadableAnswer(OutcomeUnknown):
    """An answer that says neither yes (with what a yes must hold) nor no."""


class RateLimited(HighLevelError):
    """Refused before it was looked at: too many requests of this app for this location or company.

    `daily_exhausted`: the day's quota is used up; then `retry_after` is None unless HighLevel named a time.
    https://marketplace.gohighlevel.com/docs/oauth/Faqs
    """

    transient = True

    def __init__(self, message: str, *, daily_exhausted: bool = False, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.daily_exhausted = daily_exhausted


class TokenRejected(HighLevelError):
    """The access token is expired or not accepted; the request was not carried out."""

    transient = True


class Refused(HighLevelError):
    """HighLevel's final no: the same request will be refused again."""


class SlotUnavailable(Refused):
    """Taken, outside the availability, or off the slot grid. After an unknown outcome: maybe taken by us."""


class ContactNotFound(Refused):
    """The contact does not exist in this location."""


class CalendarNotFound(Refused):
    """The calendar does not exist or is inactive."""


class AssignedUserRequired(Refused):
    """The calendar wants a team member to be named."""


class AssignedUserInvalid(Refused):
    """The named user is not on the calendar's team."""


class AppointmentNotFound(Refused):
    """The appointment does not exist."""


class DuplicateContact(Refused):
    """The location has a contact of this e-mail or phone already: `contact_id`, where HighLevel names it."""

    contact_id: str | None = None


class InvalidRequest(Refused):
    """HighLevel's own validation."""


class AccessRefused(Refused):
    """Not with this install: somebody must reconnect or change it in HighLevel. A new token does not help."""


class ScopeMissing(AccessRefused):
    """The install was given without a scope this call needs: `scope`."""

    scope: str | None = None


class AuthClassRefused(AccessRefused):
    """A token of the wrong kind, a plan without the feature, or a 401 that is not about the token."""


class LocationForbidden(AccessRefused):
    """The token does not reach this location, or the app was removed from it."""


class ClientBlocked(Refused):
    """A 403 of the edge in front of HighLevel (`error code: 1010`): our client's fault; never repeat it."""


class RouteNotSupported(Refused):
    """HighLevel knows no such path or version, under whatever status it says so."""


class GrantRefused(HighLevelError):
    """The token endpoint gave no token."""


class RefreshTokenDead(GrantRefused):
    """Invalid, expired or already used."""


class LocationInactive(GrantRefused):
    """The account is paused or unpaid. Keep the refresh token, try again in hours."""

    transient = True


class CodeRejected(GrantRefused):
    """The authorization code is wrong, used or expired: install again."""


class ClientMisconfigured(GrantRefused):
    """The client id, its secret, the parameters or the host are wrong: ours to repair."""
