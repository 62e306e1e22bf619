"""How much of PostgreSQL a request costs, counted without BEGIN and COMMIT."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from appointments.models import Booking
from oauth import outage
from oauth.models import ApiKey
from tests.fixtures import Persona, booking_body, only_booking, work_once


@pytest.fixture(autouse=True)
def _used_just_now(acme: Persona) -> None:
    """Noting a key's use costs an UPDATE a minute."""
    ApiKey.objects.update(last_used_at=Now())


@contextmanager
def queries(count: int) -> Iterator[None]:
    with CaptureQueriesContext(connection) as captured:
        yield
    asked = [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]
    assert len(asked) == count, "\n".join(asked)


def test_it_accepts_with_one_and_finds_the_key_before(acme: Persona) -> None:
    with queries(2):  # the key; the location, the booking and its history
        assert acme.book().status_code == 202
    with queries(1):  # which looks at the key again
        assert acme.book().status_code == 202


def test_it_accepts_with_one_under_an_idempotency_key(acme: Persona) -> None:
    acme.book()

    with queries(1):
        acme.book(booking_body(), **{"Idempotency-Key": "k"})


def test_it_answers_a_replay_with_two(acme: Persona) -> None:
    acme.book(booking_body(), **{"Idempotency-Key": "k"})

    with queries(2):
        acme.book(booking_body(), **{"Idempotency-Key": "k"})


def test_it_reads_a_booking_with_one(acme: Persona) -> None:
    path = acme.book().headers["Location"]

    with queries(1):
        acme.api.get(path)


def test_it_reads_a_timeline_with_three_however_long_it_is(acme: Persona) -> None:
    path = acme.book().headers["Location"] + "/timeline"

    with queries(3):
        acme.api.get(path)
    work_once()
    with queries(3):
        acme.api.get(path)


@pytest.mark.parametrize("count", [1, 20])
def test_it_lists_with_two_however_many_there_are(acme: Persona, count: int) -> None:
    for _ in range(count):
        acme.book()

    with queries(2):
        page = acme.api.get("/api/v1/bookings").json()
    assert len(page["results"]) == count


def test_it_books_with_as_many_as_it_needs_and_no_more(
    acme: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.book()
    # Each process looks for itself, twice a second, whether HighLevel is taken to be down.
    outage.gate()
    monkeypatch.setattr(outage, "LOOK_EVERY_SECONDS", 60)

    # claim with the token, intent, outcome with its two lines of history, nothing more to claim
    with queries(4):
        work_once()
    assert only_booking().status == "booked"


def test_it_changes_cancels_and_retries_with_six(acme: Persona) -> None:
    path = acme.book().headers["Location"]

    # key, booking with its location, the row locked, change, history, the row as it stands
    with queries(6):
        acme.api.patch(path, {"title": "Other"}, format="json")
    with queries(6):
        acme.api.post(f"{path}/cancel")
    Booking.objects.update(status="failed")
    with queries(6):
        acme.api.post(f"{path}/retry")
