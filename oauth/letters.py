"""HighLevel's letters about installs: INSTALL, UNINSTALL and UPDATE, at least once each and in any order.
Where they come in and how they are kept is webhooks'; what they mean for our rows is in installs.py."""

import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from ghl.letters import Letter
from oauth import installs, reconciling, vault
from oauth.installs import CHECK, locked
from oauth.models import ID_LENGTH, Account, Agency, Location, Token

log = logging.getLogger(__name__)

# A token's `iat` is in whole seconds: which of it and a letter was first cannot be told within one.
UNSURE_FOR = timedelta(seconds=1)


def installed(letter: Letter) -> None:
    """INSTALL: of an agency, or of one location, which may be a new one of an agency's."""
    _note_agency(letter)
    if letter.location_id:
        _location_installed(letter, letter.location_id)
    CHECK.send()


def updated(letter: Letter) -> None:
    """UPDATE: another version of the app, whose scopes only a new token has."""
    installed(letter)
    if letter.location_id:
        _renew_soon(Location.objects.filter(pk=letter.location_id))
    elif letter.company_id:
        _renew_soon(Location.objects.filter(agency_id=letter.company_id))
        Token.objects.filter(agency_id=letter.company_id, refresh_due_at__isnull=False).update(
            refresh_due_at=Now()
        )


def uninstalled(letter: Letter) -> None:
    """UNINSTALL: of a location, or of an agency with what came with it. One older than the install is none."""
    account = _account_of(letter)
    if account is None:
        log.warning("An UNINSTALL names neither a location nor a company")
        return
    seen = account.installed_as_of
    if _is_older(account, letter.sent_at):
        log.info("%s was installed after the UNINSTALL", account.pk)
    elif not _is_unsure(account, letter.sent_at) or not reconciling.is_installed(account):
        _end(account, letter.sent_at, seen)


def _account_of(letter: Letter) -> Account | None:
    # The row is made where it is new: the INSTALL that this follows may be on its way yet.
    with transaction.atomic():
        if letter.location_id:
            return locked(Location, letter.location_id[:ID_LENGTH])
        return locked(Agency, letter.company_id[:ID_LENGTH]) if letter.company_id else None


def _is_older(account: Account, sent_at: datetime | None) -> bool:
    return bool(sent_at and account.installed_as_of and sent_at < account.installed_as_of)


def _is_unsure(account: Account, sent_at: datetime | None) -> bool:
    """Too close to the install to tell, or without a time: then HighLevel is asked."""
    if account.status == Account.Status.UNINSTALLED or account.installed_as_of is None:
        return False
    return sent_at is None or sent_at < account.installed_as_of + UNSURE_FOR


def _end(account: Account, sent_at: datetime | None, seen: datetime | None) -> None:
    with transaction.atomic():
        account = locked(type(account), account.pk)
        # News that came in while HighLevel was asked may be newer than the answer.
        if account.installed_as_of == seen or not _is_older(account, sent_at):
            installs.end(account, sent_at)


def _note_agency(letter: Letter) -> None:
    if not letter.company_id:
        return
    with transaction.atomic():
        agency = locked(Agency, letter.company_id[:ID_LENGTH])
        agency.name = (letter.company_name or agency.name)[:255]
        if letter.is_whitelabel is not None:
            agency.brand_domain = (letter.brand_domain or "")[:255]
            agency.brand_logo_url = _https(letter.brand_logo_url)
        if not letter.location_id:
            _note_agency_install(agency, letter)
        agency.save(
            update_fields=[
                "name",
                "brand_domain",
                "brand_logo_url",
                "version_id",
                "installed_as_of",
                "check_due_at",
            ]
        )


def _note_agency_install(agency: Agency, letter: Letter) -> None:
    if agency.uninstalled_as_of and letter.sent_at and letter.sent_at < agency.uninstalled_as_of:
        return
    agency.version_id = (letter.version_id or agency.version_id)[:ID_LENGTH]
    agency.installed_as_of = installs.latest(agency.installed_as_of, letter.sent_at)
    if agency.status == Account.Status.ACTIVE:
        agency.check_due_at = timezone.now()


def _https(url: str | None) -> str:
    return url if url and url.startswith("https://") and len(url) <= 1000 else ""


def _location_installed(letter: Letter, location_id: str) -> None:
    agency = Agency.objects.filter(pk=letter.company_id).first() if letter.company_id else None
    if agency is None and not Location.objects.filter(pk=location_id, agency__isnull=False).exists():
        # Of a sub-account made later HighLevel may leave the company out.
        agency = reconciling.agency_that_lists(location_id)
    with transaction.atomic():
        location = locked(Location, location_id[:ID_LENGTH])
        location.version_id = (letter.version_id or location.version_id)[:ID_LENGTH]
        location.save(update_fields=["version_id"])
        installs.note_install(location, letter.sent_at, agency)
    if location.agency_id and location.mint_due_at:
        vault.MINT.send(location.agency_id)


def _renew_soon(locations: "QuerySet[Location]") -> None:
    """A token of the new version's scopes: with the agency's where it came with it, else at the next refresh."""
    theirs = locations.filter(came_with_agency=True, agency__status=Account.Status.ACTIVE)
    theirs.update(mint_due_at=Now(), mint_failures=0)
    own = Token.objects.filter(
        location__in=locations.filter(came_with_agency=False), refresh_due_at__isnull=False
    )
    own.update(refresh_due_at=Now())
