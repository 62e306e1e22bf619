"""HighLevel's letters about installs: INSTALL, UNINSTALL and UPDATE, at least once each and in any order.
Where they come in and how they are kept is webhooks'; what they mean for our rows is in installs.py."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from ghl.errors import HighLevelError
from ghl.letters import Letter
from oauth import inquiries, installs, reconciling, vault
from oauth.installs import CHECK, locked
from oauth.instants import may_be_before
from oauth.keeping import NeedsReconnect, TokenUnavailable
from oauth.models import ID_LENGTH, Account, Agency, Location, Token
from oauth.reconciling import ReportedUninstall

log = logging.getLogger(__name__)

# So long after an install HighLevel's list may not show it yet.
LIST_LAG = timedelta(minutes=1)


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
    """UNINSTALL: of a location, or of an agency with what came with it. HighLevel is asked before anything ends.

    Its signature says only that HighLevel wrote to some app. Where HighLevel cannot be asked now the account is
    paused and the event comes again. Raises a HighLevelError or TokenUnavailable then.
    """
    account = _account_of(letter)
    if account is None:
        log.warning("An UNINSTALL names neither a location nor a company")
        return
    if isinstance(account, Agency):
        _agency_uninstalled(account, letter.sent_at)
    elif isinstance(account, Location):
        _location_uninstalled(account, letter.sent_at)
    CHECK.send()


def _account_of(letter: Letter) -> Account | None:
    # The row is made where it is new: the INSTALL that this follows may be on its way yet.
    with transaction.atomic():
        if letter.location_id:
            return locked(Location, letter.location_id[:ID_LENGTH])
        return locked(Agency, letter.company_id[:ID_LENGTH]) if letter.company_id else None


def _location_uninstalled(location: Location, sent_at: datetime | None) -> None:
    holds_token = Token.objects.of(location).exists()
    if _has_newer_token(location, sent_at) or (not holds_token and _is_older(location, sent_at)):
        log.info("%s was installed after the UNINSTALL", location.pk)
    elif location.status == Account.Status.UNINSTALLED or _was_never_connected(location):
        _remember_end(location, sent_at)
    else:
        _ask(location, lambda: reconciling.check_location(location, ReportedUninstall(sent_at)))


def _was_never_connected(location: Location) -> bool:
    """Nothing hangs on it yet, and nobody can ask HighLevel."""
    never = location.installed_at is None and not Token.objects.of(location).exists()
    return never and location.connected_agency is None


def _agency_uninstalled(agency: Agency, sent_at: datetime | None) -> None:
    if agency.status == Account.Status.UNINSTALLED:
        if sent_at is not None and agency.installed_at is not None and agency.uninstalled_as_of == sent_at:
            # It was confirmed, and then cut short.
            installs.end_what_came_with(agency, sent_at)
        _remember_end(agency, sent_at)
    elif _has_newer_token(agency, sent_at):
        log.info("%s was installed after the UNINSTALL", agency.pk)
        assert sent_at is not None  # noqa: S101  (nothing is newer than what has no time)
        installs.doubt_older_tokens(agency, sent_at)
        installs.check_soon(agency)
    else:
        _ask(agency, lambda: reconciling.confirm_agency_uninstall(agency, ReportedUninstall(sent_at)))


def _has_newer_token(account: Account, sent_at: datetime | None) -> bool:
    """Whether HighLevel has given a token since, which only an install has."""
    token = Token.objects.of(account).first()
    return sent_at is not None and token is not None and not may_be_before(token.issued_at, sent_at)


def _remember_end(account: Account, sent_at: datetime | None) -> None:
    """Nothing is to be ended; but older news of an install is none from now on."""
    with transaction.atomic():
        account = locked(type(account), account.pk)
        if not Token.objects.of(account).exists() and not _is_older(account, sent_at):
            installs.end(account, sent_at)


def _ask(account: Account, check: Callable[[], None]) -> None:
    try:
        check()
    except (HighLevelError, TokenUnavailable) as error:
        if isinstance(error, NeedsReconnect) and not account.is_connected:
            # It waits for somebody to reconnect it, and that is what will tell.
            log.warning("Nobody can ask HighLevel whether %s was uninstalled", account.pk)
            return
        log.warning("HighLevel could not be asked whether %s was uninstalled: %s", account.pk, error)
        installs.pause(account)
        raise


def _is_older(account: Account, sent_at: datetime | None) -> bool:
    return bool(sent_at and account.installed_as_of and sent_at < account.installed_as_of)


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
    company_id = letter.company_id and letter.company_id[:ID_LENGTH]
    agency = _agency_that_lists(location_id, company_id)
    with transaction.atomic():
        location = locked(Location, location_id)
        if _went_with_its_agency(location, company_id, letter.sent_at):
            return
        is_latest = installs.is_latest(location, letter.sent_at)
        is_contradicted = company_id not in (None, location.agency_id)
        installs.note_install(location, letter.sent_at, agency, version_id=_version_id(letter))
        if is_contradicted and is_latest:
            # Its own details tell whose it is, or the list of the agency named; until then it stays whose it was.
            installs.check_soon(location)
            installs.check_soon(Agency(pk=company_id))
    if location.agency_id and location.mint_due_at:
        vault.MINT.send(location.agency_id)


def _agency_that_lists(location_id: str, company_id: str | None) -> Agency | None:
    """The agency that HighLevel answers has the app in the location; None where its own token will tell, or nobody.

    What the event says is only whom to ask.
    """
    known = Location.objects.filter(pk=location_id).first()
    if known is not None and known.is_connected and _holds_token(location_id):
        return None
    if known is not None and known.agency_id is not None and company_id in (None, known.agency_id):
        return None
    if company_id is None:
        # Of a sub-account made later HighLevel may leave the company out.
        return inquiries.agency_that_lists(location_id)
    agency = Agency.objects.exclude(status__in=Account.DISCONNECTED).filter(pk=company_id).first()
    if agency is None or inquiries.lists(agency, location_id):
        return agency
    # Its list may lag behind.
    soon = Now() + LIST_LAG
    Agency.objects.filter(pk=agency.pk, check_due_at__gt=soon).update(check_due_at=soon)
    return None


def _went_with_its_agency(location: Location, company_id: str | None, sent_at: datetime | None) -> bool:
    """Whether the agency's uninstall, which came here first, was of this install too.

    Nothing tells one that came with the agency from one of the location's own, but the token that came with that.
    """
    agency = Agency.objects.filter(pk=company_id or location.agency_id).first()
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
