"""`manage.py reconcile`: asked, repaired and told while somebody waits."""

import io

import pytest
from django.core.management import CommandError, call_command

from oauth.models import Agency, Location
from sandbox import World
from sandbox.faults import Fault
from sandbox.seed import COMPANY, THIRD_LOCATION
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona
from tests.oauth.conftest import asked_for, complete, statuses, work

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_pace")]


def reconcile(*arguments: str) -> str:
    said = io.StringIO()
    call_command("reconcile", *arguments, stdout=said, stderr=io.StringIO())
    return said.getvalue()


def failing(*arguments: str) -> tuple[str, str]:
    """What it says, and the reason it ends with."""
    said = io.StringIO()
    with pytest.raises(CommandError) as failed:
        call_command("reconcile", *arguments, stdout=said, stderr=io.StringIO())
    return said.getvalue(), str(failed.value)


def test_it_repairs_in_both_directions(acme: Persona, agency: Agency, highlevel: World) -> None:
    work()
    highlevel.companies[COMPANY].install_to_future_locations = True
    new = highlevel.add_location("Brand new")
    highlevel.uninstall(GLOBEX_LOCATION)

    said = reconcile()

    assert f"Connected: 1\n  {new.id}\n" in said
    assert f"Disconnected: 1\n  {GLOBEX_LOCATION}\n" in said
    assert "Waiting for a token: 0" in said
    assert statuses() == {
        ACME_LOCATION: "active",
        GLOBEX_LOCATION: "uninstalled",
        THIRD_LOCATION: "active",
        new.id: "active",
    }


def test_it_asks_about_direct_installs_too(acme: Persona, globex: Persona, highlevel: World) -> None:
    highlevel.uninstall(GLOBEX_LOCATION)

    assert f"Disconnected: 1\n  {GLOBEX_LOCATION}\n" in reconcile()

    assert statuses() == {ACME_LOCATION: "active", GLOBEX_LOCATION: "uninstalled"}


def test_it_can_be_told_one_agency(agency: Agency, globex: Persona, highlevel: World) -> None:
    other = highlevel.add_company("Rival")
    highlevel.add_location("Theirs", company_id=other.id)
    complete(highlevel.issue_company_token(other.id))

    reconcile("--agency", other.id)

    assert Location.objects.filter(agency=other.id, status="active").count() == 1
    assert not Location.objects.filter(pk=ACME_LOCATION).exists()


def test_it_can_be_told_one_location(acme: Persona, globex: Persona, highlevel: World) -> None:
    for location_id in (ACME_LOCATION, GLOBEX_LOCATION):
        highlevel.uninstall(location_id)

    reconcile("--location", GLOBEX_LOCATION)

    assert statuses() == {ACME_LOCATION: "active", GLOBEX_LOCATION: "uninstalled"}
    assert asked_for(highlevel, "get_location") == [GLOBEX_LOCATION]


def test_it_brings_back_a_location_that_is_told(agency: Agency, highlevel: World) -> None:
    work()
    location = Location.objects.get(pk=GLOBEX_LOCATION)
    location.disconnect()

    assert f"Connected: 1\n  {GLOBEX_LOCATION}\n" in reconcile("--location", GLOBEX_LOCATION)


def test_it_says_what_could_not_be_asked(agency: Agency, highlevel: World) -> None:
    highlevel.faults.add(Fault("error_500_before", "installed_locations", times=None))

    said, reason = failing()

    assert f"Could not be asked: 1\n  {COMPANY}: server_failed (500)" in said
    assert "background" in reason


def test_it_says_which_locations_wait(agency: Agency, highlevel: World) -> None:
    highlevel.locations[GLOBEX_LOCATION].active = False

    said, _ = failing()

    assert f"Waiting for a token: 1\n  {GLOBEX_LOCATION}\n" in said
    assert "Connected: 2" in said


def test_it_says_where_nobody_can_ask(agency: Agency, highlevel: World) -> None:
    highlevel.revoke_tokens(COMPANY, refresh=True)

    assert f"{COMPANY}: " in failing("--agency", COMPANY)[0]
    Location.objects.create(pk="nobodys")
    assert "nobodys: Nobody holds a token to ask with" in failing("--location", "nobodys")[0]


@pytest.mark.parametrize("what", ["--agency", "--location"])
def test_it_refuses_what_it_does_not_know(db: None, what: str) -> None:
    with pytest.raises(CommandError, match="Unknown"):
        reconcile(what, "nowhere")


def test_it_takes_one_of_the_two(db: None) -> None:
    with pytest.raises(CommandError, match="not allowed with"):
        reconcile("--agency", "a", "--location", "b")


def test_it_names_only_the_first_of_many(highlevel: World) -> None:
    for number in range(30):
        highlevel.add_location(f"Branch {number}")
    complete(highlevel.issue_company_token(COMPANY))

    said = reconcile()

    assert "Connected: 33" in said
    assert "  and 13 more" in said


def test_it_has_nothing_to_say_of_nothing(db: None) -> None:
    titles = ("Connected", "Disconnected", "Waiting for a token", "Could not be asked")

    assert reconcile() == "".join(f"{title}: 0\n" for title in titles) + "Calendars compared: 0 locations\n"
