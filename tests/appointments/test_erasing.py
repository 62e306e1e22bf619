"""Personal data goes when somebody asks for it, when the app is uninstalled, and when it is old."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now

from appointments import tasks
from appointments.models import Booking, ContactMatch
from oauth import installs
from oauth.models import Location
from sandbox import World, seed
from tests.fixtures import (
    ACME_LOCATION,
    GLOBEX_CALENDAR,
    GLOBEX_LOCATION,
    Persona,
    booking_body,
    work_once,
)
from webhooks.models import Letter

EMAIL, PHONE = "mira.secretson@example.com", "+14155550123"
CONTACT = {"firstName": "Mira", "lastName": "Secretson", "email": EMAIL, "phone": PHONE}
PERSONAL = ("mira", "secretson", "4155550123", "knee", "12 hidden lane", "insured", "case-77")
PAST, TO_COME = "2026-01-05T10:00:00Z", "2027-06-23T10:00:00Z"


def personal_body(**changes: Any) -> dict[str, Any]:
    return booking_body(
        **{
            "contactId": None,
            "contact": CONTACT,
            "title": "Mira's knee",
            "description": "Mira Secretson hurt her knee",
            "address": "12 Hidden Lane",
            "metadata": {"state": "insured"},
            "externalReference": "case-77",
            "endTime": None,
            "startTime": PAST,
            "ignoreFreeSlotValidation": True,
            "assignedUserId": seed.USER,
            **changes,
        }
    )


def book(persona: Persona, location: str = ACME_LOCATION, **changes: Any) -> Booking:
    answer = persona.book(personal_body(**changes), **{"Idempotency-Key": "one"})
    assert answer.status_code == 202, answer.json()
    work_once(location)
    return Booking.objects.get(pk=answer.json()["id"])


def everything_stored() -> str:
    """Each row of each table, as PostgreSQL writes it."""
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        rows = []
        for table in tables:
            cursor.execute(f'SELECT row_to_json(each)::text FROM "{table}" AS each')
            rows += [row for (row,) in cursor.fetchall()]
    return "\n".join(rows).lower()


def found(text: str) -> list[str]:
    return [each for each in PERSONAL if each in text]


def erase(**named: str) -> None:
    call_command("erase_contact", location=ACME_LOCATION, **named)


@pytest.mark.parametrize(
    "named",
    [{"email": EMAIL.upper()}, {"phone": "+1 (415) 555-0123", "email": EMAIL}, {"contact": "the booking's"}],
)
def test_it_erases_a_contact_wherever_it_is_stored(
    acme: Persona, highlevel: World, named: dict[str, str]
) -> None:
    booking = book(acme)
    assert booking.status == "booked"
    Letter.objects.store("one", _event(booking), {"contact": CONTACT}, Letter.Status.DONE)
    assert found(everything_stored()) == list(PERSONAL)

    erase(**{**named, **({"contact": booking.contact_id} if "contact" in named else {})})

    assert found(everything_stored()) == []
    assert booking.contact_id.lower() not in everything_stored()


def test_it_goes_on_showing_what_is_not_personal(acme: Persona) -> None:
    booking = book(acme)
    before = acme.api.get(f"/api/v1/bookings/{booking.pk}").json()

    erase(email=EMAIL)

    after = acme.api.get(f"/api/v1/bookings/{booking.pk}").json()
    kept = ("id", "status", "startTime", "calendarId", "appointmentId", "inSync", "createdAt")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert (after["contactId"], after["contact"], after["title"], after["metadata"]) == (None, None, None, {})


def test_it_still_knows_the_request_when_it_comes_again(acme: Persona) -> None:
    booking = book(acme)
    erase(email=EMAIL)

    again = acme.book(personal_body(), **{"Idempotency-Key": "one"})

    assert (again.status_code, again.json()["id"]) == (202, str(booking.pk))
    assert again.headers["Idempotent-Replayed"] == "true"


def test_it_leaves_a_booking_that_is_still_to_come(acme: Persona) -> None:
    booking = book(acme, startTime=TO_COME)

    with pytest.raises(CommandError, match=str(booking.pk)):
        erase(email=EMAIL)

    booking.refresh_from_db()
    assert (booking.erased_at, booking.wish["title"]) == (None, "Mira's knee")


def test_it_leaves_other_contacts_and_locations(acme: Persona, globex: Persona, highlevel: World) -> None:
    book(acme)
    theirs = book(globex, GLOBEX_LOCATION, locationId=GLOBEX_LOCATION, calendarId=GLOBEX_CALENDAR)
    other = acme.book(personal_body(contact={"email": "other@example.com"}, startTime="2026-01-06T10:00:00Z"))
    work_once()

    erase(email=EMAIL)

    theirs.refresh_from_db()
    assert (theirs.erased_at, theirs.wish["title"]) == (None, "Mira's knee")
    assert Booking.objects.get(pk=other.json()["id"]).contact == {"email": "other@example.com"}
    assert ContactMatch.objects.filter(location_id=ACME_LOCATION).count() == 1


def test_it_neither_retries_nor_changes_what_was_erased(acme: Persona) -> None:
    booking = book(acme, calendarId="unknownCalendar")
    assert booking.status == "rejected"
    erase(email=EMAIL)

    path = f"/api/v1/bookings/{booking.pk}"

    assert acme.api.post(f"{path}/retry").status_code == 409
    assert acme.api.patch(path, {"title": "Mira"}, format="json").status_code == 409


def test_it_does_not_read_again_what_was_erased(acme: Persona) -> None:
    booking = book(acme)
    erase(email=EMAIL)

    assert Booking.objects.filter(pk=booking.pk).hear() == 0


@pytest.mark.parametrize(
    "named", [{}, {"location": "unknown", "email": EMAIL}], ids=["nobody named", "unknown location"]
)
def test_it_wants_somebody_to_be_named(acme: Persona, named: dict[str, str]) -> None:
    with pytest.raises(CommandError):
        call_command("erase_contact", **{"location": ACME_LOCATION, **named})


# --- After an uninstall -----------------------------------------------------------------------------------


def uninstall(days_ago: float) -> None:
    installs.end(Location.objects.get(pk=ACME_LOCATION), None)
    work_once()
    Location.objects.filter(pk=ACME_LOCATION).update(disconnected_at=Now() - timedelta(days=days_ago))


def test_it_erases_what_an_uninstall_leaves_after_thirty_days(acme: Persona, globex: Persona) -> None:
    booking = book(acme)
    theirs = book(globex, GLOBEX_LOCATION, locationId=GLOBEX_LOCATION, calendarId=GLOBEX_CALENDAR)
    Letter.objects.store("one", _event(booking), {"contact": CONTACT}, Letter.Status.DONE)
    uninstall(days_ago=29)
    tasks.erase_old()
    assert found(everything_stored()) == list(PERSONAL)

    uninstall(days_ago=31)
    tasks.erase_old()

    booking.refresh_from_db()
    assert found(json.dumps([booking.wish, booking.known, booking.contact]).lower()) == []
    assert Letter.objects.get().body == {}
    theirs.refresh_from_db()
    assert (theirs.erased_at, theirs.wish["title"]) == (None, "Mira's knee")
    assert acme.api.get(f"/api/v1/bookings/{booking.pk}").status_code == 200


def test_it_erases_nothing_where_the_app_was_installed_again(
    acme: Persona, connect: Callable[[str], Location]
) -> None:
    booking = book(acme)
    uninstall(days_ago=31)
    connect(ACME_LOCATION)

    tasks.erase_old()

    booking.refresh_from_db()
    assert booking.wish["title"] == "Mira's knee"


def test_it_keeps_what_an_uninstall_leaves_where_the_settings_say_so(acme: Persona, settings: Any) -> None:
    settings.UNINSTALL_RETENTION_DAYS = 0
    booking = book(acme)
    uninstall(days_ago=400)

    tasks.erase_old()

    booking.refresh_from_db()
    assert booking.erased_at is None


# --- By age -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "start", "kept"), [(29, PAST, True), (31, PAST, False), (31, TO_COME, True)]
)
def test_it_removes_bookings_that_are_old_and_over(
    acme: Persona, settings: Any, days: int, start: str, kept: bool
) -> None:
    settings.BOOKING_RETENTION_DAYS = 30
    booking = book(acme, startTime=start)
    Booking.objects.update(updated_at=Now() - timedelta(days=days))

    tasks.erase_old()

    assert Booking.objects.filter(pk=booking.pk).exists() == kept


def test_it_removes_no_booking_unless_told_to(acme: Persona) -> None:
    book(acme)
    Booking.objects.update(updated_at=Now() - timedelta(days=4000))

    tasks.erase_old()

    assert Booking.objects.exists()


def _event(booking: Booking) -> Any:
    from ghl.letters import parse_letter

    return parse_letter(
        {
            "type": "AppointmentCreate",
            "locationId": booking.location_id,
            "appointment": {"id": booking.appointment_id, "contactId": booking.contact_id},
        }
    )
