"""HighLevel is down: bookings wait, say honestly until when, one at a time asks, and all are made when it is back."""

from datetime import datetime
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from appointments import sweeping, turns, working
from appointments.models import Booking
from oauth import outage, pace
from oauth.models import Upstream
from sandbox import World, seed
from sandbox.faults import Fault
from tests.appointments.conftest import calls
from tests.fixtures import (
    ACME_CALENDAR,
    ACME_CONTACT,
    ACME_LOCATION,
    GLOBEX_CALENDAR,
    GLOBEX_CONTACT,
    GLOBEX_LOCATION,
    Persona,
    booking_body,
    turn_of,
)

THIRD = seed.THIRD_LOCATION
PLACES = (
    (ACME_LOCATION, ACME_CALENDAR, ACME_CONTACT),
    (GLOBEX_LOCATION, GLOBEX_CALENDAR, GLOBEX_CONTACT),
    (THIRD, seed.THIRD_CALENDAR, seed.THIRD_CONTACT),
)


@pytest.fixture(autouse=True)
def _sees_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "LOOK_EVERY_SECONDS", 0)
    outage.forget()


@pytest.fixture
def three(acme: Persona, globex: Persona, connect: Any, highlevel: World) -> Persona:
    """Acme's key covers three locations, each with two bookings, and HighLevel is down."""
    connect(THIRD)
    acme.key.locations.add(GLOBEX_LOCATION, THIRD)
    for location_id, calendar_id, contact_id in PLACES:
        for hour in (1, 2):
            where = {"locationId": location_id, "calendarId": calendar_id, "contactId": contact_id}
            acme.book(booking_body(**where, startTime=f"2027-06-23T0{hour}:00:00Z", endTime=None))
    for operation in ("create_appointment", "list_events"):
        highlevel.faults.add(Fault("error_500_before", operation, times=1000))
    return acme


def go_down() -> None:
    for location_id in (ACME_LOCATION, GLOBEX_LOCATION, THIRD) * 2:
        working.serve(turn_of(location_id))
        Booking.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=Now())


def asked(highlevel: World) -> int:
    return calls(highlevel, "create_appointment") + calls(highlevel, "list_events")


def shown(persona: Persona) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = persona.api.get("/api/v1/bookings").json()["results"]
    return found


def test_turns_that_must_wait_use_up_no_allowance(three: Persona) -> None:
    go_down()
    before = pace.take(pace.location(ACME_LOCATION), pace.Use.UPKEEP).taken

    for _ in range(5):
        assert not working.serve(turn_of(ACME_LOCATION))

    assert pace.take(pace.location(ACME_LOCATION), pace.Use.UPKEEP).taken == before + 1


def test_bookings_stay_pending_and_say_when_they_are_tried_next(three: Persona) -> None:
    go_down()

    assert {each["status"] for each in shown(three)} == {"pending"}
    assert all(datetime.fromisoformat(each["nextAttemptAt"]) > timezone.now() for each in shown(three))


def test_nobody_calls_while_it_is_down(three: Persona, highlevel: World) -> None:
    go_down()
    before = asked(highlevel)

    for location_id in (ACME_LOCATION, GLOBEX_LOCATION, THIRD):
        assert not working.serve(turn_of(location_id))

    assert asked(highlevel) == before == 5


def test_one_asks_when_the_wait_is_over(three: Persona, highlevel: World) -> None:
    go_down()
    before = asked(highlevel)
    Upstream.objects.update(not_before=Now())

    for location_id in (ACME_LOCATION, GLOBEX_LOCATION, THIRD):
        working.serve(turn_of(location_id))

    assert asked(highlevel) == before + 1


def test_all_are_made_when_it_is_back(three: Persona, highlevel: World) -> None:
    go_down()
    highlevel.faults.clear()
    for location_id in (ACME_LOCATION, GLOBEX_LOCATION, THIRD):
        turns.wake(location_id)

    working.work()

    statuses = {each["status"]: each["error"] for each in shown(three)}
    assert statuses.keys() <= {"booked", "rejected"}, statuses
    assert not Upstream.objects.filter(failures__gt=0).exists()


def test_a_probe_that_calls_nobody_hands_its_turn_on(three: Persona, highlevel: World) -> None:
    go_down()
    highlevel.faults.clear()
    Upstream.objects.update(not_before=Now())
    expired = Booking.objects.filter(location_id=ACME_LOCATION)
    expired.update(intent_open=False, expires_at=Now(), next_attempt_at=Now())

    assert working.serve(turn_of(ACME_LOCATION))

    assert outage.gate().is_probe


def test_bookings_expire_while_it_is_down(three: Persona) -> None:
    go_down()
    Booking.objects.update(intent_open=False, expires_at=Now())

    sweeping.sweep()

    assert {each["error"]["code"] for each in shown(three)} == {"expired"}
