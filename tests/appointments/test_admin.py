"""The operator's pages of bookings: everything can be seen, nothing changed."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.fixtures import Persona, only_booking, work_once


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


def test_it_lists_bookings_and_shows_one_with_its_timeline(acme: Persona, operator: Client) -> None:
    acme.book()
    work_once()
    booking = only_booking()

    listed = operator.get("/admin/appointments/booking/")
    shown = operator.get(f"/admin/appointments/booking/{booking.pk}/change/").content.decode()

    assert str(booking.pk) in listed.content.decode()
    assert "/calendars/events/appointments" in shown
    assert str(booking.appointment_id) in shown


@pytest.mark.parametrize("action", ["change", "delete"])
def test_it_changes_nothing(acme: Persona, operator: Client, action: str) -> None:
    acme.book()
    booking = only_booking()

    answer = operator.post(
        f"/admin/appointments/booking/{booking.pk}/{action}/", {"status": "booked", "post": "yes"}
    )

    assert answer.status_code == 403
    assert only_booking().status == "pending"


def test_it_makes_no_booking(operator: Client) -> None:
    assert operator.get("/admin/appointments/booking/add/").status_code == 403
