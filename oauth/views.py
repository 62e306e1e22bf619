"""A browser's way through an install: to HighLevel's consent and back, each end with a page that says what is so.
What an install means for our rows is in installs.py."""

import logging
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from ghl.errors import ClientMisconfigured, CodeRejected, HighLevelError, TimedOut
from ghl.types import TokenGrant
from oauth import installs, provider
from oauth.models import Agency, Location

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


@require_GET
@never_cache
def install(request: HttpRequest) -> HttpResponse:
    """302 to HighLevel's consent page."""
    return provider.redirect_to_consent(request)


@require_GET
@never_cache
def callback(request: HttpRequest) -> HttpResponse:
    """Where HighLevel sends the browser back to, with a code (ours if it has our `state`) or an error."""
    if error := request.GET.get("error"):
        return _fail(request, ACCESS_DENIED if error == "access_denied" else UPSTREAM_SAID_NO)
    if not request.GET.get("code"):
        return _fail(request, NO_CODE)
    try:
        grant = _exchange(request)
        account = installs.complete(grant)
    except provider.StateMismatch:
        return _fail(request, STATE_MISMATCH)
    except HighLevelError as failure:
        log.warning("The exchange of a code failed: %s", failure)
        return _fail(request, _failure(failure))
    if isinstance(account, Agency):
        return _agency_connected(request, account)
    return _location_connected(request, account)


def _location_connected(request: HttpRequest, location: Location) -> HttpResponse:
    installs.describe(location)
    _open_session(request, CONNECTED_LOCATION, location.pk)
    return render(request, "oauth/connected.html", {"location": location})


def _agency_connected(request: HttpRequest, agency: Agency) -> HttpResponse:
    """A page that follows the locations as they are connected; only the browser that began the install has it."""
    if _open_session(request, CONNECTED_AGENCY, agency.pk):
        return redirect("progress")
    return render(request, "oauth/agency.html", {"agency": agency})


@require_GET
@never_cache
def progress(request: HttpRequest) -> HttpResponse:
    """How far the locations of the agency are that this browser has connected."""
    agency = Agency.objects.filter(pk=request.session.get(CONNECTED_AGENCY)).first()
    if agency is None:
        return _fail(request, NO_CODE)
    return render(request, "oauth/agency.html", {"agency": agency, "progress": agency.progress()})


def _exchange(request: HttpRequest) -> TokenGrant:
    if "state" in request.GET:
        return provider.exchange(request)
    return provider.exchange_without_state(request.GET["code"])


def _open_session(request: HttpRequest, name: str, account_id: str) -> bool:
    # Only a browser that began the install here: anybody can be sent a link with a code and no state.
    if "state" not in request.GET:
        return False
    request.session.cycle_key()
    request.session[name] = account_id
    return True


def _failure(error: HighLevelError) -> Failure:
    match error:
        case CodeRejected():
            return CODE_REJECTED
        case ClientMisconfigured():
            return MISCONFIGURED
        case TimedOut():
            return TIMED_OUT
        case _:
            return UPSTREAM_FAILED


def _fail(request: HttpRequest, failure: Failure) -> HttpResponse:
    log.info("An install ended with %s", failure.reason)
    return render(request, "oauth/failed.html", {"failure": failure}, status=failure.status)
