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


class AgencyInstall(Exception):
    """The grant is an agency's: it names no location, so there is nothing to book in yet."""


def complete(grant: TokenGrant) -> Location:
    """Connect the location that a grant is for, new or once more, and keep its token.

    Raises AgencyInstall. Doing it twice with two grants leaves the newer token.
    """
    if grant.location_id is None:
        raise AgencyInstall(f"A grant of type {grant.user_type} without a location")
    with transaction.atomic():
        location = _connect(grant.location_id, grant.company_id)
        vault.store(location, grant)
    log.info("Location %s is connected", location.pk)
    return location


def _connect(location_id: str, company_id: str | None) -> Location:
    connected = {"status": Location.Status.ACTIVE, "not_before": None, "waiting_for": ""}
    if company_id:
        Agency.objects.get_or_create(pk=company_id)
        connected["agency_id"] = company_id
    location, _ = Location.objects.update_or_create(
        pk=location_id, defaults={**connected, "installed_at": timezone.now()}
    )
    return location


def describe(location: Location) -> None:
    """Fetch the location's name and time zone for people to read; without them everything works the same."""
    try:
        details = authorized(
            vault.LocationTokens(location.pk),
            lambda token: upstream.client().get_location(token, location.pk),
        )
    except (HighLevelError, vault.TokenUnavailable) as error:
        log.warning("The name of location %s could not be read: %s", location.pk, error)
        return
    location.name = (details.name or "")[:255]
    location.timezone = (details.timezone or "")[:64]
    location.save(update_fields=["name", "timezone"])
