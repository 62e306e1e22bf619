"""What an install means for our rows: `complete` turns HighLevel's grant into a connected location.
How tokens are kept is in vault.py; the browser's way here is in views.py."""

import logging

from django.db import transaction
from django.utils import timezone

from ghl.auth import authorized
from ghl.errors import HighLevelError
from ghl.types import TokenGrant
from oauth import upstream, vault
from oauth.models import Agency, Location

log = logging.getLogger(__name__)

# A person waits for the page that shows the name.
DESCRIBE_SECONDS = 5.0


class AgencyInstall(Exception):
    """The grant is an agency's: it names no location, so there is nothing to book in yet."""


def complete(grant: TokenGrant) -> Location:
    """Connect the location that a grant is for, new or once more, and keep its token.

    Raises AgencyInstall. Two grants leave the newer token, in whichever order and however close they come.
    """
    if grant.location_id is None:
        raise AgencyInstall(f"A grant of type {grant.user_type} without a location")
    with transaction.atomic():
        location = _locked(grant.location_id)
        if vault.store(location, grant):
            _connect(location, grant.company_id)
    log.info("Location %s is connected", location.pk)
    return location


def _locked(location_id: str) -> Location:
    """The location's row, made where it is new, and held: of two installs at once the second waits for the first."""
    location, _ = Location.objects.select_for_update().get_or_create(pk=location_id)
    return location


def _connect(location: Location, company_id: str | None) -> None:
    if company_id:
        location.agency, _ = Agency.objects.get_or_create(pk=company_id)
    location.status = Location.Status.ACTIVE
    location.not_before = None
    location.waiting_for = ""
    location.installed_at = timezone.now()
    location.save(update_fields=["agency", "status", "not_before", "waiting_for", "installed_at"])


def describe(location: Location) -> None:
    """Fetch the location's name and time zone for people to read; without them everything works the same."""
    try:
        details = authorized(
            vault.LocationTokens(location.pk),
            lambda token: upstream.client().get_location(token, location.pk, timeout=DESCRIBE_SECONDS),
        )
    except (HighLevelError, vault.TokenUnavailable) as error:
        log.warning("The name of location %s could not be read: %s", location.pk, error)
        return
    location.name = (details.name or location.name)[:255]
    location.timezone = (details.timezone or location.timezone)[:64]
    location.save(update_fields=["name", "timezone"])
