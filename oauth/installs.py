"""What installs and uninstalls mean for our rows, whoever tells of them: a grant, a letter, a list of HighLevel's.

News arrives in any order. What decides is HighLevel's clock alone (instants.py), by these rules. A location has the
app where the latest news of an install is later than that of an uninstall. An agency has the app where it holds a
token: only a grant brings one. Which agency a location belongs to is what HighLevel has answered: a grant, an
agency's list, the location's own details; never what an event says. A token is wiped only once HighLevel has refused
it or has answered that the app is gone. Events are read in letters.py, lists in reconciling.py.
"""

import logging
import random
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from ghl.errors import HighLevelError, UnreadableAnswer
from ghl.types import LocationDetails, TokenGrant
from oauth import calling, inquiries, keeping, upstream
from oauth.instants import is_surely_before, latest, may_be_before
from oauth.minting import AT_ONCE, NOT_MINTING, is_in_doubt
from oauth.models import Account, Agency, Location, Token, unbraked
from oauth.wakeups import WakeUp

log = logging.getLogger(__name__)
A = TypeVar("A", bound=Account)

# How often HighLevel is asked whether the app is still installed: letters get lost.
CHECK_EVERY = timedelta(days=1)
# Longer than an event waits for its next attempt; where those end, the daily check is left.
PAUSE = timedelta(minutes=7)
CHECK = WakeUp("oauth.tasks.check_installs")


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
        if keeping.store(location, grant):
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
    # An uninstall may have been reported meanwhile.
    CHECK.send()
    return location


def _complete_agency(grant: TokenGrant, company_id: str) -> Agency:
    with transaction.atomic():
        agency = locked(Agency, company_id)
        if keeping.store(agency, grant):
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
    if company_id in (None, "", location.agency_id):
        return location.agency
    return Agency.objects.get_or_create(pk=company_id)[0]


def note_install(
    location: Location,
    as_of: datetime | None,
    agency: Agency | None,
    *,
    version_id: str | None = None,
    proven: bool = False,
) -> None:
    """HighLevel says that the app is in this location. A token is had from the agency, or its own grant brings it.

    `agency` is one that HighLevel has answered with, not one that an event names. The caller's transaction holds the
    location's row. News no newer than an uninstall's is none, unless it is `proven` that HighLevel knew of that;
    without an instant it is as of now.
    """
    if is_over(location, as_of) and not proven:
        return
    location.learn(
        # Unless a consent of its own says otherwise.
        came_with_agency=location.came_with_agency or location.status == Account.Status.UNINSTALLED,
        agency=agency or location.agency,
        version_id=(version_id if is_latest(location, as_of) else None) or location.version_id,
        installed_as_of=latest(location.installed_as_of, as_of),
    )
    token = Token.objects.of(location).first()
    if token is None or location.status in Account.DISCONNECTED:
        _seek_token(location)
    elif is_surely_before(token.issued_at, as_of):
        # It may be of an install that has ended.
        check_soon(location)


def is_latest(location: Location, as_of: datetime | None) -> bool:
    """Whether no later install of the location is known."""
    return None in (as_of, location.installed_as_of) or as_of == latest(as_of, location.installed_as_of)


def is_over(location: Location, as_of: datetime | None) -> bool:
    """Whether news as of then is of an install that has ended by now."""
    return bool(as_of and location.uninstalled_as_of and as_of <= location.uninstalled_as_of)


def _seek_token(location: Location) -> None:
    if location.connected_agency:
        location.await_token()
    else:
        location.await_grant()


def check_soon(account: Account) -> None:
    """Have HighLevel asked by the next worker whether the app is still in it, and whose it is."""
    connected = type(account)._default_manager.filter(pk=account.pk).exclude(status__in=Account.DISCONNECTED)
    connected.update(check_due_at=Now())


def replace_token(location: Location) -> None:
    """HighLevel refused its token, which is of an install that has ended, as is the consent that may have brought it.

    The caller's transaction holds the location's row.
    """
    Token.objects.of(location).delete()
    location.learn(came_with_agency=True)
    _seek_token(location)


def doubt_older_tokens(agency: Agency, as_of: datetime) -> None:
    """It may have been uninstalled then and installed again: its locations' tokens from before are checked."""
    for location in Location.objects.filter(pk__in=_what_came_with(agency)).select_related("token"):
        doubt_token(location, as_of)


def doubt_token(location: Location, as_of: datetime) -> None:
    """Have a token checked that may have been issued before an uninstall."""
    token = Token.objects.of(location).first()
    if token is not None and token.kind == Token.Kind.OAUTH and may_be_before(token.issued_at, as_of):
        check_soon(location)


def end(account: Account, as_of: datetime | None) -> None:
    """HighLevel has confirmed that the app is gone from it: its token is wiped. What came with an agency is
    `end_what_came_with`'s.

    The caller's transaction holds the row. Without an instant it is as of the last install that is known of.
    """
    ended = latest(account.uninstalled_as_of, as_of or account.installed_as_of)
    minting = NOT_MINTING if isinstance(account, Location) else {}
    account.disconnect(uninstalled_as_of=ended, check_due_at=None, **minting)
    log.info("The app was uninstalled from %s %s", account._meta.model_name, account.pk)


def end_what_came_with(agency: Agency, as_of: datetime | None, *, ask_each: bool = False) -> None:
    """An agency's uninstall ends the app in its locations too: not where it installed by itself, or anew since.

    One after the other, and again where it was cut short. With `ask_each` those that hold a token are asked about.
    """
    for location_id in _what_came_with(agency):
        with transaction.atomic():
            location = locked(Location, location_id)
            if not _came_with(agency).filter(pk=location.pk).exists():
                continue  # a consent of its own was quicker
            if ask_each and Token.objects.of(location).exists():
                check_soon(location)
            elif as_of and location.installed_as_of and location.installed_as_of > as_of:
                doubt_token(location, as_of)
            else:
                end(location, as_of)


def _what_came_with(agency: Agency) -> list[str]:
    return list(_came_with(agency).order_by("pk").values_list("pk", flat=True))


def _came_with(agency: Agency) -> "QuerySet[Location]":
    theirs = Location.objects.filter(agency=agency).exclude(status=Account.Status.UNINSTALLED)
    return theirs.filter(Q(came_with_agency=True) | Q(token__isnull=True))


def pause(account: Account) -> None:
    """Nothing is started for it, and what came with it, until HighLevel could be asked about a reported uninstall."""
    account.brake(Account.Waiting.VERIFYING, PAUSE)
    if isinstance(account, Agency):
        others = _came_with(account).filter(unbraked() | Q(waiting_for=Account.Waiting.VERIFYING))
        others.update(not_before=Now() + PAUSE, waiting_for=Account.Waiting.VERIFYING)


def end_pause(account: Account) -> None:
    """HighLevel has been asked."""
    accounts: list[QuerySet[Any]] = [type(account)._default_manager.filter(pk=account.pk)]
    if isinstance(account, Agency):
        accounts.append(Location.objects.filter(agency=account))
    for rows in accounts:
        rows.filter(waiting_for=Account.Waiting.VERIFYING).update(not_before=None, waiting_for="")


def connect_private(location_id: str, token: str) -> Location:
    """Connect a location with a Private Integration Token, once HighLevel has taken it for this location.

    Raises the HighLevelError of a token that it does not take, or MustWaitItsTurn.
    """
    details = calling.ask_with(
        token,
        Location(pk=location_id),
        AT_ONCE,
        lambda token, calls: upstream.client().get_location(
            token, location_id, timeout=inquiries.READ_SECONDS, calls=calls
        ),
        # The new token is to end whatever else the location waits for.
        only_limits=True,
    )
    with transaction.atomic():
        location = locked(Location, location_id)
        keeping.store_private(location, token)
        location.connect(
            came_with_agency=False,
            **_described(location, details),
            scopes_refused=[],
            check_due_at=Now() + until_next_check(),
            **NOT_MINTING,
        )
    return location


def doubt(location: Location) -> None:
    """HighLevel refused a call as if the app were gone from it: have it asked soon whether that is so."""
    check_soon(location)
    CHECK.send()


def until_next_check() -> timedelta:
    """A day or so: not everybody's at once."""
    return CHECK_EVERY * random.uniform(0.8, 1.2)  # noqa: S311


def describe(location: Location) -> None:
    """Fetch the location's name, time zone and country; without them everything works nearly the same.

    Where no call may leave at once a worker does it.
    """
    try:
        details = inquiries.details(location)
    except (HighLevelError, keeping.TokenUnavailable) as error:
        log.warning("The name of location %s could not be read: %s", location.pk, error)
        doubt(location)
    else:
        note_details(location, details)


def note_details(location: Location, details: LocationDetails) -> None:
    """Keep what HighLevel answers of a location to the location's own token; whose it is too."""
    described = _described(location, details)
    if location.agency is not None and described["agency"] != location.agency:
        log.warning("Location %s has moved to agency %s", location.pk, described["agency"])
    location.learn(**described)


def _described(location: Location, details: LocationDetails) -> dict[str, Any]:
    """What HighLevel says of a location, as columns; what it leaves out stays."""
    country = (details.country or "").upper()
    return {
        "name": (details.name or location.name)[:255],
        "timezone": (details.timezone or location.timezone)[:64],
        "country": country if len(country) == 2 else location.country,
        "agency": _agency_of(location, details.company_id),
    }
