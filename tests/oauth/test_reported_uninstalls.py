"""An UNINSTALL that comes in: HighLevel is asked, and nothing ends that it does not confirm."""

from dataclasses import replace
from typing import Any

import pytest

from appointments import sweeping
from ghl.errors import HighLevelError
from ghl.letters import Letter
from oauth import inquiries, letters, outage
from oauth.keeping import TokenUnavailable
from oauth.models import Agency, Location, Token
from sandbox import World
from sandbox.faults import Fault
from sandbox.seed import COMPANY
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona, only_booking, work_once
from tests.oauth.conftest import (
    THREE,
    asked_for,
    complete,
    newest,
    pass_a_night,
    refresh_calls,
    statuses,
    statuses_of,
    work,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_pace")]


@pytest.fixture(autouse=True)
def _closed_circuit(db: None) -> None:
    outage.forget()


def forged(highlevel: World, after_seconds: float = 10, **about: str) -> Letter:
    """Rightly signed, and not so: of another app, or of long ago with a new time."""
    highlevel.clock.advance(after_seconds)
    return Letter("UNINSTALL", sent_at=highlevel.clock.now(), **(about or {"location_id": ACME_LOCATION}))


def rows() -> Any:
    return (
        list(Location.objects.order_by("pk").values_list("pk", "status", "agency_id", "not_before")),
        list(Agency.objects.order_by("pk").values_list("pk", "status", "not_before")),
        list(Token.objects.order_by("pk").values_list("pk", "kind")),
    )


@pytest.mark.parametrize("sent_at", ["now", "ahead", "unknown"])
def test_one_that_is_not_so_changes_nothing(
    acme: Persona, globex: Persona, highlevel: World, sent_at: str
) -> None:
    before = rows()
    letter = forged(highlevel, 200 if sent_at == "ahead" else 10)
    if sent_at == "unknown":
        letter = replace(letter, sent_at=None)

    letters.uninstalled(letter)
    letters.uninstalled(letter)
    work()

    assert rows() == before
    # The next one asks what comes of the token: an access token alone may outlive its install.
    assert asked_for(highlevel, "get_location")[0] == ACME_LOCATION
    assert refresh_calls(highlevel) >= 1
    acme.book()
    work_once()
    assert only_booking().status == "booked"


def test_one_older_than_the_token_asks_nothing(acme: Persona, highlevel: World) -> None:
    letter = forged(highlevel, 0)
    highlevel.clock.advance(10)
    complete(highlevel.issue_location_token(ACME_LOCATION))

    letters.uninstalled(letter)

    assert not highlevel.calls.records
    assert statuses_of() == ("active", "")


def test_an_access_token_that_outlives_the_install_is_no_proof(acme: Persona, highlevel: World) -> None:
    """HighLevel does not say whether one ends with the install; a refresh token does."""
    letter = forged(highlevel)
    highlevel.tokens.revoke_refresh(ACME_LOCATION)

    letters.uninstalled(letter)

    assert statuses_of() == ("uninstalled", "")
    assert not Token.objects.exists()


def test_one_of_an_agency_that_is_not_so_changes_nothing(
    acme: Persona, agency: Agency, highlevel: World
) -> None:
    work()
    before = rows()

    letters.uninstalled(forged(highlevel, company_id=COMPANY))
    work()

    assert rows() == before
    assert statuses() == dict.fromkeys(THREE, "active")


@pytest.mark.parametrize("of_agency", [True, False], ids=["agency", "location"])
@pytest.mark.parametrize("is_so", [True, False])
def test_it_waits_until_highlevel_can_be_asked(
    globex: Persona, agency: Agency, highlevel: World, of_agency: bool, is_so: bool
) -> None:
    work()
    acme_books(globex)
    letter = forged(highlevel, **({"company_id": COMPANY} if of_agency else {"location_id": ACME_LOCATION}))
    if is_so:
        highlevel.uninstall_company(COMPANY) if of_agency else highlevel.uninstall(ACME_LOCATION)
        letter = newest(highlevel, "UNINSTALL")
    down = [Fault("error_500_before", name, times=1) for name in ("get_location", "installed_locations")]
    for fault in down:
        highlevel.faults.add(fault)
    tokens = Token.objects.count()

    with pytest.raises((HighLevelError, TokenUnavailable)):
        letters.uninstalled(letter)

    sweeping.sweep()
    assert statuses_of() == ("active", "verifying")
    assert Location.objects.get(pk=ACME_LOCATION).is_waiting
    assert Token.objects.count() == tokens
    assert only_booking().status == "on_hold"
    # It comes again, as each event that failed does.
    highlevel.faults.clear()
    letters.uninstalled(letter)
    work()
    sweeping.sweep()
    work_once()
    assert statuses_of() == ("uninstalled" if is_so else "active", "")
    assert only_booking().status == ("failed" if is_so else "booked")


def acme_books(persona: Persona) -> None:
    persona.key.locations.add(ACME_LOCATION)
    assert persona.book().status_code == 202


def test_it_waits_while_the_circuit_is_open(acme: Persona, highlevel: World, open_circuit: None) -> None:
    highlevel.uninstall(ACME_LOCATION)

    with pytest.raises(TokenUnavailable):
        letters.uninstalled(newest(highlevel, "UNINSTALL"))

    assert statuses_of() == ("active", "verifying")
    assert not highlevel.calls.records


def test_the_daily_check_ends_the_wait(acme: Persona, highlevel: World) -> None:
    highlevel.clock.advance(10)
    highlevel.uninstall(ACME_LOCATION)
    highlevel.faults.add(Fault("error_500_before", "get_location"))
    with pytest.raises(HighLevelError):
        letters.uninstalled(newest(highlevel, "UNINSTALL"))

    pass_a_night()

    assert statuses_of() == ("uninstalled", "")


def test_where_nobody_can_be_asked_it_goes_on_waiting(
    acme: Persona, globex: Persona, highlevel: World
) -> None:
    Token.objects.filter(location=ACME_LOCATION).delete()
    acme.location.await_grant()
    acme_books(acme)

    letters.uninstalled(forged(highlevel))
    sweeping.sweep()

    assert statuses()[ACME_LOCATION] == "needs_reconnect"
    assert only_booking().status == "on_hold"
    assert statuses()[GLOBEX_LOCATION] == "active"
    # Installed before or after it, the next grant decides, and HighLevel is asked about that.
    complete(highlevel.issue_location_token(ACME_LOCATION))
    work()
    assert statuses_of() == ("active", "")


def test_one_of_the_future_keeps_nobody_from_installing(highlevel: World) -> None:
    letters.uninstalled(forged(highlevel, 200))
    highlevel.clock.advance(-100)

    complete(highlevel.issue_location_token(ACME_LOCATION))
    work()

    assert statuses_of() == ("active", "")
    assert inquiries.has_live_grant(Location.objects.get())


def test_a_refused_agency_has_each_location_asked(agency: Agency, highlevel: World) -> None:
    """Its refresh token was lost before: that HighLevel refuses it says nothing of its locations."""
    work()
    highlevel.revoke_tokens(COMPANY, refresh=True)
    Agency.objects.update(status="needs_reconnect")

    letters.uninstalled(forged(highlevel, company_id=COMPANY))
    work()

    assert set(statuses().values()) == {"active"}
    assert Token.objects.filter(location__isnull=False).count() == 3


@pytest.mark.parametrize("seconds", [5, 200])
def test_an_install_that_is_not_so_wipes_no_token(agency: Agency, highlevel: World, seconds: float) -> None:
    work()
    before = rows()
    highlevel.clock.advance(seconds)
    letter = Letter("INSTALL", location_id=ACME_LOCATION, company_id=COMPANY, sent_at=highlevel.clock.now())

    letters.installed(letter)
    assert rows() == before
    work()

    assert rows() == before
