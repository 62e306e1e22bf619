"""A browser's way through an install: to HighLevel's consent and back, each end with a page that says what is so.
What an install means for our rows is in installs.py."""

import logging
from dataclasses import dataclass
from urllib.parse import urlencode

from csp.decorators import csp_update
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from oauth import exchanges, provider, states
from oauth.models import Account, Agency

log = logging.getLogger(__name__)
CONNECTED_LOCATION, CONNECTED_AGENCY = "connected_location", "connected_agency"


@dataclass(frozen=True)
class Failure:
    """Why an install did not come about: a word to search for, what it means, what to do."""

    reason: str
    title: str
    advice: str
    status: int = 400
    may_repeat: bool = True


ACCESS_DENIED = Failure(
    "access_denied",
    "The app was not allowed",
    "Nothing was connected. If that was not meant, install again and choose Allow.",
)
UPSTREAM_SAID_NO = Failure(
    "authorization_failed",
    "HighLevel did not authorize the app",
    "Nothing was connected. Install again; if it repeats, tell the app's owner the reason word.",
)
NO_CODE = Failure(
    "missing_code",
    "This address is the end of an install",
    "It was opened without the code that HighLevel adds. Start with the install link.",
)
STATE_MISMATCH = Failure(
    "state_mismatch",
    "This install was begun elsewhere or is already used",
    "An install must end in the browser that began it, once and within an hour. Start again from here.",
)
CODE_REJECTED = Failure(
    "code_rejected",
    "The install had run out",
    "HighLevel's code can be used once and only for a short time. Install again.",
)
TIMED_OUT = Failure(
    "exchange_timed_out",
    "HighLevel did not answer in time",
    "Nothing was connected as far as we know. Wait a minute, then install again: that replaces whatever is there.",
    status=504,
)
UPSTREAM_FAILED = Failure(
    "exchange_failed",
    "HighLevel could not complete the install",
    "Wait a minute, then install again.",
    status=502,
)
MISCONFIGURED = Failure(
    "misconfigured",
    "This app is not set up correctly",
    "Its owner must check the client id, the client secret and the redirect address in HighLevel's portal.",
    status=500,
    may_repeat=False,
)


STATE_REQUIRED = Failure(
    "state_required",
    "Installs must begin here",
    "This one was begun elsewhere, for instance inside HighLevel's marketplace. Nothing was connected.",
    status=403,
)
BUSY = Failure(
    "busy",
    "Too many installs at the moment",
    "Nothing is lost: wait a minute, then reload this page.",
    status=503,
    may_repeat=False,
)
EXCHANGE_FAILURES = {each.reason: each for each in (CODE_REJECTED, TIMED_OUT, UPSTREAM_FAILED, MISCONFIGURED)}


@require_GET
@never_cache
def install(request: HttpRequest) -> HttpResponse:
    """302 to HighLevel's consent page."""
    address, state = provider.authorization()
    response = redirect(address)
    states.remember(request, response, state)
    return response


# A white-label agency's logo may be anywhere.
with_logo = csp_update({"img-src": "https:"})


@require_GET
@never_cache
@with_logo
def callback(request: HttpRequest) -> HttpResponse:
    """Where HighLevel sends the browser back to, with a code (ours if it has our `state`) or an error."""
    code, state = request.GET.get("code"), request.GET.get("state")
    if failure := _refusal(request, code, state):
        return _fail(request, failure)
    try:
        account = exchanges.connect(str(code), state)
    except exchanges.Busy as busy:
        return _fail(request, BUSY, retry_after=busy.retry_after)
    except exchanges.StateUsed:
        return _fail(request, STATE_MISMATCH)
    except exchanges.ExchangeFailed as failed:
        return _fail(request, EXCHANGE_FAILURES[failed.reason])
    return _connected(request, account, state)


def _refusal(request: HttpRequest, code: str | None, state: str | None) -> Failure | None:
    """Why a callback is not worth asking HighLevel about."""
    if error := request.GET.get("error"):
        return ACCESS_DENIED if error == "access_denied" else UPSTREAM_SAID_NO
    if not code:
        return NO_CODE
    if state is None:
        return STATE_REQUIRED if settings.REQUIRE_INSTALL_STATE else None
    return None if states.is_of_browser(request, state) else STATE_MISMATCH


def _connected(request: HttpRequest, account: Account, state: str | None) -> HttpResponse:
    # Only a browser that began the install here gets a session, or an agency's page that follows its locations:
    # anybody can be sent a link with a code and no state.
    is_agency = isinstance(account, Agency)
    if state is not None:
        request.session.cycle_key()
        request.session[CONNECTED_AGENCY if is_agency else CONNECTED_LOCATION] = account.pk
    if not is_agency:
        return render(request, "oauth/connected.html", {"location": account})
    if state is None:
        return render(request, "oauth/agency.html", {"agency": account})
    return redirect(f"{reverse('progress')}?{urlencode({'state': state})}")


@require_GET
@never_cache
@with_logo
def progress(request: HttpRequest) -> HttpResponse:
    """How far the locations of the agency are that this browser has connected."""
    agency = _agency_of(request)
    if agency is None:
        return _fail(request, NO_CODE)
    return render(request, "oauth/agency.html", {"agency": agency, "progress": agency.progress()})


def _agency_of(request: HttpRequest) -> Agency | None:
    # By the state first: of two installs that end at once in one browser, one opens the session that it keeps.
    state = request.GET.get("state", "")
    account = exchanges.account_of(state) if states.is_of_browser(request, state) else None
    if isinstance(account, Agency):
        return account
    return Agency.objects.filter(pk=request.session.get(CONNECTED_AGENCY)).first()


def _fail(request: HttpRequest, failure: Failure, *, retry_after: int | None = None) -> HttpResponse:
    log.info("An install ended with %s", failure.reason)
    response = render(request, "oauth/failed.html", {"failure": failure}, status=failure.status)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response
