"""A failed or rejected booking once more: what an earlier call may have made is looked for first."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from appointments.models import Booking
from oauth.models import Location
from sandbox import World
from tests.appointments.conftest import beside, calls, finished, order, settle, until
from tests.appointments.test_access import is_problem
from tests.appointments.test_changing import booked, shown
from tests.fixtures import ACME_CALENDAR, Persona, booking_body, hurry, only_booking, work_once


def retry(acme: Persona, booking: Booking | None = None) -> Any:
    return acme.api.post(f"/api/v1/bookings/{(booking or only_booking()).pk}/retry")


def to_the_end() -> None:
    for _ in range(3):
        if only_booking().next_attempt_at is not None:
            settle(only_booking())


def test_it_tries_a_failed_booking_once_more(acme: Persona, highlevel: World) -> None:
    acme.book()
    Booking.objects.update(expires_at=Now() - timedelta(minutes=1))
    work_once()
    assert shown(acme)["status"] == "failed"

    answer = retry(acme)

    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["error"]) == ("pending", None)
    expires_at = datetime.fromisoformat(answer.json()["expiresAt"])
    assert timedelta(hours=23) < expires_at - timezone.now() <= timedelta(hours=24)
    assert answer.headers["ETag"] == acme.api.get(f"/api/v1/bookings/{only_booking().pk}").headers["ETag"]
    work_once()
    assert shown(acme)["status"] == "booked"


def test_it_tries_a_rejected_booking_once_more(acme: Persona, highlevel: World) -> None:
    acme.book(booking_body(contactId="lateContact"))
    work_once()
    assert shown(acme)["status"] == "rejected"
    highlevel.add_contact(acme.location.pk, id="lateContact", firstName="Late")

    retry(acme)
    to_the_end()

    assert shown(acme)["status"] == "booked"
    assert len(highlevel.diary.everything()) == 1
    reasons = [entry["reason"] for entry in _timeline(acme) if entry["kind"] == "state"]
    assert reasons == ["accepted", "contact_not_found", "retry requested", "created"]


def test_it_ends_again_where_it_is_refused_again(acme: Persona) -> None:
    acme.book(booking_body(contactId="unknownContact"))
    work_once()
    retry(acme)
    to_the_end()

    assert shown(acme)["status"] == "rejected"
    assert shown(acme)["error"]["code"] == "contact_not_found"


@pytest.mark.parametrize("status", ["pending", "on_hold", "booked", "cancelled"])
def test_it_tries_nothing_else_once_more(acme: Persona, status: str) -> None:
    acme.book()
    Booking.objects.update(status=status)

    is_problem(retry(acme), 409, "not_retryable")


def test_it_is_not_tried_where_the_app_was_uninstalled(acme: Persona) -> None:
    acme.book()
    Booking.objects.update(status="failed")
    Location.objects.update(status=Location.Status.UNINSTALLED)

    is_problem(retry(acme), 403, "location_disconnected")


@pytest.mark.parametrize("kind", ["error_500_after", "error_500_before"])
def test_it_looks_for_what_was_uninstalled_before_a_look_could_answer(
    acme: Persona, highlevel: World, kind: str
) -> None:
    order(highlevel, kind)
    acme.book()
    work_once()
    Location.objects.update(status=Location.Status.UNINSTALLED)
    hurry(only_booking())
    assert shown(acme)["error"]["code"] == "outcome_unknown"
    assert shown(acme)["status"] == "failed"
    Location.objects.update(status=Location.Status.ACTIVE)

    retry(acme)
    to_the_end()

    assert shown(acme)["status"] == "booked"
    assert [each.id for each in highlevel.diary.everything()] == [shown(acme)["appointmentId"]]
    assert calls(highlevel) == (1 if kind == "error_500_after" else 2)


def test_it_lets_a_twin_go_on_past_one_that_has_failed(acme: Persona, highlevel: World) -> None:
    highlevel.calendars[ACME_CALENDAR].seats = 5
    order(highlevel, "error_500_after")
    acme.book()
    work_once()
    Location.objects.update(status=Location.Status.UNINSTALLED)
    first = hurry(only_booking())
    assert first.status == Booking.Status.FAILED
    Location.objects.update(status=Location.Status.ACTIVE)

    acme.book()
    work_once()
    assert Booking.objects.latest("id").status == Booking.Status.BOOKED
    retry(acme, first)

    assert hurry(first).status == Booking.Status.BOOKED
    owned = set(Booking.objects.values_list("appointment_id", flat=True))
    assert owned == {each.id for each in highlevel.diary.everything()}
    assert len(owned) == 2


def test_it_adopts_what_came_about_after_all(acme: Persona, highlevel: World) -> None:
    """Two looks found nothing, the booking expired; then HighLevel shows what it had done."""
    highlevel.settings.list_lag_seconds = 3600
    order(highlevel, "error_500_after")
    acme.book()
    work_once()
    Booking.objects.update(expires_at=Now() - timedelta(minutes=1))
    to_the_end()
    assert shown(acme)["error"]["code"] == "expired"
    highlevel.settings.list_lag_seconds = 0

    retry(acme)
    hurry(only_booking())

    assert shown(acme)["status"] == "booked"
    assert len(highlevel.diary.everything()) == 1
    assert calls(highlevel) == 1


def test_it_wishes_for_the_booking_again_that_was_being_cancelled(acme: Persona, highlevel: World) -> None:
    order(highlevel, "error_500_after")
    acme.book()
    work_once()
    acme.api.post(f"/api/v1/bookings/{only_booking().pk}/cancel")
    Location.objects.update(status=Location.Status.UNINSTALLED)
    hurry(only_booking())
    assert shown(acme)["status"] == "failed"
    Location.objects.update(status=Location.Status.ACTIVE)

    assert retry(acme).json()["cancelRequestedAt"] is None
    to_the_end()

    assert shown(acme)["status"] == "booked"
    assert [each.status for each in highlevel.diary.everything()] == ["confirmed"]


@pytest.mark.django_db(transaction=True)
def test_it_is_not_retryable_while_it_is_tried(acme: Persona, highlevel: World) -> None:
    order(highlevel, "hang_after", seconds=0.3)
    acme.book()
    with beside():
        until(lambda: calls(highlevel))
        is_problem(retry(acme), 409, "not_retryable")
    assert finished(highlevel)
    assert shown(acme)["status"] == "booked"


def test_it_changes_nothing_of_what_is_booked(acme: Persona) -> None:
    booking = booked(acme)

    is_problem(retry(acme, booking), 409, "not_retryable")
    assert shown(acme)["inSync"] is True


def _timeline(acme: Persona) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = acme.api.get(f"/api/v1/bookings/{only_booking().pk}/timeline").json()[
        "results"
    ]
    return entries
