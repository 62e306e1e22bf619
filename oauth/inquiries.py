"""Asking HighLevel where the app is installed, with whatever token there is to ask with.
What its answers mean for our rows is reconciling.py's."""

import logging
from collections.abc import Iterator

from ghl.errors import Refused
from ghl.types import Call, InstalledLocation, InstallPage, LocationDetails
from oauth import calling, keeping, upstream, vault
from oauth.keeping import NeedsReconnect, TokenUnavailable
from oauth.minting import AT_ONCE, IN_TURN
from oauth.models import Account, Agency, Location, Token

log = logging.getLogger(__name__)

PAGE = 100
# A person may wait for the page that shows the name.
READ_SECONDS = 5.0
# A letter without a company is looked up in so many agencies at most; the daily check finds the others'.
MOST_AGENCIES = 20


def listing(location: Location) -> InstalledLocation | None:
    """The location as its agency's list shows it; None where it does not, or none can be had."""
    agency = location.connected_agency
    if agency is None:
        return None
    listed = page(agency, location_id=location.pk)
    of_it = (each for each in listed.locations if each.id == location.pk and each.is_installed is not False)
    return next(of_it, None)


def details(location: Location) -> LocationDetails:
    """The sub-account, read with its own token. Raises LocationForbidden where HighLevel refuses that token."""

    def read(token: str, calls: list[Call]) -> LocationDetails:
        return upstream.client().get_location(token, location.pk, timeout=READ_SECONDS, calls=calls)

    return calling.ask(vault.LocationTokens(location.pk), location, AT_ONCE, read)


def has_live_grant(account: Account) -> bool | None:
    """Whether HighLevel refreshes the account's token, which it does only while the app is installed.

    An access token alone is no proof: HighLevel does not say whether it ends with the install. None without a
    refresh token.
    """
    token = Token.objects.of(account).first()
    if token is None or not token.refresh_token:
        return None
    source = (
        vault.AgencyTokens(account.pk) if isinstance(account, Agency) else vault.LocationTokens(account.pk)
    )
    try:
        source.renew(keeping.opened(token, "access_token"))
    except NeedsReconnect:
        return False
    return True


def lists(agency: Agency, location_id: str) -> bool:
    """Whether the agency's list shows the app in the location."""
    listed = page(agency, location_id=location_id).locations
    return any(each.id == location_id and each.is_installed is not False for each in listed)


def agency_that_lists(location_id: str) -> Agency | None:
    """The agency of a location that an event names without it."""
    connected = Agency.objects.exclude(status__in=Account.DISCONNECTED)
    for agency in connected.order_by("-installed_at")[:MOST_AGENCIES]:
        try:
            if lists(agency, location_id):
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
