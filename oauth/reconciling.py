"""Bringing our rows in line with where HighLevel has the app, in both directions: letters get lost.
It is done for an agency as soon as it is connected, for everybody once a day, and by `manage.py reconcile`."""

import logging
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from ghl.errors import HighLevelError, LocationForbidden, Refused
from ghl.types import InstalledLocation
from oauth import calling, inquiries, installs, vault
from oauth.installs import locked
from oauth.instants import is_surely_before, latest, may_be_before
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
        asked = unbraked() | Q(waiting_for=Account.Waiting.VERIFYING)
        rows = connected.filter(asked, check_due_at__lte=Now()).order_by("check_due_at")
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
        if (as_of := _ended_after_its_token(agency)) is not None:
            confirm_agency_uninstall(agency, ReportedUninstall(as_of))
            return
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


def _ended_after_its_token(agency: Agency) -> datetime | None:
    """When it was uninstalled, as was reported before its token, of an older install, came in."""
    token, ended = Token.objects.of(agency).first(), agency.uninstalled_as_of
    return (
        ended if token is not None and ended is not None and may_be_before(token.issued_at, ended) else None
    )


def _known(agency: Agency) -> dict[str, datetime | None]:
    """When its locations were uninstalled, as far as is known before HighLevel is asked."""
    # One that ended may have come from another agency.
    theirs = Location.objects.filter(Q(agency=agency) | Q(agency=None) | Q(status__in=Account.DISCONNECTED))
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
            if location.agency_id not in (None, agency.pk):
                continue
            is_new = location.agency_id is None and location.uninstalled_as_of is None
            is_installed = location.status != Account.Status.UNINSTALLED
            if (is_new or is_installed) and not Token.objects.of(location).exists():
                installs.note_install(location, None, agency)


def _not_listed(agency: Agency, listed: set[str], known: dict[str, datetime | None]) -> "QuerySet[Location]":
    """Those that were its before it was asked; not those that were approved and may be on their way."""
    theirs = agency.locations.exclude(status=Account.Status.UNINSTALLED).filter(pk__in=known.keys() - listed)
    on_their_way = Q(pk__in=agency.approved_locations, token__isnull=True, mint_due_at__isnull=False)
    return theirs.exclude(on_their_way).order_by("pk")


class ReportedUninstall(NamedTuple):
    """What an event claims and HighLevel has yet to confirm; `at` is HighLevel's clock, where it was told."""

    at: datetime | None


def check_location(location: Location, reported: ReportedUninstall | None = None) -> None:
    """Bring one location in line with what HighLevel says of it. Raises as `check_agency` does.

    Its own token is asked first, and its agency's list where that one is not let through. A reported uninstall
    takes more: an access token may outlive its install, a refresh does not.
    """
    known_end, before = location.uninstalled_as_of, _version(location)
    reached = _is_reached(location, reported)
    listed = None if reached else _listing(location, reached)
    if listed is None and reached is None and location.connected_agency is None:
        raise NeedsReconnect("Nobody holds a token to ask with")
    with transaction.atomic():
        now = locked(Location, location.pk)
        # News that came in since, or a token, is newer than the answer.
        is_overtaken = _version(now) != before
        if listed is not None and location.agency is not None:
            _note(now, listed, location.agency, known_end)
        if (
            reached is False
            and not is_overtaken
            and (listed is not None or _has_newer_install(now, reported))
        ):
            installs.replace_token(now)
        elif listed is None and not reached and not is_overtaken:
            _end(now, reported.at if reported else None)
    installs.end_pause(location)
    _checked(location)
    if is_overtaken and not reached:
        installs.check_soon(location)


def _is_reached(location: Location, reported: ReportedUninstall | None) -> bool | None:
    """Whether HighLevel lets the token it holds through; None without any that it judges."""
    if not Token.objects.of(location).exists():
        return None
    try:
        installs.note_details(location, inquiries.details(location))
        reached: bool | None = True
    except LocationForbidden:
        return False
    except (NeedsReconnect, Refused):
        reached = None
    if reported is None:
        return reached
    is_alive = inquiries.has_live_grant(location)
    return reached if is_alive is None else is_alive


def _listing(location: Location, reached: bool | None) -> InstalledLocation | None:
    try:
        return inquiries.listing(location)
    except Refused:
        if reached is None:
            raise
        return None


def confirm_agency_uninstall(agency: Agency, reported: ReportedUninstall) -> None:
    """Ask HighLevel about an agency's reported uninstall, and end what it confirms. Raises as `check_agency` does."""
    before, was_connected = _version(agency), agency.is_connected
    if _still_has_app(agency):
        installs.end_pause(agency)
        installs.check_soon(agency)
        return
    with transaction.atomic():
        now = locked(Agency, agency.pk)
        if _version(now) != before:
            installs.check_soon(now)
            return
        installs.end(now, reported.at)
    # A token that was refused before the event came says less of when: then each location is asked.
    installs.end_what_came_with(agency, reported.at, ask_each=not was_connected)


def _still_has_app(agency: Agency) -> bool:
    refusal = None
    try:
        inquiries.page(agency)
    except NeedsReconnect:
        return False
    except Refused as error:
        refusal = error
    is_alive = inquiries.has_live_grant(agency)
    if is_alive is None and refusal is not None:
        raise refusal
    return is_alive is not False


def _version(account: Account) -> tuple[object, ...]:
    token = Token.objects.of(account).values_list("version", flat=True).first()
    return account.installed_as_of, account.uninstalled_as_of, token


def _has_newer_install(location: Location, reported: ReportedUninstall | None) -> bool:
    """Whether HighLevel told of an install that the token is too old for, and of which it says nothing."""
    token, installed = Token.objects.of(location).first(), location.installed_as_of
    is_newer = token is not None and is_surely_before(token.issued_at, installed)
    is_over = installs.is_over(location, installed) or _is_no_later(installed, reported)
    return is_newer and not is_over and location.connected_agency is None


def _is_no_later(installed: datetime | None, reported: ReportedUninstall | None) -> bool:
    return bool(installed and reported and reported.at and installed <= reported.at)


def _end(location: Location, as_of: datetime | None) -> None:
    if location.status != Account.Status.UNINSTALLED:
        log.warning("HighLevel no longer has the app in location %s", location.pk)
        installs.end(location, as_of)


def _checked(account: Account) -> None:
    connected = type(account)._default_manager.filter(pk=account.pk, check_due_at__isnull=False)
    connected.update(check_due_at=Now() + installs.until_next_check())
