"""What installs and uninstalls mean for our rows, whoever tells of them: a grant, a letter, a list of HighLevel's.

News arrives in any order. What decides is HighLevel's clock alone (instants.py), by three rules. A location has
the app where the latest news of an install is later than that of an uninstall. An uninstall ends every token issued
before it, whatever was installed since. An agency has the app where it holds a token: only a grant brings one.
Letters are read in letters.py, lists in reconciling.py.
"""

import logging
import random
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from ghl.auth import authorized
from ghl.errors import HighLevelError, UnreadableAnswer
from ghl.types import LocationDetails, TokenGrant
from oauth import keeping, upstream, vault
from oauth.instants import is_surely_before, latest, may_be_before
from oauth.minting import NOT_MINTING, ended_since, is_in_doubt
from oauth.models import Account, Agency, Location, Token
from oauth.wakeups import WakeUp

log = logging.getLogger(__name__)
A = TypeVar("A", bound=Account)

# How often HighLevel is asked whether the app is still installed: letters get lost.
CHECK_EVERY = timedelta(days=1)
CHECK = WakeUp("oauth.tasks.check_installs")
# A person waits for the page that shows the name.
DESCRIBE_SECONDS = 5.0


def complete(grant: TokenGrant) -> Agency | Location:
    """Connect the agency or the location that a grant is for, new or once more, and keep its token.

    An agency's locations follow in the background. Two grants leave the newer token, in whichever order and
    however close they come. Raises UnreadableAnswer for a grant that names neither.
    """
    if grant.location_id is not None:
        return _complete_location(grant, grant.location_id)
    if grant.company_id is not None:
        return _complete_agency(grant, grant.company_id)
    raise UnreadableAnswer("a grant for neither an agency nor a location")


def _complete_location(grant: TokenGrant, location_id: str) -> Location:
    with transaction.atomic():
        location = locked(Location, location_id)
        if not ended_since(location, grant) and keeping.store(location, grant):
            location.connect(
                agency=_agency_of(location, grant.company_id),
                came_with_agency=False,
                installed_as_of=latest(location.installed_as_of, grant.issued_at),
                version_id=grant.version_id or location.version_id,
                scopes_refused=[],
                check_due_at=Now() + (timedelta(0) if is_in_doubt(location, grant) else until_next_check()),
                **NOT_MINTING,
            )
            log.info("Location %s is connected", location.pk)
    return location


def _complete_agency(grant: TokenGrant, company_id: str) -> Agency:
    with transaction.atomic():
        agency = locked(Agency, company_id)
        if not ended_since(agency, grant) and keeping.store(agency, grant):
            agency.connect(
                installed_as_of=latest(agency.installed_as_of, grant.issued_at),
                version_id=grant.version_id or agency.version_id,
                approved_locations=list(grant.approved_locations or ()),
                install_to_future_locations=grant.install_to_future_locations or False,
                check_due_at=Now(),
            )
            log.info("Agency %s is connected", agency.pk)
    CHECK.send()
    return agency


def locked(model: type[A], id_: str) -> A:
    """The account's row, made where it is new, and held: of two that bring news the second waits for the first.

    What is new holds no token: it is connected by one.
    """
    rows = model._default_manager.select_for_update(no_key=True)
    account, _ = rows.get_or_create(pk=id_, defaults={"status": Account.Status.UNINSTALLED})
    return account


def _agency_of(location: Location, company_id: str | None) -> Agency | None:
    return Agency.objects.get_or_create(pk=company_id)[0] if company_id else location.agency


def note_install(
    location: Location,
    as_of: datetime | None,
    agency: Agency | None,
    *,
    version_id: str | None = None,
    proven: bool = False,
) -> None:
    """HighLevel says that the app is in this location. A token is had from the agency, or its own grant brings it.

    The caller's transaction holds the location's row. News no newer than an uninstall's is none, unless it is
    `proven` that HighLevel knew of that; without an instant it is as of now.
    """
    if is_over(location, as_of) and not proven:
        return
    is_latest = None in (as_of, location.installed_as_of) or as_of == latest(as_of, location.installed_as_of)
    location.learn(
        # Unless a consent of its own says otherwise.
        came_with_agency=location.came_with_agency or location.status == Account.Status.UNINSTALLED,
        agency=agency or location.agency,
        version_id=(version_id if is_latest else None) or location.version_id,
        installed_as_of=latest(location.installed_as_of, as_of),
    )
    token = Token.objects.of(location).first()
    if token is None or location.status in Account.DISCONNECTED:
        _seek_token(location)
    elif is_surely_before(token.issued_at, as_of):
        _doubt_token(location)


def is_over(location: Location, as_of: datetime | None) -> bool:
    """Whether news as of then is of an install that has ended by now."""
    return bool(as_of and location.uninstalled_as_of and as_of <= location.uninstalled_as_of)


def _seek_token(location: Location) -> None:
    if location.connected_agency:
        location.await_token()
    else:
        location.await_grant()


def _doubt_token(location: Location) -> None:
    """Its token may be of an install that has ended, where no call would be let through."""
    if location.connected_agency:
        replace_token(location)
    else:
        Location.objects.filter(pk=location.pk).update(check_due_at=Now())


def replace_token(location: Location) -> None:
    """Its token is of an install that has ended, and so is the consent that may have brought it.

    The caller's transaction holds the location's row.
    """
    Token.objects.of(location).delete()
    location.learn(came_with_agency=True)
    _seek_token(location)


def outlive(account: Account, as_of: datetime | None) -> None:
    """It was uninstalled then, and has been installed again since: what was issued before works no longer."""
    if as_of is not None and isinstance(account, Agency):
        _outlive_agency(account, as_of)
    elif as_of is not None:
        with transaction.atomic():
            _outlive(locked(Location, account.pk), as_of)


def _outlive_agency(agency: Agency, as_of: datetime) -> None:
    with transaction.atomic():
        agency = locked(Agency, agency.pk)
        # Which of its locations came back with it only its list can tell.
        agency.learn(uninstalled_as_of=latest(agency.uninstalled_as_of, as_of), check_due_at=timezone.now())
    for location_id in _what_came_with(agency):
        with transaction.atomic():
            _outlive(locked(Location, location_id), as_of)


def _outlive(location: Location, as_of: datetime) -> None:
    location.learn(uninstalled_as_of=latest(location.uninstalled_as_of, as_of))
    token = Token.objects.of(location).first()
    if token is None or token.kind == Token.Kind.PRIVATE:
        return
    if is_surely_before(token.issued_at, as_of):
        replace_token(location)
    elif may_be_before(token.issued_at, as_of):
        _doubt_token(location)


def end(account: Account, as_of: datetime | None) -> None:
    """The app is gone from it, and its token is wiped; what came with an agency is `end_what_came_with`'s.

    The caller's transaction holds the row. Without an instant it is as of the last install that is known of.
    """
    ended = latest(account.uninstalled_as_of, as_of or account.installed_as_of)
    minting = NOT_MINTING if isinstance(account, Location) else {}
    account.disconnect(uninstalled_as_of=ended, check_due_at=None, **minting)
    log.info("The app was uninstalled from %s %s", account._meta.model_name, account.pk)


def end_what_came_with(agency: Agency, as_of: datetime | None) -> None:
    """An agency's uninstall ends the app in its locations too: not where it installed by itself, or anew since.

    One after the other, and again where it was cut short.
    """
    for location_id in _what_came_with(agency):
        with transaction.atomic():
            location = locked(Location, location_id)
            if not _came_with(agency).filter(pk=location.pk).exists():
                continue  # a consent of its own was quicker
            if (
                as_of is not None
                and location.installed_as_of is not None
                and location.installed_as_of > as_of
            ):
                _outlive(location, as_of)
            else:
                end(location, as_of)


def _what_came_with(agency: Agency) -> list[str]:
    return list(_came_with(agency).order_by("pk").values_list("pk", flat=True))


def _came_with(agency: Agency) -> "QuerySet[Location]":
    theirs = Location.objects.filter(agency=agency).exclude(status=Account.Status.UNINSTALLED)
    return theirs.filter(Q(came_with_agency=True) | Q(token__isnull=True))


def connect_private(location_id: str, token: str) -> Location:
    """Connect a location with a Private Integration Token, once HighLevel has taken it for this location.

    Raises the HighLevelError of a token that it does not take.
    """
    details = upstream.client().get_location(token, location_id, timeout=DESCRIBE_SECONDS)
    with transaction.atomic():
        location = locked(Location, location_id)
        keeping.store_private(location, token)
        location.connect(
            agency=_agency_of(location, details.company_id),
            came_with_agency=False,
            **described(location, details),
            scopes_refused=[],
            check_due_at=Now() + until_next_check(),
            **NOT_MINTING,
        )
    return location


def doubt(location: Location) -> None:
    """HighLevel refused a call as if the app were gone from it: have it asked soon whether that is so."""
    connected = Location.objects.filter(pk=location.pk).exclude(status__in=Account.DISCONNECTED)
    if connected.update(check_due_at=Now()):
        CHECK.send()


def until_next_check() -> timedelta:
    """A day or so: not everybody's at once."""
    return CHECK_EVERY * random.uniform(0.8, 1.2)  # noqa: S311


def describe(location: Location) -> None:
    """Fetch the location's name, time zone and country; without them everything works nearly the same."""
    try:
        details = authorized(
            vault.LocationTokens(location.pk),
            lambda token: upstream.client().get_location(token, location.pk, timeout=DESCRIBE_SECONDS),
        )
    except (HighLevelError, keeping.TokenUnavailable) as error:
        log.warning("The name of location %s could not be read: %s", location.pk, error)
        return
    location.learn(**described(location, details))


def described(location: Location, details: LocationDetails) -> dict[str, str]:
    """What HighLevel says of a location, as columns; what it leaves out stays."""
    country = (details.country or "").upper()
    return {
        "name": (details.name or location.name)[:255],
        "timezone": (details.timezone or location.timezone)[:64],
        "country": country if len(country) == 2 else location.country,
    }
