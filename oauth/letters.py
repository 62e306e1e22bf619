"""HighLevel's letters about installs: INSTALL, UNINSTALL and UPDATE, at least once each and in any order.
Where they come in and how they are kept is webhooks'; what they mean for our rows is in installs.py."""

import logging
from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from ghl.letters import Letter
from oauth import inquiries, installs, vault
from oauth.installs import CHECK, locked
from oauth.instants import IAT_STEP
from oauth.models import ID_LENGTH, Account, Agency, Location, Token

log = logging.getLogger(__name__)


def installed(letter: Letter) -> None:
    """INSTALL: of an agency, or of one location, which may be a new one of an agency's."""
    _note_agency(letter)
    if letter.location_id:
        _location_installed(letter, letter.location_id[:ID_LENGTH])
    CHECK.send()


def updated(letter: Letter) -> None:
    """UPDATE: another version of the app, whose scopes only a new token has."""
    if letter.location_id and _holds_token(letter.location_id):
        _note_version(letter, letter.location_id)
    else:
        installed(letter)
    if letter.location_id:
        _renew_soon(Location.objects.filter(pk=letter.location_id), letter.sent_at)
    elif letter.company_id:
        _renew_soon(Location.objects.filter(agency_id=letter.company_id), letter.sent_at)
        _refresh_soon(Token.objects.filter(agency_id=letter.company_id), letter.sent_at)


def uninstalled(letter: Letter) -> None:
    """UNINSTALL: of a location, or of an agency with what came with it. One older than the install is none."""
    account = _account_of(letter)
    if account is None:
        log.warning("An UNINSTALL names neither a location nor a company")
        return
    if _is_older(account, letter.sent_at):
        log.info("%s was installed after the UNINSTALL", account.pk)
        installs.outlive(account, letter.sent_at)
    elif _is_unsure(account, letter.sent_at) and inquiries.is_installed(account):
        installs.outlive(account, letter.sent_at)
    else:
        _end(account, letter.sent_at)
    CHECK.send()


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
    if account.status == Account.Status.UNINSTALLED:
        return False
    return None in (sent_at, account.installed_as_of) or sent_at < account.installed_as_of + IAT_STEP  # type: ignore[operator]


def _end(account: Account, sent_at: datetime | None) -> None:
    seen = account.installed_as_of
    with transaction.atomic():
        account = locked(type(account), account.pk)
        # News that came in while HighLevel was asked may be newer than the answer.
        if account.installed_as_of != seen and (sent_at is None or _is_older(account, sent_at)):
            return
        installs.end(account, sent_at)
    if isinstance(account, Agency):
        installs.end_what_came_with(account, sent_at)


def _note_agency(letter: Letter) -> None:
    if not letter.company_id:
        return
    with transaction.atomic():
        agency = locked(Agency, letter.company_id[:ID_LENGTH])
        agency.learn(name=(letter.company_name or agency.name)[:255])
        if letter.is_whitelabel is not None:
            brand_domain, logo = (letter.brand_domain or "")[:255], _https(letter.brand_logo_url)
            agency.learn(brand_domain=brand_domain, brand_logo_url=logo)
        if not letter.location_id and not _is_older(agency, letter.sent_at):
            agency.learn(version_id=_version_id(letter) or agency.version_id)
            # Whether it is installed its grant tells; that there is something new its list shows.
            agency.learn(check_due_at=timezone.now() if agency.is_connected else None)


def _https(url: str | None) -> str:
    return url if url and url.startswith("https://") and len(url) <= 1000 else ""


def _location_installed(letter: Letter, location_id: str) -> None:
    agency = Agency.objects.filter(pk=letter.company_id).first() if letter.company_id else None
    if agency is None and not Location.objects.filter(pk=location_id, agency__isnull=False).exists():
        # Of a sub-account made later HighLevel may leave the company out.
        agency = inquiries.agency_that_lists(location_id)
    with transaction.atomic():
        location = locked(Location, location_id)
        if not _went_with_its_agency(location, agency, letter.sent_at):
            installs.note_install(location, letter.sent_at, agency, version_id=_version_id(letter))
    if location.agency_id and location.mint_due_at:
        vault.MINT.send(location.agency_id)


def _went_with_its_agency(location: Location, agency: Agency | None, sent_at: datetime | None) -> bool:
    """Whether the agency's uninstall, which came here first, was of this install too.

    Nothing tells one that came with the agency from one of the location's own, but the token that came with that.
    """
    agency = agency or location.agency
    ended = agency.uninstalled_as_of if agency else None
    is_older = ended is not None and sent_at is not None and sent_at <= ended
    return is_older and not Token.objects.of(location).exists()


def _holds_token(location_id: str) -> bool:
    return Token.objects.filter(location_id=location_id).exists()


def _note_version(letter: Letter, location_id: str) -> None:
    with transaction.atomic():
        location = locked(Location, location_id)
        if not _is_older(location, letter.sent_at):
            location.learn(version_id=_version_id(letter) or location.version_id)


def _version_id(letter: Letter) -> str:
    return (letter.version_id or "")[:ID_LENGTH]


def _renew_soon(locations: "QuerySet[Location]", sent_at: datetime | None) -> None:
    """A token of the new version's scopes: an agency can give one, and a refresh brings them if anything does."""
    connected = locations.exclude(status__in=Account.DISCONNECTED)
    theirs = connected.filter(agency__status=Account.Status.ACTIVE)
    before = Token.objects.filter(_issued_before(sent_at), kind=Token.Kind.OAUTH)
    theirs.filter(token__in=before).update(mint_due_at=Now(), mint_failures=0)
    _refresh_soon(Token.objects.filter(location__in=connected.exclude(pk__in=theirs)), sent_at)


def _refresh_soon(tokens: "QuerySet[Token]", sent_at: datetime | None) -> None:
    tokens.filter(_issued_before(sent_at), refresh_due_at__isnull=False).update(refresh_due_at=Now())


def _issued_before(sent_at: datetime | None) -> Q:
    return Q() if sent_at is None else Q(issued_at__isnull=True) | Q(issued_at__lte=sent_at)
