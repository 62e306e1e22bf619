"""INSTALL, UNINSTALL and UPDATE as they come in: what each leads to, and which of two was the later."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from ghl.letters import Letter, parse_letter
from oauth import installs, letters
from oauth.keeping import NeedsReconnect
from oauth.models import Agency, Location, Token
from oauth.vault import LocationTokens
from sandbox import World
from sandbox.installs import in_force
from sandbox.seed import COMPANY, THIRD_LOCATION
from sandbox.settings import ALL_SCOPES
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona
from tests.oauth.conftest import (
    THREE,
    asked_for,
    complete,
    newest,
    pass_a_night,
    statuses,
    statuses_of,
    stored,
    work,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_pace")]


def uninstall(highlevel: World, location_id: str = ACME_LOCATION, after_seconds: float = 10) -> Letter:
    highlevel.clock.advance(after_seconds)
    highlevel.uninstall(location_id)
    return newest(highlevel, "UNINSTALL")


def reinstall(
    highlevel: World, location_id: str = ACME_LOCATION, after_seconds: float = 10
) -> dict[str, Any]:
    highlevel.clock.advance(after_seconds)
    return highlevel.issue_location_token(location_id)


# --- INSTALL ----------------------------------------------------------------------------------------------


def test_an_install_before_the_callback_waits_for_it(highlevel: World) -> None:
    payload = highlevel.issue_location_token(ACME_LOCATION)

    letters.installed(newest(highlevel, "INSTALL"))

    assert statuses_of() == ("needs_reconnect", "needs_reconnect")
    complete(payload)
    assert statuses_of() == ("active", "")


def test_an_install_after_the_callback_changes_nothing(acme: Persona, highlevel: World) -> None:
    before = stored()

    letters.installed(newest(highlevel, "INSTALL"))
    work()

    assert (statuses_of(), stored().version) == (("active", ""), before.version)


def test_an_install_before_its_agencys_token_is_connected_with_it(highlevel: World) -> None:
    payload = highlevel.issue_company_token(COMPANY)

    for letter in highlevel.letters.of_type("INSTALL"):
        letters.installed(_read(letter))
    assert set(statuses().values()) == {"needs_reconnect"}
    complete(payload)
    work()

    assert statuses() == dict.fromkeys(THREE, "active")


def _read(letter: Any) -> Letter:
    return parse_letter(letter.content)


def test_an_install_older_than_the_uninstall_is_none(acme: Persona, highlevel: World) -> None:
    older = newest(highlevel, "INSTALL")
    letters.uninstalled(uninstall(highlevel))

    letters.installed(older)
    pass_a_night()

    assert statuses_of() == ("uninstalled", "")


def test_an_install_without_a_time_is_as_of_now(acme: Persona, highlevel: World) -> None:
    letters.uninstalled(uninstall(highlevel))
    reinstall(highlevel)

    letters.installed(replace(newest(highlevel, "INSTALL"), sent_at=None))

    assert statuses_of() == ("needs_reconnect", "needs_reconnect")


@pytest.mark.parametrize("location_id", ["x" * 500, "ü'\"\\"])
def test_it_keeps_odd_ids(highlevel: World, location_id: str) -> None:
    letters.installed(Letter("INSTALL", location_id=location_id, company_id=location_id))
    letters.uninstalled(Letter("UNINSTALL", location_id=location_id))

    assert Location.objects.get().status == "uninstalled"


def test_a_letter_about_nobody_changes_nothing(highlevel: World) -> None:
    for act in (letters.installed, letters.uninstalled, letters.updated):
        act(Letter("INSTALL"))

    assert not Location.objects.exists()
    assert not Agency.objects.exists()


# --- UNINSTALL of a location ------------------------------------------------------------------------------


def test_an_uninstall_wipes_the_tokens_of_its_location_alone(
    acme: Persona, globex: Persona, highlevel: World
) -> None:
    letters.uninstalled(uninstall(highlevel))

    assert statuses() == {ACME_LOCATION: "uninstalled", GLOBEX_LOCATION: "active"}
    assert [token.location_id for token in Token.objects.all()] == [GLOBEX_LOCATION]
    with pytest.raises(NeedsReconnect):
        LocationTokens(ACME_LOCATION).token()


def test_an_uninstall_before_its_install_is_remembered(highlevel: World) -> None:
    payload = highlevel.issue_location_token(ACME_LOCATION)
    install = newest(highlevel, "INSTALL")

    letters.uninstalled(uninstall(highlevel))
    letters.installed(install)
    complete(payload)
    pass_a_night()

    assert statuses_of() == ("uninstalled", "")
    assert not Token.objects.exists()


def test_an_uninstall_older_than_the_install_is_none(acme: Persona, highlevel: World) -> None:
    older = uninstall(highlevel)
    complete(reinstall(highlevel, after_seconds=1))
    before = stored()

    letters.uninstalled(older)

    assert (statuses_of(), stored().version) == (("active", ""), before.version)


def test_an_old_uninstall_still_ends_the_token_from_before_it(acme: Persona, highlevel: World) -> None:
    older = uninstall(highlevel)
    # Its browser never came back to us: the token we hold is of the install that ended.
    reinstall(highlevel)
    letters.installed(newest(highlevel, "INSTALL"))

    letters.uninstalled(older)

    assert statuses_of() == ("needs_reconnect", "needs_reconnect")
    assert not Token.objects.exists()


def test_an_old_uninstall_has_an_agencys_location_minted_anew(agency: Agency, highlevel: World) -> None:
    work()
    older = uninstall(highlevel)
    highlevel.clock.advance(10)
    highlevel.grant("Company", COMPANY)
    for letter in highlevel.letters.of_type("INSTALL"):
        letters.installed(_read(letter))

    letters.uninstalled(older)
    work()

    assert statuses() == dict.fromkeys(THREE, "active")
    assert _is_let_through(highlevel)


def _is_let_through(highlevel: World, location_id: str = ACME_LOCATION) -> bool:
    grant = highlevel.tokens.grant_of(LocationTokens(location_id).token())
    return grant is not None and in_force(highlevel, grant)


@pytest.mark.parametrize("is_still_installed", [True, False])
def test_an_uninstall_in_the_same_second_is_asked_about(
    connect: Callable[[str], Location], highlevel: World, is_still_installed: bool
) -> None:
    _begin_a_second(highlevel)
    highlevel.issue_location_token(ACME_LOCATION)
    highlevel.uninstall(ACME_LOCATION)
    older = newest(highlevel, "UNINSTALL")
    connect(ACME_LOCATION)
    if not is_still_installed:
        highlevel.uninstall(ACME_LOCATION)

    letters.uninstalled(older)

    assert statuses_of()[0] == ("active" if is_still_installed else "uninstalled")
    assert asked_for(highlevel, "get_location") == [ACME_LOCATION]


def _begin_a_second(highlevel: World) -> None:
    """HighLevel's clock stands a tenth into a second, and moves on from there."""
    highlevel.clock.advance(1.1 - highlevel.clock.epoch() % 1)


@pytest.mark.parametrize("is_still_installed", [True, False])
def test_an_uninstall_without_a_time_is_asked_about(
    acme: Persona, highlevel: World, is_still_installed: bool
) -> None:
    letter = uninstall(highlevel)
    if is_still_installed:
        complete(reinstall(highlevel))

    letters.uninstalled(replace(letter, sent_at=None))

    assert statuses_of()[0] == ("active" if is_still_installed else "uninstalled")


def test_an_uninstall_without_a_time_is_looked_up_in_the_agencys_list(
    agency: Agency, highlevel: World
) -> None:
    work()
    highlevel.uninstall(GLOBEX_LOCATION)
    for location_id in (ACME_LOCATION, GLOBEX_LOCATION):
        letters.uninstalled(Letter("UNINSTALL", location_id=location_id))

    assert statuses() == {
        ACME_LOCATION: "active",
        GLOBEX_LOCATION: "uninstalled",
        THIRD_LOCATION: "active",
    }


def test_an_uninstall_is_believed_where_nobody_can_be_asked(highlevel: World) -> None:
    highlevel.issue_location_token(ACME_LOCATION)
    letters.installed(newest(highlevel, "INSTALL"))

    letters.uninstalled(Letter("UNINSTALL", location_id=ACME_LOCATION))

    assert statuses_of()[0] == "uninstalled"


def test_a_private_token_outlives_an_old_uninstall(acme: Persona, highlevel: World) -> None:
    older = uninstall(highlevel)
    location = installs.connect_private(ACME_LOCATION, highlevel.issue_private_token(ACME_LOCATION))
    Location.objects.filter(pk=location.pk).update(
        installed_as_of=highlevel.clock.now() + timedelta(seconds=1)
    )

    letters.uninstalled(older)

    assert (statuses_of()[0], stored().kind) == ("active", "private")


# --- UNINSTALL of an agency -------------------------------------------------------------------------------


def uninstall_agency(highlevel: World) -> Letter:
    highlevel.clock.advance(10)
    highlevel.uninstall_company(COMPANY)
    return newest(highlevel, "UNINSTALL")


def test_an_agencys_uninstall_ends_what_came_with_it(acme: Persona, agency: Agency, highlevel: World) -> None:
    work()

    letters.uninstalled(uninstall_agency(highlevel))

    agency.refresh_from_db()
    assert agency.status == "uninstalled"
    # It was installed by itself.
    assert statuses() == {
        ACME_LOCATION: "active",
        GLOBEX_LOCATION: "uninstalled",
        THIRD_LOCATION: "uninstalled",
    }
    assert [token.location_id for token in Token.objects.all()] == [ACME_LOCATION]
    assert _is_let_through(highlevel)


def test_what_was_installed_by_itself_afterwards_stays(agency: Agency, highlevel: World) -> None:
    work()
    complete(reinstall(highlevel))

    letters.uninstalled(uninstall_agency(highlevel))

    assert statuses_of() == ("active", "")
    assert _is_let_through(highlevel)


def test_it_leaves_another_agencys_locations_alone(agency: Agency, highlevel: World) -> None:
    other = highlevel.add_company("Rival")
    theirs = highlevel.add_location("Theirs", company_id=other.id)
    complete(highlevel.issue_company_token(other.id))
    work()

    letters.uninstalled(uninstall_agency(highlevel))

    assert statuses()[theirs.id] == "active"
    assert set(statuses().values()) == {"active", "uninstalled"}


def test_an_uninstall_that_was_cut_short_goes_on(agency: Agency, highlevel: World) -> None:
    work()
    letter = uninstall_agency(highlevel)
    # Whoever was at it died after the agency's own row.
    with transaction.atomic():
        installs.end(installs.locked(Agency, agency.pk), letter.sent_at)
    assert set(statuses().values()) == {"active"}

    letters.uninstalled(letter)

    assert set(statuses().values()) == {"uninstalled"}


def test_an_agencys_uninstall_older_than_its_install_renews_all_tokens(
    agency: Agency, highlevel: World
) -> None:
    work()
    older = uninstall_agency(highlevel)
    highlevel.clock.advance(1)
    complete(highlevel.issue_company_token(COMPANY))

    letters.uninstalled(older)
    work()

    agency.refresh_from_db()
    assert agency.status == "active"
    assert statuses() == dict.fromkeys(THREE, "active")
    assert all(_is_let_through(highlevel, location_id) for location_id in THREE)


def test_a_late_install_goes_with_the_agency_that_has_gone(agency: Agency, highlevel: World) -> None:
    letters.uninstalled(uninstall_agency(highlevel))

    for letter in highlevel.letters.of_type("INSTALL"):
        letters.installed(_read(letter))

    assert set(statuses().values()) <= {"uninstalled"}


# --- UPDATE -----------------------------------------------------------------------------------------------


def test_an_update_of_an_agency_renews_what_came_with_it(acme: Persona, highlevel: World) -> None:
    narrow = tuple(scope for scope in ALL_SCOPES if scope != "contacts.write")
    complete(highlevel.issue_company_token(COMPANY, narrow))
    work()
    assert Location.objects.get(pk=GLOBEX_LOCATION).scopes_missing == ["contacts.write"]
    highlevel.clock.advance(10)

    highlevel.update_version(COMPANY, "version-2", ALL_SCOPES)
    for letter in highlevel.letters.of_type("UPDATE"):
        letters.updated(_read(letter))
    assert stored(GLOBEX_LOCATION), "it works on with the old token meanwhile"
    work()

    location = Location.objects.get(pk=GLOBEX_LOCATION)
    assert (location.scopes_missing, location.version_id) == ([], "version-2")
    assert asked_for(highlevel, "location_token").count(GLOBEX_LOCATION) == 2


def test_an_update_of_a_direct_install_has_it_refreshed(acme: Persona, highlevel: World) -> None:
    highlevel.clock.advance(10)
    highlevel.update_version(ACME_LOCATION, "version-2")

    letters.updated(newest(highlevel, "UPDATE"))

    due_at = stored().refresh_due_at
    assert due_at is not None
    assert due_at <= datetime.now(UTC) + timedelta(seconds=5)
    assert statuses_of() == ("active", "")


def test_an_update_that_comes_again_renews_nothing(agency: Agency, highlevel: World) -> None:
    work()
    highlevel.clock.advance(10)
    highlevel.update_version(COMPANY, "version-2")
    update = newest(highlevel, "UPDATE")
    letters.updated(update)
    highlevel.clock.advance(10)
    work()

    letters.updated(update)
    work()

    assert max(map(asked_for(highlevel, "location_token").count, THREE)) == 2


def test_an_older_update_does_not_change_the_version(agency: Agency, highlevel: World) -> None:
    work()
    highlevel.clock.advance(10)
    highlevel.update_version(COMPANY, "version-2")
    older = newest(highlevel, "UPDATE")
    highlevel.clock.advance(10)
    highlevel.update_version(COMPANY, "version-3")
    letters.updated(newest(highlevel, "UPDATE"))
    work()

    letters.updated(older)

    assert Location.objects.get(pk=older.location_id).version_id == "version-3"


def test_an_update_tells_of_an_install_whose_letter_was_lost(agency: Agency, highlevel: World) -> None:
    highlevel.update_version(COMPANY, "version-2")

    letters.updated(newest(highlevel, "UPDATE"))
    work()

    assert set(statuses().values()) == {"active"}
