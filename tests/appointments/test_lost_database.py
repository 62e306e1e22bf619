"""PostgreSQL closes every connection in the middle of a step: nothing is lost by it, nothing is doubled."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.db.models.functions import Now

from appointments.models import Booking
from oauth.models import Token
from sandbox import World
from tests.appointments.conftest import beside, calls, finished, order, settle, until
from tests.appointments.test_changing import NEW_START, booked, patch, shown, starts
from tests.fixtures import Persona, only_booking, work_once

pytestmark = pytest.mark.django_db(transaction=True)


def cut_all() -> None:
    """As a restart does, but for the connection that asks for it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def work_and_fail() -> list[type[Exception]]:
    try:
        work_once()
    except (OperationalError, InterfaceError) as error:
        return [type(error)]
    return []


def cut_during(highlevel: World, operation: Any, failed: list[Any]) -> None:
    """Cut while HighLevel is busy with such a call, and let a worker see what comes of it."""
    order(highlevel, "hang_after", operation, seconds=0.4)
    with beside(lambda: failed.extend(work_and_fail())):
        until(lambda: calls(highlevel, operation))
        cut_all()
    until(lambda: finished(highlevel))


@pytest.fixture(autouse=True)
def _new_connections() -> Iterator[None]:
    """Later tests are not to meet what is left of the cut ones."""
    yield
    connection.close()
    connection.close_pool()


@pytest.fixture
def failed() -> list[Any]:
    return []


def test_it_books_what_was_cut_before_the_intent(acme: Persona, highlevel: World, failed: list[Any]) -> None:
    Token.objects.update(expires_at=Now() - timedelta(hours=1))
    acme.book()
    cut_during(highlevel, "token", failed)
    assert calls(highlevel) <= 1

    for _ in range(2):
        settle(only_booking())

    assert shown(acme)["status"] == "booked"
    assert [each.id for each in highlevel.diary.everything()] == [shown(acme)["appointmentId"]]
    assert only_booking().crashes == 0


def test_it_finds_what_was_cut_before_the_outcome(acme: Persona, highlevel: World, failed: list[Any]) -> None:
    acme.book()
    cut_during(highlevel, "create_appointment", failed)
    cut = only_booking()

    for _ in range(2):
        settle(only_booking())

    assert shown(acme)["status"] == "booked"
    assert [each.id for each in highlevel.diary.everything()] == [shown(acme)["appointmentId"]]
    assert calls(highlevel) == 1
    assert cut.intent_open or cut.status == "booked"
    assert only_booking().crashes == 0


@pytest.mark.parametrize("operation", ["get_appointment", "update_appointment"])
def test_it_finishes_a_change_that_was_cut(
    acme: Persona, highlevel: World, failed: list[Any], operation: str
) -> None:
    booked(acme)
    patch(acme, {"startTime": NEW_START})
    cut_during(highlevel, operation, failed)

    for _ in range(2):
        settle(only_booking())

    assert starts(highlevel) == [NEW_START]
    assert shown(acme)["inSync"] is True
    assert only_booking().crashes == 0


def test_it_cancels_what_was_cut(acme: Persona, highlevel: World, failed: list[Any]) -> None:
    booking = booked(acme)
    acme.api.post(f"/api/v1/bookings/{booking.pk}/cancel")
    cut_during(highlevel, "update_appointment", failed)

    for _ in range(2):
        settle(only_booking())

    assert [each.status for each in highlevel.diary.everything()] == ["cancelled"]
    assert shown(acme)["status"] == "cancelled"


def test_it_accepts_again_after_a_cut(acme: Persona) -> None:
    acme.book()
    with beside(Booking.objects.count):
        pass
    cut_all()

    assert acme.book().status_code == 202
    assert Booking.objects.count() == 2
