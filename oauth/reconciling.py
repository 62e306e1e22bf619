"""Bringing our rows in line with where HighLevel has the app, in both directions: letters get lost.
It is done for an agency as soon as it is connected, for everybody once a day, and by `manage.py reconcile`."""

import logging
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from ghl.errors import HighLevelError
from ghl.types import InstalledLocation
from oauth import calling, inquiries, installs, vault
from oauth.installs import locked
from oauth.instants import is_surely_before, latest
from oauth.keeping import NeedsReconnect, TokenUnavailable
from oauth.models import Account, Agency, Location, Token, unbraked

log = logging.getLogger(__name__)
A = TypeVar("A", Agency, Location)

# A check that its worker did not live to end, or that got no answer, is begun anew.
AGAIN_AFTER = timedelta(minutes=10)
IN_A_ROW_SECONDS = 60.0


def check_due() -> None:
    """Check the agencies and the locations whose time has come, one after the other."""
    installs.CHECK.clear()
    while agency := _claim_due(Agency):
        _check(check_agency, agency)
    until = time.monotonic() + IN_A_ROW_SECONDS
    while time.monotonic() < until and (location := _claim_due(Location)):
        _check(check_location, location)


def _claim_due(model: type[A]) -> A | None:
    connected = model._default_manager.exclude(status__in=Account.DISCONNECTED)
    with transaction.atomic():
        rows = connected.filter(unbraked(), check_due_at__lte=Now()).order_by("check_due_at")
        account = rows.select_for_update(skip_locked=True, no_key=True, of=("self",)).first()
        if account is not None:
            model._default_manager.filter(pk=account.pk).update(check_due_at=Now() + AGAIN_AFTER)
    return account


def _check(check: Callable[[A], None], account: A) -> None:
    try:
        check(account)
    except calling.MustWaitItsTurn as error:
        type(account)._default_manager.filter(pk=account.pk).update(check_due_at=Now() + error.retry_after)
    except (HighLevelError, TokenUnavailable) as error:
        log.warning("Whether the app is still in %s could not be asked: %s", account.pk, error)


def check_agency(agency: Agency) -> None:
    """Bring our rows in line with HighLevel's list of the agency's installs, in both directions.

    Raises a HighLevelError or TokenUnavailable where the list could not be read.
    """
    known = _known(agency)
    listed: set[str] = set()
    try:
        for page in inquiries.pages(agency):
            _note_listed(agency, page.locations, known)
            listed |= {each.id for each in page.locations}
    except NeedsReconnect:
        # Then each location's own token tells.
        theirs = agency.locations.exclude(status__in=Account.DISCONNECTED)
        theirs.filter(token__isnull=False).update(check_due_at=Now())
        raise
    _note_approved(agency, listed)
    vault.MINT.send(agency.pk)
    for location in _not_listed(agency, listed, known):
        # Asked for by itself: pages shift while locations come and go.
        check_location(location)
    _checked(agency)


def _known(agency: Agency) -> dict[str, datetime | None]:
    """When its locations were uninstalled, as far as is known before HighLevel is asked."""
    theirs = Location.objects.filter(Q(agency=agency) | Q(agency=None))
    return dict(theirs.values_list("pk", "uninstalled_as_of"))


def _note_listed(
    agency: Agency, listed: Iterable[InstalledLocation], known: dict[str, datetime | None]
) -> None:
    for each in listed:
        if each.is_installed is not False:
            with transaction.atomic():
                _note(locked(Location, each.id), each, agency, known.get(each.id))


def _note(location: Location, listed: InstalledLocation, agency: Agency, known_end: datetime | None) -> None:
    # Asked for after an uninstall was known, the list is newer than that, whatever it says of when.
    proven = known_end is not None and known_end == location.uninstalled_as_of
    as_of = latest(listed.installed_at, known_end) if proven else listed.installed_at
    if not proven and installs.is_over(location, as_of):
        return
    was_updated = location.version_id not in ("", listed.version_id or location.version_id)
    location.learn(
        name=(listed.name or location.name)[:255], version_id=listed.version_id or location.version_id
    )
    installs.note_install(location, as_of, agency, proven=proven)
    if was_updated and location.is_connected:
        location.await_token()


def _note_approved(agency: Agency, listed: set[str]) -> None:
    """What the installer ticked and the list does not show yet: whether HighLevel gives a token will tell.

    Nobody says when that was: it is no news of what is known to have ended, and does not outdate what may come.
    """
    for location_id in sorted(set(agency.approved_locations) - listed):
        with transaction.atomic():
            location = locked(Location, location_id)
            is_new = location.agency_id is None and location.uninstalled_as_of is None
            is_installed = location.status != Account.Status.UNINSTALLED
            if (is_new or is_installed) and not Token.objects.of(location).exists():
                installs.note_install(location, None, agency)


def _not_listed(agency: Agency, listed: set[str], known: dict[str, datetime | None]) -> "QuerySet[Location]":
    """Those that were its before it was asked; not those that were approved and may be on their way."""
    theirs = agency.locations.exclude(status=Account.Status.UNINSTALLED).filter(pk__in=known.keys() - listed)
    on_their_way = Q(pk__in=agency.approved_locations, token__isnull=True, mint_due_at__isnull=False)
    return theirs.exclude(on_their_way).order_by("pk")


def check_location(location: Location) -> None:
    """Bring one location in line with what HighLevel says of it. Raises as `check_agency` does."""
    known_end, before = location.uninstalled_as_of, _version(location)
    listed, reached = inquiries.listing(location), inquiries.is_reached(location)
    if listed is None and reached is None and location.connected_agency is None:
        raise NeedsReconnect("Nobody holds a token to ask with")
    with transaction.atomic():
        now = locked(Location, location.pk)
        # News that came in since, or a token, is newer than the answer.
        is_overtaken = _version(now) != before
        if listed is not None and location.agency is not None:
            _note(now, listed, location.agency, known_end)
        if reached is False and not is_overtaken and (listed is not None or _has_newer_install(now)):
            installs.replace_token(now)
        elif listed is None and not reached and not is_overtaken:
            _end(now)
    _checked(location)


def _version(location: Location) -> tuple[object, ...]:
    token = Token.objects.of(location).values_list("version", flat=True).first()
    return location.installed_as_of, location.uninstalled_as_of, token


def _has_newer_install(location: Location) -> bool:
    """Whether HighLevel told of an install that the token is too old for, and of which it says nothing."""
    token = Token.objects.of(location).first()
    is_newer = token is not None and is_surely_before(token.issued_at, location.installed_as_of)
    return is_newer and location.connected_agency is None


def _end(location: Location) -> None:
    if location.status != Account.Status.UNINSTALLED:
        log.warning("HighLevel no longer has the app in location %s", location.pk)
        installs.end(location, None)


def _checked(account: Account) -> None:
    connected = type(account)._default_manager.filter(pk=account.pk, check_due_at__isnull=False)
    connected.update(check_due_at=Now() + installs.until_next_check())
