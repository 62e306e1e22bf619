"""Asking HighLevel where the app is installed, and bringing our rows in line: letters get lost, in both directions.
It is done for an agency as soon as it is connected, for everybody once a day, and by `manage.py reconcile`."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from ghl.errors import HighLevelError, LocationForbidden, Refused
from ghl.types import Call, InstalledLocation, InstallPage, LocationDetails
from oauth import calling, installs, upstream, vault
from oauth.installs import locked
from oauth.instants import is_surely_before, latest
from oauth.keeping import NeedsReconnect, TokenUnavailable
from oauth.minting import AT_ONCE, IN_TURN
from oauth.models import Account, Agency, Location, Token

log = logging.getLogger(__name__)
A = TypeVar("A", Agency, Location)

PAGE = 100
# A letter without a company is looked up in so many agencies at most; the daily check finds the others'.
MOST_AGENCIES = 20
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
    free = Q(not_before__isnull=True) | Q(not_before__lte=Now())
    connected = model._default_manager.exclude(status__in=Account.DISCONNECTED)
    with transaction.atomic():
        rows = connected.filter(free, check_due_at__lte=Now()).order_by("check_due_at")
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
        for page in _pages(agency):
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
    def ask(token: str, calls: list[Call]) -> InstallPage:
        return upstream.client().installed_locations(
            token, agency.pk, skip=skip, limit=PAGE, location_id=location_id, calls=calls
        )

    return calling.ask(vault.AgencyTokens(agency.pk), agency, IN_TURN, ask)


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
    known_end = location.uninstalled_as_of
    listed, reached = _listing(location), _is_reached(location)
    if listed is not None and location.agency is not None:
        with transaction.atomic():
            now = locked(Location, location.pk)
            _note(now, listed, location.agency, known_end)
            if reached is False and _is_unchanged(now, location):
                installs.replace_token(now)
        vault.MINT.send(location.agency.pk)
    elif reached is False or (reached is None and _has_agency(location)):
        _end(location)
    _checked(location)


def _end(location: Location) -> None:
    with transaction.atomic():
        now = locked(Location, location.pk)
        # An install since we asked is newer than the answer.
        if now.status == Account.Status.UNINSTALLED or not _is_unchanged(now, location):
            return
        token = Token.objects.of(now).first()
        if token and not _has_agency(now) and is_surely_before(token.issued_at, now.installed_as_of):
            # HighLevel told of an install that is newer than the token, which says nothing of it.
            installs.replace_token(now)
            return
        log.warning("HighLevel no longer has the app in location %s", location.pk)
        installs.end(now, None)


def _is_unchanged(now: Location, before: Location) -> bool:
    """Whether no news came in, and no token, while HighLevel was asked."""
    return (now.installed_as_of, now.uninstalled_as_of) == (before.installed_as_of, before.uninstalled_as_of)


def _checked(account: Account) -> None:
    connected = type(account)._default_manager.filter(pk=account.pk, check_due_at__isnull=False)
    connected.update(check_due_at=Now() + installs.until_next_check())


def is_installed(account: Account) -> bool | None:
    """What HighLevel says now; None where nobody has a token to ask with.

    Raises a HighLevelError or TokenUnavailable where there was no answer.
    """
    if isinstance(account, Location):
        listed = _listing(account) is not None
        return True if listed else _is_reached(account) or (False if _has_agency(account) else None)
    return _answers(account)


def _answers(agency: Account) -> bool | None:
    try:
        _page(agency)  # type: ignore[arg-type]
    except (NeedsReconnect, Refused):
        return None
    return True


def _has_agency(location: Location) -> bool:
    return location.agency is not None and location.agency.is_connected


def _listing(location: Location) -> InstalledLocation | None:
    """The location as its agency's list shows it; None where it does not, or none can be had."""
    if location.agency is None or not _has_agency(location):
        return None
    page = _page(location.agency, location_id=location.pk)
    of_it = (each for each in page.locations if each.id == location.pk and each.is_installed is not False)
    return next(of_it, None)


def _is_reached(location: Location) -> bool | None:
    """Whether the token it holds is let through; None without any that works."""
    if not Token.objects.of(location).exists():
        return None

    def ask(token: str, calls: list[Call]) -> LocationDetails:
        return upstream.client().get_location(token, location.pk, calls=calls)

    try:
        calling.ask(vault.LocationTokens(location.pk), location, AT_ONCE, ask)
    except LocationForbidden:
        return False
    except (NeedsReconnect, Refused):
        return None
    return True


def agency_that_lists(location_id: str) -> Agency | None:
    """The agency of a location that a letter names without it."""
    connected = Agency.objects.exclude(status__in=Account.DISCONNECTED)
    for agency in connected.order_by("-installed_at")[:MOST_AGENCIES]:
        try:
            if _page(agency, location_id=location_id).locations:
                return agency
        except (Refused, TokenUnavailable) as error:
            log.warning("Agency %s could not be asked for location %s: %s", agency.pk, location_id, error)
    return None
