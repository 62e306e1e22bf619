"""Asking HighLevel where the app is installed, with whatever token there is to ask with.
What its answers mean for our rows is reconciling.py's."""

import logging
from collections.abc import Iterator

from ghl.errors import LocationForbidden, Refused
from ghl.types import Call, InstalledLocation, InstallPage, LocationDetails
from oauth import calling, installs, upstream, vault
from oauth.keeping import NeedsReconnect, TokenUnavailable
from oauth.minting import AT_ONCE, IN_TURN
from oauth.models import Account, Agency, Location, Token

log = logging.getLogger(__name__)

PAGE = 100
# A letter without a company is looked up in so many agencies at most; the daily check finds the others'.
MOST_AGENCIES = 20


def is_installed(account: Account) -> bool | None:
    """What HighLevel says now; None where nobody has a token to ask with.

    Raises a HighLevelError or TokenUnavailable where there was no answer.
    """
    if isinstance(account, Agency):
        return answers(account)
    assert isinstance(account, Location)  # noqa: S101  (there is no third kind)
    try:
        is_listed = listing(account) is not None if account.connected_agency else None
    except Refused:
        is_listed = None
    return is_listed or is_reached(account) or is_listed


def answers(agency: Agency) -> bool | None:
    """Whether HighLevel takes the token it holds; None without any that works."""
    try:
        page(agency)
    except (NeedsReconnect, Refused):
        return None
    return True


def listing(location: Location) -> InstalledLocation | None:
    """The location as its agency's list shows it; None where it does not, or none can be had."""
    agency = location.connected_agency
    if agency is None:
        return None
    listed = page(agency, location_id=location.pk)
    of_it = (each for each in listed.locations if each.id == location.pk and each.is_installed is not False)
    return next(of_it, None)


def is_reached(location: Location) -> bool | None:
    """Whether the token it holds is let through; None without any that works."""
    if not Token.objects.of(location).exists():
        return None

    def ask(token: str, calls: list[Call]) -> LocationDetails:
        return upstream.client().get_location(token, location.pk, calls=calls)

    try:
        details = calling.ask(vault.LocationTokens(location.pk), location, AT_ONCE, ask)
    except LocationForbidden:
        return False
    except (NeedsReconnect, Refused):
        return None
    # Those that came with their agency have been described by nothing else.
    location.learn(**installs.described(location, details))
    return True


def agency_that_lists(location_id: str) -> Agency | None:
    """The agency of a location that a letter names without it."""
    connected = Agency.objects.exclude(status__in=Account.DISCONNECTED)
    for agency in connected.order_by("-installed_at")[:MOST_AGENCIES]:
        try:
            if page(agency, location_id=location_id).locations:
                return agency
        except (Refused, TokenUnavailable) as error:
            log.warning("Agency %s could not be asked for location %s: %s", agency.pk, location_id, error)
    return None


def pages(agency: Agency) -> Iterator[InstallPage]:
    skip = 0
    while True:
        found = page(agency, skip=skip)
        yield found
        # HighLevel's own count is of all the locations, installed or not.
        if len(found.locations) < PAGE:
            return
        skip += PAGE


def page(agency: Agency, *, skip: int = 0, location_id: str | None = None) -> InstallPage:
    def ask(token: str, calls: list[Call]) -> InstallPage:
        return upstream.client().installed_locations(
            token, agency.pk, skip=skip, limit=PAGE, location_id=location_id, calls=calls
        )

    return calling.ask(vault.AgencyTokens(agency.pk), agency, IN_TURN, ask)
