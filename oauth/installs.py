"""What installs and uninstalls mean for our rows, whoever tells of them: a grant, a letter, a list of HighLevel's.

News arrives in any order. What decides between an install and an uninstall is HighLevel's clock alone: a letter's
timestamp, a token's `iat`, the list's `installedAt`. Letters are read in letters.py, lists in reconciling.py.
"""

import logging
import random
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from ghl.auth import authorized
from ghl.errors import HighLevelError, UnreadableAnswer
from ghl.types import TokenGrant
from oauth import keeping, upstream, vault
from oauth.minting import NOT_MINTING, ended_since
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
                check_due_at=Now() + until_next_check(),
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


def note_install(location: Location, as_of: datetime | None, agency: Agency | None) -> None:
    """HighLevel says that the app is in this location. A token is had from the agency, or its own grant brings it.

    The caller's transaction holds the location's row. Older news than an uninstall's is none.
    """
    if location.uninstalled_as_of and as_of and as_of < location.uninstalled_as_of:
        return
    anew = location.installed_as_of is None or bool(as_of and as_of > location.installed_as_of)
    location.agency = agency or location.agency
    location.installed_as_of = latest(location.installed_as_of, as_of)
    location.save(update_fields=["agency", "installed_as_of"])
    holds_token = Token.objects.of(location).exists()
    if location.agency is not None and location.agency.status == Account.Status.ACTIVE:
        if not holds_token or (anew and location.came_with_agency):
            location.await_token()
    elif not holds_token:
        location.await_grant()


def end(account: Account, as_of: datetime | None) -> None:
    """The app is gone from it: its tokens are wiped, and those of what came with an agency.

    The caller's transaction holds the row. Without an instant it is as of the last install that is known of.
    """
    ended = latest(account.uninstalled_as_of, as_of or account.installed_as_of)
    if isinstance(account, Agency):
        account.disconnect(uninstalled_as_of=ended, check_due_at=None)
        _end_what_came_with(account, as_of)
    else:
        account.disconnect(uninstalled_as_of=ended, check_due_at=None, **NOT_MINTING)
    log.info("The app was uninstalled from %s %s", account._meta.model_name, account.pk)


def _end_what_came_with(agency: Agency, as_of: datetime | None) -> None:
    """Not what installed by itself, and not what was installed anew since."""
    theirs = Location.objects.filter(agency=agency).exclude(status=Account.Status.UNINSTALLED)
    gone = theirs.filter(Q(came_with_agency=True) | Q(token__isnull=True))
    if as_of is not None:
        gone = gone.filter(Q(installed_as_of__isnull=True) | Q(installed_as_of__lte=as_of))
    for location_id in gone.order_by("pk").values_list("pk", flat=True):
        end(locked(Location, location_id), as_of)


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
            name=(details.name or location.name)[:255],
            timezone=(details.timezone or location.timezone)[:64],
            scopes_refused=[],
            check_due_at=Now() + until_next_check(),
            **NOT_MINTING,
        )
    return location


def until_next_check() -> timedelta:
    """A day or so: not everybody's at once."""
    return CHECK_EVERY * random.uniform(0.8, 1.2)  # noqa: S311


def describe(location: Location) -> None:
    """Fetch the location's name and time zone for people to read; without them everything works the same."""
    try:
        details = authorized(
            vault.LocationTokens(location.pk),
            lambda token: upstream.client().get_location(token, location.pk, timeout=DESCRIBE_SECONDS),
        )
    except (HighLevelError, keeping.TokenUnavailable) as error:
        log.warning("The name of location %s could not be read: %s", location.pk, error)
        return
    location.name = (details.name or location.name)[:255]
    location.timezone = (details.timezone or location.timezone)[:64]
    location.save(update_fields=["name", "timezone"])


def latest(*instants: datetime | None) -> datetime | None:
    return max((each for each in instants if each is not None), default=None)
