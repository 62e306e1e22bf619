"""Installing the app in an agency: every location of it gets its token, at the agency's pace and in its turn, but for
one that a booking waits for."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from oauth import calling, minting, vault
from oauth.keeping import LocationSuspended, NeedsReconnect, TokenBusy
from oauth.models import Agency, Location, Token
from oauth.tasks import check_installs, mint_due_tokens
from oauth.vault import AgencyTokens, LocationTokens
from sandbox import World
from sandbox.faults import Fault
from sandbox.seed import COMPANY
from sandbox.settings import ALL_SCOPES
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona, booking_body, only_booking, work_once
from tests.oauth.conftest import (
    THREE,
    Browser,
    asked_for,
    complete,
    newest,
    plain,
    statuses,
    stored,
    work,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_pace")]


def test_it_keeps_the_agencys_token_as_a_locations(agency: Agency, highlevel: World) -> None:
    token = Token.objects.get(agency=agency)

    assert highlevel.tokens.grant_of(AgencyTokens(agency.pk).token()) is not None
    assert highlevel.tokens.find_refresh(plain(token, "refresh_token")) is not None
    assert token.refresh_due_at is not None
    assert (agency.status, token.scopes_missing) == ("active", [])
    assert str(token.access_token) == "<sealed>"


def test_every_location_gets_its_token(agency: Agency, highlevel: World) -> None:
    work()

    assert statuses() == dict.fromkeys(THREE, "active")
    assert sorted(asked_for(highlevel, "location_token")) == sorted(THREE)
    for location_id in THREE:
        grant = highlevel.tokens.grant_of(LocationTokens(location_id).token())
        assert grant is not None
        assert grant.location_id == location_id


def test_it_happens_in_the_tasks(agency: Agency) -> None:
    check_installs()
    mint_due_tokens(agency.pk)

    agency.refresh_from_db()
    assert agency.progress().is_done
    assert statuses() == dict.fromkeys(THREE, "active")


def test_its_list_has_several_pages(highlevel: World) -> None:
    highlevel.settings.rate_limit_burst = 1000
    for number in range(230):
        highlevel.add_location(f"Branch {number}")
    agency = complete(highlevel.issue_company_token(COMPANY))

    check_installs()

    assert agency.locations.filter(mint_due_at__isnull=False).count() == 233
    assert len(asked_for(highlevel, "installed_locations")) == 3


def test_it_shows_its_progress(agency: Agency, highlevel: World) -> None:
    assert (agency.progress().all, agency.progress().is_done) == (0, False)

    check_installs()
    agency.refresh_from_db()
    claimed = minting.claim_due(agency.pk)
    assert claimed is not None
    minting.mint_claimed(claimed, AgencyTokens(agency.pk))

    progress = agency.progress()
    assert (progress.all, progress.connected, progress.waiting) == (3, 1, 2)
    work()
    assert agency.progress().is_done


def test_a_browser_is_shown_its_progress(browser: Browser, highlevel: World, own_pace: None) -> None:
    back = browser.consent(browser.begin(), f"agency:{COMPANY}")

    page = browser.client.get(browser.come_back(back).headers["Location"])
    work()
    done = browser.client.get("/oauth/progress" if page.status_code == 302 else page.request["PATH_INFO"])

    assert page.status_code == done.status_code == 200
    assert page.content != done.content


def test_a_location_that_a_booking_needs_is_minted_at_once(
    acme: Persona, agency: Agency, highlevel: World
) -> None:
    Token.objects.filter(location=ACME_LOCATION).delete()
    check_installs()
    # Others come first in their turn.
    Location.objects.filter(pk=ACME_LOCATION).update(mint_due_at=Now() + timedelta(hours=1))

    acme.book()
    work_once()

    assert only_booking().status == "booked"
    assert asked_for(highlevel, "location_token") == [ACME_LOCATION]


def test_it_is_minted_once_for_those_who_need_it(agency: Agency, highlevel: World) -> None:
    check_installs()
    location = Location.objects.get(pk=ACME_LOCATION)
    token = minting.mint(location, AgencyTokens(agency.pk))

    # They looked before it was there.
    again = minting.mint(location, AgencyTokens(agency.pk))

    assert again.version == token.version
    assert asked_for(highlevel, "location_token") == [ACME_LOCATION]


def test_nobody_else_asks_while_somebody_does(agency: Agency, highlevel: World) -> None:
    check_installs()
    assert minting._claim(Location.objects.get(pk=ACME_LOCATION))

    with pytest.raises(TokenBusy):
        LocationTokens(ACME_LOCATION).token()
    vault.mint_due(agency.pk)

    assert ACME_LOCATION not in asked_for(highlevel, "location_token")


def test_directly_installed_locations_keep_their_own_token(
    acme: Persona, agency: Agency, highlevel: World
) -> None:
    before = stored()

    work()

    assert stored().version == before.version
    assert not Location.objects.get(pk=ACME_LOCATION).came_with_agency
    assert ACME_LOCATION not in asked_for(highlevel, "location_token")


def test_it_leaves_excluded_locations_alone(highlevel: World) -> None:
    complete(highlevel.issue_company_token(COMPANY, excluded=[GLOBEX_LOCATION]))

    work()

    assert statuses() == dict.fromkeys(THREE - {GLOBEX_LOCATION}, "active")
    assert GLOBEX_LOCATION not in asked_for(highlevel, "location_token")


def test_it_takes_only_what_was_approved(highlevel: World) -> None:
    complete(highlevel.issue_company_token(COMPANY, approved=[GLOBEX_LOCATION]))

    work()

    assert statuses() == {GLOBEX_LOCATION: "active"}


def test_what_was_approved_need_not_be_listed_yet(agency: Agency, highlevel: World) -> None:
    # HighLevel's list is behind what its token endpoint knows.
    highlevel.locations[GLOBEX_LOCATION].company_id, company_id = "elsewhere", COMPANY
    highlevel._locations_by_company[COMPANY].remove(highlevel.locations[GLOBEX_LOCATION])
    highlevel.locations[GLOBEX_LOCATION].company_id = company_id

    work()

    assert statuses() == dict.fromkeys(THREE, "active")


@pytest.mark.parametrize("named", [True, False])
def test_a_new_location_is_connected_as_it_is_made(highlevel: World, named: bool) -> None:
    highlevel.settings.future_installs_named = named
    highlevel.companies[COMPANY].install_to_future_locations = True
    agency = complete(highlevel.issue_company_token(COMPANY))
    work()

    new = highlevel.add_location("Brand new")
    deliver(newest(highlevel, "INSTALL"))
    work()

    agency.refresh_from_db()
    assert agency.install_to_future_locations
    location = Location.objects.get(pk=new.id)
    assert (location.status, location.agency_id) == ("active", COMPANY)
    assert LocationTokens(new.id).token()


def deliver(letter: Any) -> None:
    from oauth import letters

    {"INSTALL": letters.installed, "UNINSTALL": letters.uninstalled, "UPDATE": letters.updated}[letter.type](
        letter
    )


def test_its_brand_is_kept_for_our_pages(highlevel: World) -> None:
    highlevel.forms.pin(letter_optional="full")
    company = highlevel.companies[COMPANY]
    company.whitelabel_domain, company.whitelabel_logo_url = "app.chai.example", "https://chai.example/l.png"
    complete(highlevel.issue_company_token(COMPANY))

    deliver(newest(highlevel, "INSTALL"))

    agency = Agency.objects.get()
    assert (agency.brand_domain, agency.brand_logo_url) == (
        "app.chai.example",
        "https://chai.example/l.png",
    )
    assert agency.name == "Marketplace Demo Agency"


# --- What may go wrong ------------------------------------------------------------------------------------


def test_a_refused_location_is_asked_for_again_later(agency: Agency, highlevel: World) -> None:
    check_installs()
    highlevel.uninstall(GLOBEX_LOCATION)

    vault.mint_due(agency.pk)

    refused = Location.objects.get(pk=GLOBEX_LOCATION)
    assert refused.mint_failures == 1
    assert refused.mint_due_at is not None
    assert refused.mint_due_at > timezone.now()
    assert statuses()[ACME_LOCATION] == "active"


def test_a_location_that_goes_on_being_refused_is_looked_up(agency: Agency, highlevel: World) -> None:
    check_installs()
    highlevel.uninstall(GLOBEX_LOCATION)

    for _ in range(minting.MOST_FAILURES):
        Location.objects.filter(mint_due_at__isnull=False).update(mint_due_at=Now())
        vault.mint_due(agency.pk)
    work()

    assert statuses()[GLOBEX_LOCATION] == "uninstalled"
    assert asked_for(highlevel, "location_token").count(GLOBEX_LOCATION) == minting.MOST_FAILURES


def test_a_suspended_location_is_asked_for_slowly(agency: Agency, highlevel: World) -> None:
    check_installs()
    highlevel.locations[GLOBEX_LOCATION].active = False

    vault.mint_due(agency.pk)

    suspended = Location.objects.get(pk=GLOBEX_LOCATION)
    assert suspended.status == "suspended"
    assert suspended.mint_due_at is not None
    assert suspended.mint_due_at > timezone.now() + timedelta(minutes=45)
    with pytest.raises(LocationSuspended):
        LocationTokens(GLOBEX_LOCATION).token()
    assert asked_for(highlevel, "location_token").count(GLOBEX_LOCATION) == 1

    highlevel.locations[GLOBEX_LOCATION].active = True
    Location.objects.update(mint_due_at=Now())
    vault.mint_due(agency.pk)
    assert statuses()[GLOBEX_LOCATION] == "active"


@pytest.mark.parametrize("kind", ["cut_after", "error_500_after", "truncated_json"])
def test_a_lost_answer_is_asked_for_again(agency: Agency, highlevel: World, kind: Any) -> None:
    check_installs()
    highlevel.faults.add(Fault(kind, "location_token"))

    vault.mint_due(agency.pk)
    Location.objects.filter(mint_due_at__isnull=False).update(mint_due_at=Now())
    vault.mint_due(agency.pk)

    assert statuses() == dict.fromkeys(THREE, "active")


def test_a_429_brakes_the_agency_alone(agency: Agency, highlevel: World) -> None:
    check_installs()
    highlevel.faults.add(Fault("too_many_requests", "location_token", retry_after=7))

    assert vault.mint_due(agency.pk) == 0

    agency.refresh_from_db()
    assert (agency.status, agency.waiting_for) == ("active", "rate_limited")
    assert agency.not_before is not None
    assert timedelta(seconds=5) < agency.not_before - timezone.now() <= timedelta(seconds=7)
    assert minting.claim_due(agency.pk) is None
    assert minting.agencies_with_due() == []
    with pytest.raises(calling.MustWaitItsTurn) as refused:
        LocationTokens(ACME_LOCATION).token()
    assert timedelta(seconds=4) < refused.value.retry_after <= timedelta(seconds=7)
    assert len(asked_for(highlevel, "location_token")) == 1


def test_an_agency_without_oauth_scopes_is_not_asked_over_and_over(highlevel: World) -> None:
    narrow = tuple(scope for scope in ALL_SCOPES if scope != "oauth.write")
    agency = complete(highlevel.issue_company_token(COMPANY, narrow))
    check_installs()

    for _ in range(3):
        vault.mint_due(agency.pk)

    assert len(asked_for(highlevel, "location_token")) == 3
    assert agency.scopes_missing == ["oauth.write"]
    assert agency.status == "active"


def test_a_token_that_is_rejected_is_renewed_once(agency: Agency, highlevel: World) -> None:
    check_installs()
    highlevel.revoke_tokens(COMPANY)

    vault.mint_due(agency.pk)

    assert statuses() == dict.fromkeys(THREE, "active")
    assert highlevel.tokens.issued["refresh_token"] == 1


def test_an_agency_whose_token_is_lost_stops_asking(agency: Agency, highlevel: World) -> None:
    check_installs()
    highlevel.revoke_tokens(COMPANY, refresh=True)

    vault.mint_due(agency.pk)
    vault.mint_due(agency.pk)

    agency.refresh_from_db()
    assert agency.status == "needs_reconnect"
    assert len(asked_for(highlevel, "location_token")) == 1
    with pytest.raises(NeedsReconnect):
        LocationTokens(ACME_LOCATION).token()


def test_reconnecting_an_agency_brings_back_what_waited_for_it(
    agency: Agency, highlevel: World, connect: Callable[[str], Location]
) -> None:
    check_installs()
    highlevel.revoke_tokens(COMPANY, refresh=True)
    vault.mint_due(agency.pk)
    for location_id in THREE:
        with pytest.raises(NeedsReconnect):
            LocationTokens(location_id).token()
    assert set(statuses().values()) == {"needs_reconnect"}

    complete(highlevel.issue_company_token(COMPANY))
    work()

    assert statuses() == dict.fromkeys(THREE, "active")
    assert booking_body()["locationId"] in THREE
