"""Asking HighLevel where the app is installed, and bringing our rows in line: letters get lost, in both directions.
It is done for an agency as soon as it is connected, for everybody once a day, and by `manage.py reconcile`."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from ghl.auth import authorized
from ghl.errors import AccessRefused, HighLevelError, LocationForbidden
from ghl.types import InstalledLocation, InstallPage
from oauth import installs, upstream, vault
from oauth.installs import locked
from oauth.keeping import NeedsReconnect, TokenUnavailable
from oauth.models import Account, Agency, Location

log = logging.getLogger(__name__)
A = TypeVar("A", Agency, Location)

PAGE = 100
# A letter without a company is looked up in so many agencies at most; the daily check finds the others'.
MOST_AGENCIES = 20
# A check that its worker did not live to end is begun anew.
AGAIN_AFTER = timedelta(minutes=10)
IN_A_ROW_SECONDS = 60.0


def check_due() -> None:
    """Check the agencies and the locations whose time has come, one after the other."""
    installs.CHECK.clear()
    while agency := _claim_due(Agency):
        _check(check_agency, agency)
    # Of an agency's locations its list has told.
    alone = ~Q(agency__status=Account.Status.ACTIVE) | Q(agency=None)
    until = time.monotonic() + IN_A_ROW_SECONDS
    while time.monotonic() < until and (location := _claim_due(Location, alone)):
        _check(check_location, location)


def _claim_due(model: type[A], *conditions: Q) -> A | None:
    connected = model._default_manager.exclude(status__in=Account.DISCONNECTED)
    due = connected.filter(*conditions, check_due_at__lte=Now())
    with transaction.atomic():
        rows = due.order_by("check_due_at").select_for_update(skip_locked=True, no_key=True, of=("self",))
        account = rows.first()
        if account is not None:
            model._default_manager.filter(pk=account.pk).update(check_due_at=Now() + AGAIN_AFTER)
    return account


def _check(check: Callable[[A], None], account: A) -> None:
    try:
        check(account)
    except (HighLevelError, TokenUnavailable) as error:
        log.warning("Whether the app is still in %s could not be asked: %s", account.pk, error)


def check_agency(agency: Agency) -> None:
    """Bring our rows in line with HighLevel's list of the agency's installs, in both directions.

    Raises a HighLevelError or TokenUnavailable where the list could not be read.
    """
    listed = set(agency.approved_locations)
    before = _installed_as_of(agency)
    for page in _pages(agency):
        _note_installed(agency, page.locations)
        listed |= {each.id for each in page.locations}
    _note_approved(agency)
    vault.MINT.send(agency.pk)
    for location_id in sorted(before.keys() - listed):
        # Asked for by itself: pages shift while locations come and go.
        check_location(Location.objects.get(pk=location_id))
    _checked(agency)


def _installed_as_of(agency: Agency) -> dict[str, object]:
    theirs = Location.objects.filter(agency=agency).exclude(status=Account.Status.UNINSTALLED)
    return dict(theirs.values_list("pk", "installed_as_of"))


def _pages(agency: Agency) -> Iterator[InstallPage]:
    skip = 0
    while True:
        page = _page(agency, skip=skip)
        yield page
        # HighLevel's own count is of all the locations, installed or not.
        if len(page.locations) < PAGE:
            return
        skip += PAGE


def _page(agency: Agency, *, skip: int = 0, location_id: str | None = None) -> InstallPage:
    return authorized(
        vault.AgencyTokens(agency.pk),
        lambda token: upstream.client().installed_locations(
            token, agency.pk, skip=skip, limit=PAGE, location_id=location_id
        ),
    )


def _note_installed(agency: Agency, listed: Iterable[InstalledLocation]) -> None:
    for each in listed:
        if each.is_installed is False:
            continue
        with transaction.atomic():
            location = locked(Location, each.id)
            location.name = (each.name or location.name)[:255]
            location.version_id = each.version_id or location.version_id
            location.save(update_fields=["name", "version_id"])
            installs.note_install(location, each.installed_at, agency)


def _note_approved(agency: Agency) -> None:
    """What the installer ticked and the list does not show yet: whether HighLevel gives a token will tell."""
    for location_id in agency.approved_locations:
        with transaction.atomic():
            location = locked(Location, location_id)
            if location.installed_as_of is None:
                installs.note_install(location, agency.installed_as_of, agency)


def check_location(location: Location) -> None:
    """End what HighLevel says is gone. Raises as `check_agency` does."""
    if is_installed(location) is False:
        _end(location)
    _checked(location)


def _checked(account: Account) -> None:
    connected = type(account)._default_manager.filter(pk=account.pk, check_due_at__isnull=False)
    connected.update(check_due_at=Now() + installs.until_next_check())


def _end(location: Location) -> None:
    with transaction.atomic():
        now = locked(Location, location.pk)
        # An install since we asked is newer than the answer.
        if now.installed_as_of == location.installed_as_of and now.status != Account.Status.UNINSTALLED:
            log.warning("HighLevel no longer lists the app in location %s", location.pk)
            installs.end(now, None)


def is_installed(account: Account) -> bool | None:
    """What HighLevel says now; None where nobody has a token to ask with.

    Raises a HighLevelError or TokenUnavailable where there was no answer.
    """
    try:
        if isinstance(account, Location):
            return _is_listed(account) if _has_agency(account) else _is_reached(account)
        _page(account)  # type: ignore[arg-type]
    except NeedsReconnect:
        return None
    except AccessRefused:
        return False
    return True


def _has_agency(location: Location) -> bool:
    return location.agency is not None and location.agency.status == Account.Status.ACTIVE


def _is_listed(location: Location) -> bool:
    page = _page(location.agency, location_id=location.pk)  # type: ignore[arg-type]
    return any(each.id == location.pk and each.is_installed is not False for each in page.locations)


def _is_reached(location: Location) -> bool:
    try:
        authorized(
            vault.LocationTokens(location.pk),
            lambda token: upstream.client().get_location(token, location.pk),
        )
    except LocationForbidden:
        return False
    return True


def agency_that_lists(location_id: str) -> Agency | None:
    """The agency of a location that a letter names without it."""
    for agency in Agency.objects.filter(status=Account.Status.ACTIVE).order_by("-installed_at")[
        :MOST_AGENCIES
    ]:
        try:
            if _page(agency, location_id=location_id).locations:
                return agency
        except (AccessRefused, TokenUnavailable) as error:
            log.warning("Agency %s could not be asked for location %s: %s", agency.pk, location_id, error)
    return None
