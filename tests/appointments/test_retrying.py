"""What is known not to have happened is tried again, at a pace that leaves everybody room, until it expires."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from appointments import working
from appointments.models import Booking
from oauth.models import Location, Token
from sandbox import World, faults
from sandbox.answers import answer
from sandbox.faults import Fault
from tests.appointments.conftest import calls
from tests.fixtures import (
    ACME_LOCATION,
    Persona,
    booking_body,
    from_now,
    hurry,
    only_booking,
    turn_of,
    work_once,
)

NOBODY = "http://127.0.0.1:9"


def seconds_until(moment: Any) -> float:
    return (moment - timezone.now()).total_seconds()


def test_it_waits_as_long_as_highlevel_asks_after_a_429(acme: Persona, highlevel: World) -> None:
    highlevel.faults.add(Fault("too_many_requests", "create_appointment", retry_after=7))
    answer = acme.book()

    work_once()
    work_once()

    booking = acme.api.get(answer.headers["Location"]).json()
    location = Location.objects.get()
    assert calls(highlevel) == 1
    assert booking["status"] == "pending"
    assert booking["error"]["code"] == "rate_limited"
    assert booking["error"]["upstreamStatus"] == 429
    assert location.waiting_for == "rate_limited"
    assert 6 < seconds_until(location.not_before) <= 7
    assert 6 < seconds_until(only_booking().next_attempt_at) <= 7
    assert hurry(only_booking()).status == Booking.Status.BOOKED
    assert calls(highlevel) == 2
    assert only_booking().error is None


def test_it_waits_an_interval_where_highlevel_names_no_time(acme: Persona, highlevel: World) -> None:
    highlevel.settings.rate_limit_interval_seconds = 4
    highlevel.faults.add(Fault("too_many_requests", "create_appointment"))
    acme.book()

    work_once()

    assert 3 < seconds_until(Location.objects.get().not_before) <= 4


def test_it_lets_a_429_stop_the_whole_location_and_no_other(
    acme: Persona, globex: Persona, highlevel: World
) -> None:
    highlevel.faults.add(Fault("too_many_requests", "create_appointment", location_id=ACME_LOCATION))
    acme.book()
    acme.book()
    work_once()

    assert calls(highlevel) == 1
    assert [location.not_before is None for location in Location.objects.order_by("pk")] == [False, True]


def test_it_waits_as_long_as_highlevel_asks_after_a_503(
    acme: Persona, highlevel: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = answer({"message": "Service Unavailable"}, 503, {"Retry-After": "9"})
    monkeypatch.setitem(faults._PLAYS, "error_500_before", lambda *_: away)
    highlevel.faults.add(Fault("error_500_before", "create_appointment"))
    acme.book()

    work_once()

    assert 8 < seconds_until(only_booking().next_attempt_at) <= 9


def test_it_starts_again_by_itself_when_the_brake_ends(acme: Persona, highlevel: World) -> None:
    highlevel.faults.add(Fault("too_many_requests", "create_appointment", retry_after=0.2))
    acme.book()

    working.work()

    assert only_booking().status == Booking.Status.BOOKED
    assert calls(highlevel) == 2


def test_it_tries_again_where_nobody_answers_the_call(
    acme: Persona, highlevel: World, other_highlevel: Callable[..., None], settings: Any
) -> None:
    here = settings.GHL_API_BASE_URL
    other_highlevel(url=NOBODY)
    answer = acme.book()
    work_once()
    shown = acme.api.get(answer.headers["Location"]).json()
    other_highlevel(url=here)

    assert shown["status"] == "pending"
    assert shown["error"]["code"] == "upstream_unavailable"
    assert shown["error"]["upstreamStatus"] is None
    assert shown["nextAttemptAt"] is not None
    assert not only_booking().intent_open
    assert hurry(only_booking()).status == Booking.Status.BOOKED
    assert calls(highlevel, "list_events") == 0
    assert only_booking().failures == 0


@pytest.mark.parametrize(("failures", "longest"), [(0, 1), (3, 8), (8, 256), (9, 300), (500, 300)])
def test_it_waits_longer_each_time_up_to_five_minutes_with_full_jitter(
    acme: Persona, other_highlevel: Callable[..., None], failures: int, longest: float
) -> None:
    other_highlevel(url=NOBODY)
    acme.book()
    waits = []
    for _ in range(20):
        Booking.objects.update(failures=failures, next_attempt_at=Now())
        working.serve(turn_of(ACME_LOCATION))
        booking = only_booking()
        waits.append((booking.next_attempt_at - booking.updated_at).total_seconds())
        assert booking.failures == failures + 1

    assert 0 <= min(waits) < longest / 2 < max(waits) <= longest


def test_it_gives_up_when_it_expires(
    acme: Persona, other_highlevel: Callable[..., None], highlevel: World
) -> None:
    other_highlevel(url=NOBODY)
    answer = acme.book(booking_body(expiresAt=from_now(days=30)))
    work_once()
    Booking.objects.update(expires_at=Now())

    hurry(only_booking())

    booking = acme.api.get(answer.headers["Location"]).json()
    assert booking["status"] == "failed"
    assert booking["nextAttemptAt"] is None
    assert booking["error"]["code"] == "expired"
    assert "ConnectError" in booking["error"]["detail"]
    assert calls(highlevel) == 0


def test_it_fails_at_its_expiry_and_not_a_backoff_later(
    acme: Persona, other_highlevel: Callable[..., None]
) -> None:
    other_highlevel(url=NOBODY)
    acme.book()
    Booking.objects.update(failures=20, expires_at=Now() + timedelta(milliseconds=900))

    booking = hurry(only_booking())

    assert booking.next_attempt_at <= booking.expires_at + timedelta(milliseconds=50)


def test_it_never_starts_what_has_expired(acme: Persona, highlevel: World) -> None:
    acme.book()
    Booking.objects.update(expires_at=Now())

    work_once()

    assert only_booking().status == Booking.Status.FAILED
    assert only_booking().error["code"] == "expired"
    assert calls(highlevel) == 0


@pytest.mark.parametrize("kind", ["error_500_before", "cut_after", "html_502"])
def test_it_does_not_take_a_failed_refresh_for_a_failed_booking(
    acme: Persona, highlevel: World, kind: Any
) -> None:
    Token.objects.update(expires_at=Now() - timedelta(hours=1))
    # Asked once, and once more at once.
    highlevel.faults.add(Fault(kind, "token", times=2))
    acme.book()

    work_once()

    booking = only_booking()
    assert booking.status == Booking.Status.PENDING
    assert booking.error["code"] == "upstream_unavailable"
    assert not booking.intent_open
    # Ten seconds later the same refresh token may be sent again.
    Token.objects.update(refresh_started_at=Now() - timedelta(seconds=11))
    assert hurry(booking).status == Booking.Status.BOOKED
    assert calls(highlevel) == 1


def test_it_comes_back_soon_where_another_process_refreshes_the_token(
    acme: Persona, highlevel: World
) -> None:
    Token.objects.update(expires_at=Now() - timedelta(hours=1), refresh_started_at=Now())
    acme.book()

    work_once()

    booking = only_booking()
    assert booking.status == Booking.Status.PENDING
    assert booking.error is None
    assert 0 < seconds_until(booking.next_attempt_at) <= 1
    assert booking.failures == 0
    assert calls(highlevel, "token") == 0
