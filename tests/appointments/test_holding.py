"""A location that cannot be used shows its bookings on hold; they go on by themselves once it can."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from appointments import claiming, outcomes, sweeping
from appointments.attempts import Attempt
from appointments.models import Booking
from ghl.types import parse_token_grant
from oauth import installs
from oauth.keeping import NeedsReconnect
from oauth.models import Location, Token
from oauth.vault import LocationTokens
from sandbox import World
from sandbox.answers import refusal
from tests.appointments.conftest import calls
from tests.fixtures import ACME_LOCATION, Persona, booking_body, only_booking, work_once


def suspend(highlevel: World) -> None:
    """HighLevel pauses the account, which shows when the token is refreshed."""
    highlevel.locations[ACME_LOCATION].active = False
    Token.objects.update(expires_at=Now())


def reinstate(highlevel: World) -> None:
    highlevel.locations[ACME_LOCATION].active = True
    Location.objects.update(not_before=Now() - timedelta(seconds=1))


def kill_token(highlevel: World) -> None:
    highlevel.revoke_tokens(ACME_LOCATION, refresh=True)


def reconnect(highlevel: World) -> None:
    installs.complete(parse_token_grant(highlevel.issue_location_token(ACME_LOCATION)))


def use_up_quota(highlevel: World) -> None:
    highlevel.settings.rate_limit_daily = 0


def renew_quota(highlevel: World) -> None:
    highlevel.settings.rate_limit_daily = 1000
    Location.objects.update(not_before=Now() - timedelta(seconds=1))


TROUBLES: Any = [
    (suspend, reinstate, "location_suspended"),
    (kill_token, reconnect, "location_needs_reconnect"),
    (use_up_quota, renew_quota, "rate_limited"),
]


def shown(acme: Persona, booking: Booking | None = None) -> dict[str, Any]:
    pk = (booking or Booking.objects.latest("id")).pk
    answer: dict[str, Any] = acme.api.get(f"/api/v1/bookings/{pk}").json()
    return answer


@pytest.mark.parametrize(("trouble", "relief", "code"), TROUBLES)
def test_it_holds_and_goes_on_by_itself(
    acme: Persona, highlevel: World, trouble: Any, relief: Any, code: str
) -> None:
    acme.book()
    trouble(highlevel)
    work_once()

    held = shown(acme)
    assert held["status"] == "on_hold"
    assert held["error"]["code"] == code
    assert held["error"]["detail"]
    assert held["nextAttemptAt"] is not None

    before = calls(highlevel), calls(highlevel, "token")
    work_once()
    sweeping.sweep()
    work_once()
    assert (calls(highlevel), calls(highlevel, "token")) == before
    assert shown(acme)["status"] == "on_hold"

    relief(highlevel)
    Token.objects.update(refresh_started_at=None)
    sweeping.sweep()
    assert shown(acme)["status"] == "pending"
    work_once()
    assert shown(acme)["status"] == "booked"
    assert shown(acme)["error"] is None
    assert len(highlevel.diary.everything()) == 1


@pytest.mark.parametrize(("trouble", "code"), [(trouble, code) for trouble, _, code in TROUBLES])
def test_it_accepts_on_hold_what_could_not_be_tried_now(
    acme: Persona, highlevel: World, trouble: Any, code: str
) -> None:
    acme.book()
    trouble(highlevel)
    work_once()

    answer = acme.book(booking_body(title="Later"))

    assert answer.status_code == 202
    assert answer.json()["status"] == "on_hold"
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["upstreamStatus"] is None


def test_it_accepts_as_pending_what_waits_for_a_burst_only(acme: Persona) -> None:
    acme.location.brake(Location.Waiting.RATE_LIMITED, timedelta(seconds=10))

    assert acme.book().json()["status"] == "pending"


def test_it_puts_on_hold_what_was_due_when_the_trouble_began(acme: Persona, highlevel: World) -> None:
    acme.book()
    acme.book()
    kill_token(highlevel)
    work_once()
    assert sorted(Booking.objects.values_list("status", flat=True)) == ["on_hold", "pending"]

    sweeping.sweep()

    assert set(Booking.objects.values_list("status", flat=True)) == {"on_hold"}
    assert shown(acme)["error"]["code"] == "location_needs_reconnect"


def test_it_leaves_pending_what_is_not_due_yet(acme: Persona) -> None:
    acme.book()
    Booking.objects.update(next_attempt_at=Now() + timedelta(minutes=1))
    acme.location.brake(Location.Waiting.SUSPENDED, None, Location.Status.SUSPENDED)

    sweeping.sweep()

    assert only_booking().status == Booking.Status.PENDING


def test_it_holds_nothing_of_another_location(acme: Persona, globex: Persona) -> None:
    globex.book(booking_body(locationId=globex.location.pk))
    acme.location.brake(Location.Waiting.SUSPENDED, None, Location.Status.SUSPENDED)

    sweeping.sweep()

    assert only_booking().status == Booking.Status.PENDING


@pytest.mark.parametrize("at_accept", [True, False])
def test_it_expires_on_hold(acme: Persona, highlevel: World, at_accept: bool) -> None:
    if not at_accept:
        acme.book()
    acme.location.brake(Location.Waiting.SUSPENDED, None, Location.Status.SUSPENDED)
    if at_accept:
        acme.book()
    sweeping.sweep()
    Booking.objects.update(expires_at=Now())

    sweeping.sweep()

    booking = shown(acme)
    assert booking["status"] == "failed"
    assert booking["error"]["code"] == "expired"
    assert booking["nextAttemptAt"] is None
    history = acme.api.get(f"/api/v1/bookings/{booking['id']}/timeline").json()["results"]
    assert (history[-1]["from"], history[-1]["to"], history[-1]["reason"]) == ("on_hold", "failed", "expired")


def test_it_does_not_expire_on_hold_what_highlevel_may_have_done(acme: Persona) -> None:
    acme.book()
    Booking.objects.update(
        expires_at=Now(),
        intent_open=True,
        intent={"title": "x"},
        intent_at=Now(),
        call_deadline=Now(),
        next_attempt_at=Now(),
    )
    acme.location.brake(Location.Waiting.SUSPENDED, None, Location.Status.SUSPENDED)

    sweeping.sweep()

    assert only_booking().status == Booking.Status.ON_HOLD


def test_it_moves_nothing_that_a_worker_is_at(acme: Persona) -> None:
    acme.book()
    assert claiming.claim(ACME_LOCATION, timedelta(seconds=10))
    acme.location.brake(Location.Waiting.SUSPENDED, None, Location.Status.SUSPENDED)

    sweeping.sweep()

    assert only_booking().status == Booking.Status.PENDING


def test_it_does_not_undo_a_reconnect_that_came_while_the_old_token_failed(
    acme: Persona, highlevel: World
) -> None:
    """The refresh is refused, somebody installs again, and only then the worker writes its outcome."""
    acme.book()
    claimed = claiming.claim(ACME_LOCATION, timedelta(seconds=10))
    assert claimed is not None
    kill_token(highlevel)
    with pytest.raises(NeedsReconnect) as dead:
        LocationTokens(ACME_LOCATION).renew(LocationTokens(ACME_LOCATION).token())
    reconnect(highlevel)

    outcomes.record(Attempt(claimed), dead.value)

    assert Location.objects.get().status == Location.Status.ACTIVE
    sweeping.sweep()
    work_once()
    assert shown(acme)["status"] == "booked"


@pytest.mark.parametrize(("intent", "code"), [(None, "location_uninstalled"), ({}, "outcome_unknown")])
def test_it_fails_where_the_app_was_uninstalled(
    acme: Persona, intent: dict[str, Any] | None, code: str
) -> None:
    acme.book()
    Location.objects.update(status=Location.Status.UNINSTALLED)
    if intent is not None:
        sent = {**only_booking().wish, "location_id": ACME_LOCATION, "contact_id": "c"}
        Booking.objects.update(
            intent_open=True,
            intent_operation="create",
            intent=sent,
            intent_version=1,
            intent_at=Now(),
            call_deadline=Now(),
        )

    work_once()

    booking = shown(acme)
    assert booking["status"] == "failed"
    assert booking["error"]["code"] == code
    assert booking["nextAttemptAt"] is None


def test_it_holds_where_highlevel_calls_the_account_inactive_at_a_call(
    acme: Persona, highlevel: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = refusal(400, "Location is not active")
    monkeypatch.setattr("sandbox.slots.slot_taken", lambda: paused)
    acme.book()
    work_once()
    acme.book()
    work_once()

    assert shown(acme)["status"] == "on_hold"
    assert shown(acme)["error"]["code"] == "location_suspended"
    # Only the token endpoint's word makes it suspended: nothing else would make it active again.
    location = Location.objects.get()
    assert (location.status, location.waiting_for) == (Location.Status.ACTIVE, Location.Waiting.SUSPENDED)
