"""Installing again: the newest grant replaces what was kept, and sets the location going."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from ghl.types import parse_token_grant
from oauth import installs, keeping, refreshing
from oauth.models import Agency, Location
from oauth.vault import LocationTokens
from sandbox import World
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona
from tests.oauth.conftest import Browser, end_claim, expire, plain, statuses_of, stored


def test_it_replaces_the_token(acme: Persona, globex: Persona, browser: Browser) -> None:
    before, of_globex = stored(), stored(GLOBEX_LOCATION)

    browser.install()

    after = stored()
    assert after.pk == before.pk
    assert after.version == before.version + 1
    assert plain(after, "access_token") != plain(before, "access_token")
    assert plain(after, "refresh_token") != plain(before, "refresh_token")
    assert plain(stored(GLOBEX_LOCATION), "access_token") == plain(of_globex, "access_token")


@pytest.mark.parametrize("status", Location.Status.values)
def test_it_releases_the_location(
    acme: Persona, globex: Persona, connect: Callable[[str], Location], status: str
) -> None:
    for location in (acme.location, globex.location):
        location.brake(Location.Waiting.NEEDS_RECONNECT, None)
        Location.objects.filter(pk=location.pk).update(status=status)

    connect(ACME_LOCATION)

    acme.location.refresh_from_db()
    assert statuses_of() == ("active", "")
    assert acme.location.not_before is None
    assert statuses_of(GLOBEX_LOCATION) == (status, "needs_reconnect")


def test_an_older_grant_that_comes_later_changes_nothing(acme: Persona, highlevel: World) -> None:
    older = parse_token_grant(highlevel.issue_location_token(ACME_LOCATION))
    highlevel.clock.advance(5)
    installs.complete(parse_token_grant(highlevel.issue_location_token(ACME_LOCATION)))
    acme.location.brake(Location.Waiting.NEEDS_RECONNECT, None, Location.Status.NEEDS_RECONNECT)
    newer = stored()

    installs.complete(older)

    assert stored().version == newer.version
    assert plain(stored(), "access_token") == plain(newer, "access_token")
    assert statuses_of() == ("needs_reconnect", "needs_reconnect")


def test_a_grant_without_a_time_counts_as_the_newest(acme: Persona, highlevel: World) -> None:
    payload = {**highlevel.issue_location_token(ACME_LOCATION), "access_token": "opaque"}

    installs.complete(parse_token_grant(payload))

    assert plain(stored(), "access_token") == "opaque"
    assert stored().issued_at is None


def test_it_ends_a_refresh_that_is_under_way(acme: Persona, connect: Callable[[str], Location]) -> None:
    before = expire()
    assert refreshing._claim(before)

    connect(ACME_LOCATION)

    assert stored().refresh_started_at is None
    assert LocationTokens(ACME_LOCATION).token() == plain(stored(), "access_token")


def test_it_moves_the_location_to_the_agency_it_now_belongs_to(acme: Persona, highlevel: World) -> None:
    payload = {**highlevel.issue_location_token(ACME_LOCATION), "companyId": "another-company"}

    installs.complete(parse_token_grant(payload))

    assert Location.objects.get(pk=ACME_LOCATION).agency_id == "another-company"
    assert Agency.objects.count() == 2


def test_it_keeps_the_agency_where_highlevel_names_none(acme: Persona, highlevel: World) -> None:
    payload = highlevel.issue_location_token(ACME_LOCATION)
    del payload["companyId"]

    installs.complete(parse_token_grant(payload))

    assert Location.objects.get(pk=ACME_LOCATION).agency_id == acme.location.agency_id


def test_it_keeps_no_refresh_token_of_the_install_before(acme: Persona, highlevel: World) -> None:
    payload = highlevel.issue_location_token(ACME_LOCATION)
    del payload["refresh_token"]

    installs.complete(parse_token_grant(payload))

    assert not stored().refresh_token
    assert stored().refresh_due_at is None
    assert LocationTokens(ACME_LOCATION).token() == payload["access_token"]
    expire()
    with pytest.raises(keeping.NeedsReconnect, match="no refresh token"):
        LocationTokens(ACME_LOCATION).token()


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (None, timedelta(days=1)),
        (0, timedelta(days=1)),
        (-5, timedelta(days=1)),
        (3600, timedelta(hours=1)),
        (10**12, timedelta(days=366)),
    ],
)
def test_it_makes_do_with_an_odd_life(acme: Persona, highlevel: World, said: Any, kept: timedelta) -> None:
    payload = {**highlevel.issue_location_token(ACME_LOCATION), "expires_in": said}

    installs.complete(parse_token_grant(payload))

    token = stored()
    assert abs(token.expires_at - token.updated_at - kept) < timedelta(seconds=1)
    assert token.refresh_due_at is not None
    assert token.updated_at < token.refresh_due_at < token.expires_at
    end_claim()
