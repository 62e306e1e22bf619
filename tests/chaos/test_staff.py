"""Staff changes what was booked in the sandbox, and what it did is in the records."""

from collections.abc import Iterator
from datetime import datetime

import pytest

from ghlapp.local.processes import wait_until
from sandbox.server import serve
from sandbox.world import World
from tests.chaos.plan import Errand, Step
from tests.chaos.stack import Place
from tests.chaos.staff import Staff
from tests.chaos.tenants import Record

START = "2031-01-06T09:00:00Z"


@pytest.fixture
def world() -> World:
    return World.seeded()


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with serve(world, "127.0.0.1", 0) as server:
        yield server.url


def booked(world: World, token: str, *steps: Step) -> Record:
    """A record of an errand whose appointment stands."""
    location = world.add_location()
    world.grant("Location", location.id)
    calendar, contact = world.add_calendar(location.id), world.add_contact(location.id)
    place = Place("acme", location.id, calendar.id, calendar.team[0], contact.id, seats=1)
    entry = world.staff_book(calendar.id, contact.id, datetime.fromisoformat(START), f"Chaos {token}")
    body = {"startTime": START, "title": entry.title}
    return Record(Errand(token, "staff_changes", place, 0, body, steps=steps), booking_id="b1")


def test_it_notes_what_it_did(world: World, url: str) -> None:
    record = booked(world, "t1.")

    with Staff(url, [record], "a seed"):
        assert wait_until(lambda: len(record.staff) >= 3 or record.is_ended_by_staff, 20, 0.05)

    letters = world.letters.of_type("AppointmentUpdate", "AppointmentDelete")
    assert len(letters) == len(record.staff)


def test_it_leaves_alone_what_its_tenant_will_cancel(world: World, url: str) -> None:
    theirs, other = booked(world, "t1.", Step(5, "cancel")), booked(world, "t2.")

    with Staff(url, [theirs, other], "a seed"):
        assert wait_until(lambda: bool(other.staff), 20, 0.05)

    assert theirs.staff == []
