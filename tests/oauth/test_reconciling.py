"""What HighLevel has is found out where no letter told of it: in both directions, and what is newer stays."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from oauth import installs, reconciling, vault
from oauth.models import Account, Agency, Location, Token
from oauth.tasks import check_installs
from oauth.vault import LocationTokens
from sandbox import World
from sandbox.faults import Fault
from sandbox.seed import COMPANY, THIRD_LOCATION
from sandbox.settings import ALL_SCOPES
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona
from tests.oauth.conftest import (
    THREE,
    asked_for,
    complete,
    pass_a_night,
    statuses,
    statuses_of,
    stored,
    work,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_pace")]


# --- An agency's locations --------------------------------------------------------------------------------


def test_it_finds_a_location_whose_install_was_lost(agency: Agency, highlevel: World) -> None:
    work()
    highlevel.companies[COMPANY].install_to_future_locations = True
    new = highlevel.add_location("Brand new")

    pass_a_night()

    assert statuses()[new.id] == "active"
    assert LocationTokens(new.id).token()


def test_it_finds_an_uninstall_that_was_lost(agency: Agency, highlevel: World) -> None:
    work()
    highlevel.uninstall(GLOBEX_LOCATION)

    pass_a_night()

    assert statuses() == {
        ACME_LOCATION: "active",
        GLOBEX_LOCATION: "uninstalled",
        THIRD_LOCATION: "active",
    }
    assert not Token.objects.filter(location=GLOBEX_LOCATION).exists()


def test_it_finds_a_reinstall_that_was_lost(agency: Agency, highlevel: World) -> None:
    work()
    highlevel.clock.advance(10)
    highlevel.uninstall(GLOBEX_LOCATION)
    pass_a_night()
    highlevel.clock.advance(10)
    highlevel.issue_location_token(GLOBEX_LOCATION)

    pass_a_night()

    assert statuses()[GLOBEX_LOCATION] == "active"


def test_it_finds_that_a_token_is_of_an_install_that_ended(agency: Agency, highlevel: World) -> None:
    highlevel.forms.pin(install_optional="full")
    work()
    before = stored(GLOBEX_LOCATION)
    highlevel.clock.advance(10)
    highlevel.uninstall(GLOBEX_LOCATION)
    highlevel.clock.advance(10)
    highlevel.grant("Company", COMPANY)

    pass_a_night()

    assert statuses()[GLOBEX_LOCATION] == "active"
    assert stored(GLOBEX_LOCATION).pk != before.pk


def test_it_brings_back_what_was_ended_by_mistake(agency: Agency, highlevel: World) -> None:
    work()
    installs.end(Location.objects.get(pk=GLOBEX_LOCATION), highlevel.clock.now())

    pass_a_night()

    assert statuses()[GLOBEX_LOCATION] == "active"


def test_it_finds_an_update_that_was_lost(highlevel: World) -> None:
    highlevel.forms.pin(install_optional="full")
    narrow = tuple(scope for scope in ALL_SCOPES if scope != "contacts.write")
    complete(highlevel.issue_company_token(COMPANY, narrow))
    work()
    highlevel.update_version(COMPANY, "version-2", ALL_SCOPES)

    pass_a_night()

    location = Location.objects.get(pk=GLOBEX_LOCATION)
    assert (location.version_id, location.scopes_missing) == ("version-2", [])


def test_it_learns_where_a_location_is(agency: Agency, acme: Persona, highlevel: World) -> None:
    highlevel.forms.pin(location_optional="full")
    work()

    pass_a_night()

    location = Location.objects.get(pk=ACME_LOCATION)
    assert (location.country, location.timezone) == ("IN", "Asia/Kolkata")


def test_a_night_without_news_changes_nothing(acme: Persona, agency: Agency, highlevel: World) -> None:
    work()
    before = set(Token.objects.values_list("pk", "version"))
    highlevel.calls.records.clear()

    pass_a_night()

    assert set(Token.objects.values_list("pk", "version")) == before
    assert statuses() == dict.fromkeys(THREE, "active")
    assert len(highlevel.calls.records) <= 3


def test_a_location_that_the_list_leaves_out_but_lets_through_stays(agency: Agency, highlevel: World) -> None:
    work()
    highlevel._locations_by_company[COMPANY].remove(highlevel.locations[GLOBEX_LOCATION])

    pass_a_night()

    assert statuses()[GLOBEX_LOCATION] == "active"


def test_a_suspended_location_keeps_its_token_and_its_wait(agency: Agency, highlevel: World) -> None:
    work()
    location = Location.objects.get(pk=GLOBEX_LOCATION)
    location.brake(Account.Waiting.SUSPENDED, timedelta(hours=1), Account.Status.SUSPENDED)

    pass_a_night()

    assert statuses_of(GLOBEX_LOCATION) == ("suspended", "suspended")
    assert stored(GLOBEX_LOCATION)


def test_an_agency_that_lost_its_token_has_its_locations_asked_themselves(
    agency: Agency, highlevel: World
) -> None:
    work()
    highlevel.uninstall_company(COMPANY)

    pass_a_night()

    agency.refresh_from_db()
    assert agency.status == "needs_reconnect"
    assert set(statuses().values()) == {"uninstalled"}
    assert not Token.objects.filter(location__isnull=False).exists()


def test_a_missing_scope_is_no_uninstall(acme: Persona, highlevel: World) -> None:
    narrow = tuple(scope for scope in ALL_SCOPES if scope != "oauth.readonly")
    agency = complete(highlevel.issue_company_token(COMPANY, narrow))

    pass_a_night()

    agency.refresh_from_db()
    assert agency.status == "active"
    assert agency.scopes_missing == ["oauth.readonly"]
    assert statuses_of() == ("active", "")


@pytest.mark.parametrize("kind", ["error_500_before", "cut_after", "html_502"])
def test_it_is_asked_again_where_there_was_no_answer(agency: Agency, highlevel: World, kind: Any) -> None:
    highlevel.faults.add(Fault(kind, "installed_locations"))

    check_installs()

    agency.refresh_from_db()
    assert agency.check_due_at is not None
    assert timedelta(0) < agency.check_due_at - timezone.now() <= reconciling.AGAIN_AFTER
    Agency.objects.update(check_due_at=Now())
    work()
    assert statuses() == dict.fromkeys(THREE, "active")


def test_the_next_night_is_not_the_same_for_all(agency: Agency) -> None:
    waits = [installs.until_next_check() for _ in range(50)]

    assert all(timedelta(hours=19) < wait < timedelta(hours=29) for wait in waits)
    assert max(waits) - min(waits) > timedelta(hours=1)


# --- A location that was installed by itself --------------------------------------------------------------


def test_it_finds_that_a_direct_install_has_ended(acme: Persona, globex: Persona, highlevel: World) -> None:
    highlevel.uninstall(ACME_LOCATION)

    pass_a_night()

    assert statuses() == {ACME_LOCATION: "uninstalled", GLOBEX_LOCATION: "active"}


def test_a_direct_install_that_lives_is_left_alone(acme: Persona, highlevel: World) -> None:
    before = stored()

    pass_a_night()

    assert (statuses_of(), stored().version) == (("active", ""), before.version)
    assert asked_for(highlevel, "get_location").count(ACME_LOCATION) == 1


def test_a_token_older_than_the_install_says_nothing_of_that(acme: Persona, highlevel: World) -> None:
    highlevel.clock.advance(10)
    highlevel.uninstall(ACME_LOCATION)
    highlevel.clock.advance(10)
    highlevel.issue_location_token(ACME_LOCATION)
    Location.objects.update(installed_as_of=highlevel.clock.now())

    pass_a_night()

    assert statuses_of() == ("needs_reconnect", "needs_reconnect")


def test_a_braked_account_is_not_asked(agency: Agency, highlevel: World) -> None:
    agency.brake(Account.Waiting.RATE_LIMITED, timedelta(minutes=1))

    check_installs()
    vault.mint_due(agency.pk)

    assert asked_for(highlevel, "installed_locations") == []
