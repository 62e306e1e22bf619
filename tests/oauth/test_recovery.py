"""A token that is lost: found again with the agency's and nobody notices, or waited for and nothing is lost."""

from typing import Any

import pytest
from django.db.models.functions import Now

from appointments import sweeping
from ghl.errors import ScopeMissing
from oauth import inquiries, vault
from oauth.keeping import LocationSuspended, NeedsReconnect
from oauth.models import Agency, Location, Token
from oauth.vault import LocationTokens
from sandbox import World
from sandbox.faults import Fault
from sandbox.seed import COMPANY
from sandbox.settings import ALL_SCOPES
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona, only_booking, work_once
from tests.oauth.conftest import (
    asked_for,
    complete,
    end_wait,
    expire,
    make_due,
    pass_a_night,
    refresh_calls,
    statuses,
    statuses_of,
    stored,
    work,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_pace")]


@pytest.fixture
def with_agency(acme: Persona, agency: Agency) -> Persona:
    """Acme's location, whose agency has installed the app too."""
    work()
    return acme


def test_a_dead_refresh_token_is_replaced_without_anybody_noticing(
    with_agency: Persona, highlevel: World
) -> None:
    highlevel.revoke_tokens(ACME_LOCATION, refresh=True)
    with_agency.book()

    work_once()

    assert (only_booking().status, statuses_of()) == ("booked", ("active", ""))
    assert asked_for(highlevel, "location_token").count(ACME_LOCATION) == 1
    # It goes on belonging to itself: its agency's uninstall does not end it.
    assert not Location.objects.get(pk=ACME_LOCATION).came_with_agency


def test_the_periodic_refresh_does_the_same(with_agency: Persona, highlevel: World) -> None:
    make_due()
    highlevel.revoke_tokens(ACME_LOCATION, refresh=True)

    vault.refresh_due()

    assert statuses_of() == ("active", "")
    assert LocationTokens(ACME_LOCATION).token()
    assert refresh_calls(highlevel) == 1


@pytest.mark.parametrize("kind", ["cut_after", "error_500_before"])
def test_what_fails_at_first_is_minted_later(with_agency: Persona, highlevel: World, kind: Any) -> None:
    make_due()
    highlevel.revoke_tokens(ACME_LOCATION, refresh=True)
    highlevel.faults.add(Fault(kind, "location_token"))

    vault.refresh_due()
    assert statuses_of() == ("active", "")
    Location.objects.update(mint_due_at=Now())
    vault.mint_due(COMPANY)

    assert LocationTokens(ACME_LOCATION).token()
    # A dead refresh token is not tried over and over.
    assert refresh_calls(highlevel) == 1


def test_a_direct_install_must_be_reconnected_and_then_goes_on(
    acme: Persona, globex: Persona, highlevel: World
) -> None:
    highlevel.revoke_tokens(ACME_LOCATION, refresh=True)
    acme.book()
    work_once()
    sweeping.sweep()
    assert statuses_of() == ("needs_reconnect", "needs_reconnect")
    assert only_booking().status == "on_hold"
    assert statuses()[GLOBEX_LOCATION] == "active"

    complete(highlevel.issue_location_token(ACME_LOCATION))
    sweeping.sweep()
    work_once()

    assert only_booking().status == "booked"
    assert len(highlevel.diary.everything()) == 1


def test_an_agency_that_is_installed_later_reconnects_it(acme: Persona, highlevel: World) -> None:
    highlevel.revoke_tokens(ACME_LOCATION, refresh=True)
    expire()
    with pytest.raises(NeedsReconnect):
        LocationTokens(ACME_LOCATION).token()

    complete(highlevel.issue_company_token(COMPANY))
    work()

    assert statuses_of() == ("active", "")
    assert not Location.objects.get(pk=ACME_LOCATION).came_with_agency


def test_an_agency_that_has_no_token_either_leaves_it_to_be_reconnected(
    with_agency: Persona, highlevel: World
) -> None:
    highlevel.revoke_tokens(COMPANY, refresh=True)
    highlevel.revoke_tokens(ACME_LOCATION, refresh=True)
    expire()

    with pytest.raises(NeedsReconnect):
        LocationTokens(ACME_LOCATION).token()

    assert statuses_of() == ("needs_reconnect", "needs_reconnect")
    assert Agency.objects.get().status == "needs_reconnect"


def test_a_location_that_left_its_agency_is_to_be_reconnected(with_agency: Persona, highlevel: World) -> None:
    highlevel.uninstall(ACME_LOCATION)
    expire()

    with pytest.raises(NeedsReconnect):
        LocationTokens(ACME_LOCATION).token()

    assert statuses_of()[0] == "needs_reconnect"
    pass_a_night()
    assert statuses_of()[0] == "uninstalled"


def test_a_suspended_location_is_asked_slowly_and_keeps_its_token(
    with_agency: Persona, highlevel: World
) -> None:
    highlevel.locations[ACME_LOCATION].active = False
    expire()
    before = stored()

    for _ in range(3):
        with pytest.raises(LocationSuspended):
            LocationTokens(ACME_LOCATION).token()
        vault.refresh_due()

    assert refresh_calls(highlevel) == 1
    assert stored().version == before.version
    assert statuses_of() == ("suspended", "suspended")

    highlevel.locations[ACME_LOCATION].active = True
    end_wait()
    Token.objects.update(refresh_due_at=Now())
    vault.refresh_due()
    assert statuses_of() == ("active", "")


def test_a_suspended_location_whose_refresh_token_is_dead_is_asked_slowly_too(
    with_agency: Persona, highlevel: World
) -> None:
    highlevel.locations[ACME_LOCATION].active = False
    highlevel.revoke_tokens(ACME_LOCATION, refresh=True)
    make_due()

    for _ in range(3):
        vault.refresh_due()
        vault.mint_due(COMPANY)

    assert (refresh_calls(highlevel), statuses_of()) == (1, ("suspended", "suspended"))
    assert asked_for(highlevel, "location_token").count(ACME_LOCATION) == 1
    highlevel.locations[ACME_LOCATION].active = True
    pass_a_night()
    assert statuses_of() == ("active", "")


def test_a_suspended_agency_holds_its_locations_up_and_loses_nothing(
    agency: Agency, highlevel: World
) -> None:
    # Without one a location waits for as long as its agency does.
    highlevel.forms.pin(location_refresh_token="there")
    work()
    highlevel.companies[COMPANY].active = False
    for location_id in statuses():
        expire(location_id)
    Token.objects.filter(agency=agency).update(expires_at=Now())

    for location_id in statuses():
        with pytest.raises(LocationSuspended):
            LocationTokens(location_id).token()
    assert set(statuses().values()) == {"suspended"}

    highlevel.companies[COMPANY].active = True
    for location_id in statuses():
        end_wait(location_id)
        assert LocationTokens(location_id).token()
    assert set(statuses().values()) == {"active"}


@pytest.mark.parametrize("when", ["it is due", "it has run out"])
def test_a_location_that_was_given_no_refresh_token_is_minted_for_again(
    agency: Agency, highlevel: World, when: str
) -> None:
    """The official schema of a location's token has none."""
    highlevel.forms.pin(location_refresh_token="absent")
    work()
    before = stored(ACME_LOCATION)
    if when == "it is due":
        assert before.refresh_due_at
        make_due()
        vault.refresh_due()
    else:
        expire()
        assert LocationTokens(ACME_LOCATION).token()

    assert stored(ACME_LOCATION).version == before.version + 1
    assert set(statuses().values()) == {"active"}


def test_a_minted_token_without_an_end_is_refreshed_all_the_same(agency: Agency, highlevel: World) -> None:
    highlevel.settings.access_token_seconds = 0

    work()

    assert Token.objects.filter(location__isnull=False, refresh_due_at__isnull=False).count() == 3


def test_a_missing_scope_spends_no_agency_token(agency: Agency, highlevel: World) -> None:
    narrow = tuple(scope for scope in ALL_SCOPES if scope != "oauth.readonly")
    complete(highlevel.issue_company_token(COMPANY, narrow))

    with pytest.raises(ScopeMissing):
        inquiries.page(Agency.objects.get())

    assert refresh_calls(highlevel) == 0
