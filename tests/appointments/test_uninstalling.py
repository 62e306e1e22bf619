"""What an uninstall means for bookings: open ones end, nothing more is written, history stays."""

import json
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from appointments import sweeping
from appointments.models import Booking
from ghl.letters import parse_letter
from ghl.types import parse_token_grant
from oauth import installs, letters, reconciling
from oauth.models import Location, LocationChange, Token
from sandbox import World
from tests.appointments.conftest import order, settle
from tests.fixtures import (
    ACME_LOCATION,
    GLOBEX_LOCATION,
    Persona,
    booking_body,
    end_brake,
    only_booking,
    work_once,
)


def uninstall(highlevel: World, location_id: str = ACME_LOCATION) -> None:
    """Somebody removes the app in HighLevel, and its letter comes in."""
    highlevel.clock.advance(60)
    highlevel.uninstall(location_id)
    [letter] = [each for each in highlevel.letters if each.type == "UNINSTALL"]
    letters.uninstalled(parse_letter(json.loads(letter.body)))


def reinstall(highlevel: World) -> None:
    highlevel.clock.advance(60)
    installs.complete(parse_token_grant(highlevel.issue_location_token(ACME_LOCATION)))


def shown(persona: Persona) -> Any:
    return persona.api.get(f"/api/v1/bookings/{only_booking().pk}").json()


def follow() -> None:
    """What the sweep and the workers it wakes do."""
    sweeping.sweep()
    work_once()


def test_it_wipes_the_tokens_at_once(acme: Persona, globex: Persona, highlevel: World) -> None:
    uninstall(highlevel)

    assert [each.location_id for each in Token.objects.all()] == [GLOBEX_LOCATION]
    assert Location.objects.get(pk=ACME_LOCATION).status == "uninstalled"


def test_it_ends_open_bookings(acme: Persona, highlevel: World) -> None:
    acme.book()
    # It waits for a later attempt.
    Booking.objects.update(next_attempt_at=Now() + timedelta(hours=1))
    uninstall(highlevel)

    follow()

    assert (shown(acme)["status"], shown(acme)["error"]["code"]) == ("failed", "location_uninstalled")
    assert not LocationChange.objects.exists()


def test_it_cannot_say_what_became_of_a_call_whose_outcome_is_unknown(
    acme: Persona, highlevel: World
) -> None:
    order(highlevel, "error_500_after")
    acme.book()
    work_once()
    uninstall(highlevel)

    follow()

    assert (shown(acme)["status"], shown(acme)["error"]["code"]) == ("failed", "outcome_unknown")


def test_it_looks_first_where_the_app_is_back_in_time(acme: Persona, highlevel: World) -> None:
    order(highlevel, "error_500_after")
    acme.book()
    work_once()
    uninstall(highlevel)
    reinstall(highlevel)

    sweeping.sweep()
    settle(only_booking())

    assert shown(acme)["status"] == "booked"
    assert len(highlevel.diary.everything()) == 1


def test_it_refuses_writes_and_goes_on_with_reads(acme: Persona, highlevel: World) -> None:
    path = acme.book().headers["Location"]
    work_once()
    uninstall(highlevel)

    writes = [
        acme.book(),
        acme.api.patch(path, {"title": "New"}, format="json"),
        acme.api.post(f"{path}/cancel"),
        acme.api.post(f"{path}/retry"),
    ]

    assert {(each.status_code, each.json()["code"]) for each in writes} == {(403, "location_disconnected")}
    assert acme.api.get(path).json()["status"] == "booked"
    assert acme.api.get(f"{path}/timeline").status_code == 200
    assert len(acme.api.get("/api/v1/bookings").json()["results"]) == 1


def test_it_leaves_the_keys_other_locations_alone(acme: Persona, globex: Persona, highlevel: World) -> None:
    acme.key.locations.add(GLOBEX_LOCATION)
    uninstall(highlevel)

    assert acme.book(booking_body(locationId=GLOBEX_LOCATION)).status_code == 202


def test_it_connects_the_location_again_with_the_next_install(acme: Persona, highlevel: World) -> None:
    uninstall(highlevel)
    reinstall(highlevel)

    acme.book()
    work_once()

    assert shown(acme)["status"] == "booked"


def test_it_takes_up_a_cancel_again_after_a_reinstall(acme: Persona, highlevel: World) -> None:
    path = acme.book().headers["Location"]
    work_once()
    acme.api.post(f"{path}/cancel")
    uninstall(highlevel)
    follow()
    assert (shown(acme)["status"], shown(acme)["error"]["code"]) == ("booked", "location_uninstalled")

    reinstall(highlevel)
    follow()

    assert shown(acme)["status"] == "cancelled"
    assert {each.status for each in highlevel.diary.everything()} == {"cancelled"}


def test_it_takes_back_a_change_that_highlevel_was_not_given(acme: Persona, highlevel: World) -> None:
    path = acme.book().headers["Location"]
    work_once()
    acme.api.patch(path, {"title": "New"}, format="json")
    uninstall(highlevel)

    follow()

    booking = shown(acme)
    assert (booking["status"], booking["title"], booking["inSync"]) == ("booked", "Test Event", True)
    assert booking["error"]["code"] == "location_uninstalled"


def test_it_takes_up_a_cancel_though_the_location_waits_when_the_news_comes(
    acme: Persona, highlevel: World
) -> None:
    path = acme.book().headers["Location"]
    work_once()
    acme.api.post(f"{path}/cancel")
    uninstall(highlevel)
    follow()
    Booking.objects.update(next_attempt_at=None)
    reinstall(highlevel)
    acme.location.brake(Location.Waiting.RATE_LIMITED, timedelta(hours=1))
    sweeping.sweep()
    end_brake()

    work_once()

    assert shown(acme)["status"] == "cancelled"


def test_it_notices_an_uninstall_whose_letter_was_lost(acme: Persona, highlevel: World) -> None:
    highlevel.uninstall(ACME_LOCATION)
    acme.book()
    work_once()

    reconciling.check_due()

    assert Location.objects.get(pk=ACME_LOCATION).status == "uninstalled"
    assert acme.book(booking_body(title="Another")).json()["code"] == "location_disconnected"
