"""`manage.py reconcile` compares bookings too; what it does for installs is in tests/oauth."""

import io

import pytest
from django.core.management import call_command

from sandbox import World
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona, booking_body, work_once


def reconcile(*arguments: str) -> str:
    said = io.StringIO()
    call_command("reconcile", *arguments, stdout=said, stderr=io.StringIO())
    return said.getvalue()


@pytest.mark.parametrize("arguments", [(), ("--location", ACME_LOCATION)])
def test_it_brings_over_what_staff_did(acme: Persona, highlevel: World, arguments: tuple[str, ...]) -> None:
    path = acme.book().headers["Location"]
    work_once()
    [appointment] = highlevel.diary.everything()
    highlevel.staff_change(appointment.id, title="Named by hand")

    said = reconcile(*arguments)
    work_once()

    assert "Calendars compared: 1 locations" in said
    assert acme.api.get(path).json()["title"] == "Named by hand"


def test_it_leaves_other_locations_alone(acme: Persona, globex: Persona, highlevel: World) -> None:
    acme.book(booking_body())
    work_once()

    assert "Calendars compared: 0 locations" in reconcile("--location", GLOBEX_LOCATION)
