"""Having a working token: refreshed when it must be, once, and what follows where HighLevel gives none."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from ghl.auth import authorized
from ghl.errors import (
    ClientMisconfigured,
    ConnectionLost,
    OutcomeUnknown,
    RateLimited,
    RefreshTokenDead,
    ScopeMissing,
    ServerFailed,
)
from ghl.types import TokenGrant, parse_token_grant
from oauth import installs, refreshing, upstream, vault
from oauth.keeping import LocationSuspended, NeedsReconnect, TokenBusy, TokenUnreadable
from oauth.models import Location, Token
from oauth.tasks import refresh_due_tokens
from oauth.vault import LocationTokens
from sandbox import World
from sandbox.faults import Fault
from tests.fixtures import ACME_CALENDAR, ACME_LOCATION, GLOBEX_LOCATION, Persona
from tests.oauth.conftest import (
    Browser,
    end_claim,
    end_wait,
    expire,
    make_due,
    plain,
    refresh_calls,
    statuses_of,
    stored,
)

TOKENS = LocationTokens(ACME_LOCATION)


def list_calendars() -> Any:
    """A call with acme's token, as every room makes one."""
    return authorized(TOKENS, lambda token: upstream.client().calendars(token, location_id=ACME_LOCATION))


# --- Using it ---------------------------------------------------------------------------------------------


def test_a_usable_token_is_used_as_it_is(
    acme: Persona, globex: Persona, highlevel: World, django_assert_num_queries: Callable[[int], Any]
) -> None:
    with django_assert_num_queries(1):
        token = TOKENS.token()

    assert token == plain(stored(), "access_token")
    assert refresh_calls(highlevel) == 0


def test_a_token_that_has_run_out_is_refreshed_once(acme: Persona, globex: Persona, highlevel: World) -> None:
    before, of_globex = expire(), stored(GLOBEX_LOCATION)

    tokens = {TOKENS.token() for _ in range(3)}

    assert refresh_calls(highlevel) == 1
    assert tokens == {plain(stored(), "access_token")}
    assert tokens != {plain(before, "access_token")}
    assert stored().version == before.version + 1
    assert stored(GLOBEX_LOCATION).updated_at == of_globex.updated_at
    assert list_calendars()[0].id == ACME_CALENDAR


def test_a_token_that_would_run_out_on_the_way_is_refreshed(acme: Persona, highlevel: World) -> None:
    Token.objects.update(expires_at=timezone.now() + timedelta(seconds=20))

    TOKENS.token()

    assert refresh_calls(highlevel) == 1


def test_a_refresh_keeps_everything_that_the_grant_says(acme: Persona, highlevel: World) -> None:
    highlevel.settings.access_token_seconds = 7200
    before = expire()

    TOKENS.token()

    after = stored()
    assert plain(after, "refresh_token") != plain(before, "refresh_token")
    assert timedelta(seconds=7190) < after.expires_at - timezone.now() <= timedelta(seconds=7200)
    assert after.issued_at is not None
    assert before.issued_at is not None
    assert after.issued_at >= before.issued_at
    assert (after.refresh_started_at, after.scopes, after.scopes_missing) == (None, before.scopes, [])


def test_a_rejected_token_is_refreshed_and_the_call_made_again(acme: Persona, highlevel: World) -> None:
    highlevel.revoke_tokens(ACME_LOCATION)

    assert list_calendars()[0].id == ACME_CALENDAR

    assert refresh_calls(highlevel) == 1


def test_a_rejected_token_that_somebody_has_renewed_is_not_refreshed_again(
    acme: Persona, highlevel: World
) -> None:
    failed = TOKENS.token()
    newer = TOKENS.renew(failed)

    assert TOKENS.renew(failed) == newer != failed

    assert refresh_calls(highlevel) == 1


def test_a_renewed_token_that_has_run_out_since_is_refreshed(acme: Persona, highlevel: World) -> None:
    failed = TOKENS.token()
    TOKENS.renew(failed)
    expire()

    assert highlevel.tokens.grant_of(TOKENS.renew(failed)) is not None

    assert refresh_calls(highlevel) == 2


def test_a_missing_scope_spends_no_refresh(highlevel: World, db: None) -> None:
    highlevel.settings.granted_scopes = "contacts.write"
    installs.complete(parse_token_grant(highlevel.issue_location_token(ACME_LOCATION)))

    with pytest.raises(ScopeMissing):
        list_calendars()

    assert refresh_calls(highlevel) == 0
    assert "calendars.readonly" in stored().scopes_missing
    assert "oauth.write" not in stored().scopes_missing


def test_a_location_without_a_token_must_be_connected(db: None, highlevel: World) -> None:
    Location.objects.create(pk=ACME_LOCATION)

    with pytest.raises(NeedsReconnect):
        TOKENS.token()


@pytest.mark.parametrize("status", Location.DISCONNECTED)
def test_a_disconnected_locations_token_is_not_used(acme: Persona, status: Location.Status) -> None:
    Location.objects.update(status=status)

    with pytest.raises(NeedsReconnect):
        TOKENS.token()


def test_a_token_at_hand_serves_one_call(
    acme: Persona, django_assert_num_queries: Callable[[int], AbstractContextManager[Any]]
) -> None:
    tokens = LocationTokens(ACME_LOCATION, stored())

    with django_assert_num_queries(0):
        first = tokens.token()
    Location.objects.update(status=Location.Status.UNINSTALLED)

    assert first == plain(stored(), "access_token")
    with pytest.raises(NeedsReconnect):
        tokens.token()


def test_a_token_at_hand_that_has_run_out_is_refreshed(acme: Persona, highlevel: World) -> None:
    expire()
    at_hand = stored()

    token = LocationTokens(ACME_LOCATION, at_hand).token()

    assert token != plain(at_hand, "access_token")
    assert highlevel.tokens.grant_of(token) is not None


# --- Refreshing in time -----------------------------------------------------------------------------------


def test_the_periodic_refresh_takes_those_that_are_due(
    acme: Persona, globex: Persona, highlevel: World
) -> None:
    before, of_globex = make_due(), stored(GLOBEX_LOCATION)

    refresh_due_tokens()

    assert refresh_calls(highlevel) == 1
    assert stored().version == before.version + 1
    assert stored(GLOBEX_LOCATION).version == of_globex.version


def test_it_is_due_a_quarter_of_an_hour_before_the_end_or_earlier(
    connect: Callable[[str], Location], highlevel: World
) -> None:
    head_starts = []
    for _ in range(20):
        connect(ACME_LOCATION)
        token = stored()
        assert token.refresh_due_at is not None
        head_starts.append(token.expires_at - token.refresh_due_at)

    assert all(timedelta(minutes=15) <= early <= timedelta(minutes=75) for early in head_starts)
    # Spread, so that what is granted together is not refreshed together.
    assert max(head_starts) - min(head_starts) > timedelta(minutes=15)


def test_a_short_life_is_not_refreshed_all_the_time(
    connect: Callable[[str], Location], highlevel: World
) -> None:
    highlevel.settings.access_token_seconds = 60
    connect(ACME_LOCATION)

    token = stored()
    assert token.refresh_due_at is not None
    assert token.refresh_due_at - token.updated_at >= timedelta(seconds=30)


def test_the_periodic_refresh_leaves_alone_what_somebody_is_at(acme: Persona, highlevel: World) -> None:
    assert refreshing._claim(make_due())
    Token.objects.update(refresh_due_at=timezone.now() - timedelta(seconds=1))

    assert vault.refresh_due() == 0

    assert refresh_calls(highlevel) == 0


@pytest.mark.parametrize("status", Location.DISCONNECTED)
def test_the_periodic_refresh_leaves_disconnected_locations_alone(
    acme: Persona, highlevel: World, status: Location.Status
) -> None:
    make_due()
    Location.objects.update(status=status)

    assert vault.refresh_due() == 0

    assert refresh_calls(highlevel) == 0


def test_one_locations_trouble_does_not_stop_the_others(
    acme: Persona, globex: Persona, highlevel: World
) -> None:
    make_due(ACME_LOCATION, ago=timedelta(minutes=1))
    make_due(GLOBEX_LOCATION)
    Token.objects.filter(location_id=ACME_LOCATION).update(
        refresh_token=stored(GLOBEX_LOCATION).refresh_token
    )

    assert vault.refresh_due() == 1

    assert stored(GLOBEX_LOCATION).version == 2


def test_the_periodic_refresh_ends_where_highlevel_does_not_answer(
    acme: Persona, globex: Persona, highlevel: World
) -> None:
    make_due(ACME_LOCATION, ago=timedelta(minutes=1))
    make_due(GLOBEX_LOCATION)
    highlevel.faults.add(Fault("cut_before", "token", times=None))

    assert vault.refresh_due() == 0

    assert refresh_calls(highlevel) == 2
    assert stored(GLOBEX_LOCATION).refresh_started_at is None


def test_a_refresh_without_a_result_is_repeated_before_any_other(
    acme: Persona, globex: Persona, highlevel: World
) -> None:
    make_due(GLOBEX_LOCATION, ago=timedelta(hours=1))
    end_claim(ACME_LOCATION)

    first = refreshing.claim_due()

    assert first is not None
    assert (first.token.location_id, first.is_repeated) == (ACME_LOCATION, True)


# --- No answer --------------------------------------------------------------------------------------------


def test_a_lost_answer_is_asked_for_once_more_at_once(acme: Persona, highlevel: World) -> None:
    """An outage of ours right afterwards might last longer than the grace."""
    expire()
    highlevel.faults.add(Fault("refresh_answer_lost"))

    token = TOKENS.token()

    assert highlevel.tokens.issued == {"direct": 1, "refresh_token": 1, "refresh_replayed": 1}
    assert highlevel.tokens.grant_of(token) is not None


def test_an_answer_lost_twice_is_asked_for_again_with_the_same_token(acme: Persona, highlevel: World) -> None:
    before = expire()
    highlevel.faults.add(Fault("refresh_answer_lost", times=2))
    with pytest.raises(ConnectionLost):
        TOKENS.token()
    with pytest.raises(TokenBusy):
        TOKENS.token()
    assert plain(stored(), "refresh_token") == plain(before, "refresh_token")

    end_claim()
    token = TOKENS.token()

    assert highlevel.tokens.issued == {"direct": 1, "refresh_token": 1, "refresh_replayed": 2}
    assert highlevel.tokens.grant_of(token) is not None
    assert statuses_of() == ("active", "")


def test_the_periodic_refresh_repeats_a_lost_answer_too(
    acme: Persona, highlevel: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refreshing, "REPEAT_AFTER", timedelta(0))
    make_due()
    highlevel.faults.add(Fault("refresh_answer_lost", times=2))

    assert vault.refresh_due() == 0
    assert vault.refresh_due() == 1

    assert statuses_of() == ("active", "")
    assert highlevel.tokens.issued["refresh_replayed"] == 2


def test_a_refresh_does_not_wait_for_ever(
    acme: Persona, highlevel: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refreshing, "REFRESH_SECONDS", 0.2)
    expire()
    highlevel.faults.add(Fault("dribble", "token", seconds=1))
    started = time.monotonic()

    with pytest.raises(OutcomeUnknown):
        TOKENS.token()

    assert time.monotonic() - started < 0.9


def test_it_is_repeated_inside_highlevels_grace() -> None:
    grace = timedelta(seconds=30)

    assert timedelta(seconds=refreshing.REFRESH_SECONDS) < refreshing.REPEAT_AFTER
    assert refreshing.REPEAT_AFTER + timedelta(seconds=refreshing.REFRESH_SECONDS) < grace


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("error_500_before", "token", times=2), ServerFailed),
        (Fault("html_502", "token", times=2), ServerFailed),
        (Fault("too_many_requests", "token", times=1), RateLimited),
    ],
    ids=["error_500", "html_502", "too_many_requests"],
)
def test_trouble_at_highlevels_end_costs_nothing(
    acme: Persona, highlevel: World, fault: Fault, error: type[Exception]
) -> None:
    before = expire()
    highlevel.faults.add(replace(fault))

    with pytest.raises(error):
        TOKENS.token()
    end_claim()
    TOKENS.token()

    assert stored().version == before.version + 1
    assert statuses_of() == ("active", "")


def test_a_wrong_client_secret_costs_nothing(
    acme: Persona, highlevel: World, caplog: pytest.LogCaptureFixture
) -> None:
    before = expire()
    highlevel.settings.client_secret = "another"

    with pytest.raises(ClientMisconfigured):
        TOKENS.token()

    assert statuses_of() == ("active", "")
    assert "client_misconfigured" in caplog.text
    assert plain(before, "refresh_token") not in caplog.text


# --- A paused account -------------------------------------------------------------------------------------


@pytest.fixture
def suspended(acme: Persona, globex: Persona, highlevel: World) -> Token:
    before = expire()
    highlevel.locations[ACME_LOCATION].active = False
    with pytest.raises(LocationSuspended, match="not active"):
        TOKENS.token()
    return before


def test_a_paused_account_is_suspended_and_keeps_its_token(suspended: Token) -> None:
    location = Location.objects.get(pk=ACME_LOCATION)

    assert statuses_of() == ("suspended", "suspended")
    assert location.not_before is not None
    assert timedelta(minutes=45) < location.not_before - timezone.now() < timedelta(minutes=75)
    assert plain(stored(), "refresh_token") == plain(suspended, "refresh_token")
    assert statuses_of(GLOBEX_LOCATION) == ("active", "")


def test_a_paused_account_is_asked_about_slowly(suspended: Token, highlevel: World) -> None:
    for _ in range(5):
        with pytest.raises(LocationSuspended):
            TOKENS.token()
    assert vault.refresh_due() == 0

    assert refresh_calls(highlevel) == 1
    due_at = stored().refresh_due_at
    assert due_at is not None
    assert timedelta(minutes=45) < due_at - timezone.now() < timedelta(minutes=75)


def test_a_paused_account_is_asked_about_again(suspended: Token, highlevel: World) -> None:
    end_wait()

    with pytest.raises(LocationSuspended, match="400"):
        TOKENS.token()

    assert refresh_calls(highlevel) == 2


def test_an_account_that_is_active_again_is_released(suspended: Token, highlevel: World) -> None:
    highlevel.locations[ACME_LOCATION].active = True
    make_due()

    assert vault.refresh_due() == 1

    assert statuses_of() == ("active", "")
    assert Location.objects.get(pk=ACME_LOCATION).not_before is None
    assert list_calendars()[0].id == ACME_CALENDAR


def test_whoever_asks_first_after_the_wait_releases_it(suspended: Token, highlevel: World) -> None:
    highlevel.locations[ACME_LOCATION].active = True
    end_wait()

    TOKENS.token()

    assert statuses_of() == ("active", "")


def test_a_refresh_does_not_lift_the_brake_of_a_quota(acme: Persona) -> None:
    acme.location.brake(Location.Waiting.DAILY_QUOTA, timedelta(hours=1))
    make_due()

    assert vault.refresh_due() == 1

    assert statuses_of() == ("active", "daily_quota")


# --- A dead refresh token ---------------------------------------------------------------------------------


def test_a_dead_refresh_token_marks_the_location(acme: Persona, globex: Persona, highlevel: World) -> None:
    make_due()
    highlevel.revoke_tokens(ACME_LOCATION, refresh=True)

    assert vault.refresh_due() == 0

    location = Location.objects.get(pk=ACME_LOCATION)
    assert statuses_of() == ("needs_reconnect", "needs_reconnect")
    assert location.is_waiting
    assert stored().refresh_due_at is None
    assert statuses_of(GLOBEX_LOCATION) == ("active", "")


def test_a_dead_refresh_token_is_asked_about_once(acme: Persona, highlevel: World) -> None:
    expire()
    highlevel.revoke_tokens(ACME_LOCATION, refresh=True)

    for _ in range(3):
        with pytest.raises(NeedsReconnect):
            TOKENS.token()

    assert refresh_calls(highlevel) == 1


def test_a_dead_location_works_again_after_an_install(
    acme: Persona, highlevel: World, browser: Browser
) -> None:
    expire()
    highlevel.revoke_tokens(ACME_LOCATION, refresh=True)
    with pytest.raises(NeedsReconnect):
        TOKENS.token()

    browser.install()

    assert statuses_of() == ("active", "")
    assert list_calendars()[0].id == ACME_CALENDAR


def test_a_token_that_another_process_has_used_up_is_not_dead(acme: Persona, highlevel: World) -> None:
    held = expire()
    TOKENS.token()
    highlevel.clock.advance(60)  # its grace is over
    # What a process does that slept between its claim and its call.
    Token.objects.update(version=held.version)
    assert refreshing._claim(held)
    Token.objects.update(version=held.version + 1)

    kept = refreshing.give_up(held, _dead(held))

    assert plain(kept, "access_token") == plain(stored(), "access_token")
    assert statuses_of() == ("active", "")


def _dead(held: Token) -> Any:
    with pytest.raises(RefreshTokenDead) as refused:
        upstream.client().refresh(plain(held, "refresh_token"))
    return refused.value


def test_whoever_finds_a_newer_token_uses_it(acme: Persona, highlevel: World) -> None:
    held = expire()
    newer = TOKENS.token()

    assert plain(refreshing.refresh(held), "access_token") == newer

    assert refresh_calls(highlevel) == 1


def test_a_refresh_does_not_replace_what_an_install_has_stored_meanwhile(
    acme: Persona, highlevel: World, connect: Callable[[str], Location]
) -> None:
    held = expire()
    refreshed = upstream.client().refresh(plain(held, "refresh_token"))
    connect(ACME_LOCATION)
    installed = plain(stored(), "access_token")

    kept = refreshing._keep(held, refreshed)

    assert plain(kept, "access_token") == plain(stored(), "access_token") == installed


def test_what_a_refresh_leaves_out_stays_as_it_was(acme: Persona) -> None:
    before = expire()

    refreshing._keep(before, TokenGrant("opaque"))

    after = stored()
    assert plain(after, "access_token") == "opaque"
    assert plain(after, "refresh_token") == plain(before, "refresh_token")
    assert (after.scopes, after.user_type, after.issued_at) == (before.scopes, "Location", None)
    assert after.expires_at > timezone.now() + timedelta(hours=23)


def test_scopes_that_highlevel_does_not_name_are_not_missed(db: None, highlevel: World) -> None:
    installs.complete(TokenGrant("opaque", location_id=ACME_LOCATION))

    assert stored().scopes_missing == []


def test_an_uninstalled_location_stays_uninstalled(acme: Persona, highlevel: World) -> None:
    token = expire()
    Location.objects.update(status=Location.Status.UNINSTALLED)
    highlevel.revoke_tokens(ACME_LOCATION, refresh=True)

    with pytest.raises(RefreshTokenDead) as dead:
        refreshing.refresh(token)
    with pytest.raises(NeedsReconnect):
        refreshing.give_up(token, dead.value)

    assert statuses_of() == ("uninstalled", "")


def test_an_unreadable_token_is_the_operators_matter(acme: Persona, highlevel: World) -> None:
    expire()
    Token.objects.update(refresh_token=stored().access_token)

    with pytest.raises(TokenUnreadable):
        TOKENS.token()

    assert statuses_of() == ("active", "")
    assert refresh_calls(highlevel) == 0


# --- Threads and a database that goes away ----------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_threads_with_a_rejected_token_refresh_once(acme: Persona, highlevel: World) -> None:
    failed = TOKENS.token()
    highlevel.revoke_tokens(ACME_LOCATION)
    highlevel.faults.add(Fault("hang_after", "token", seconds=0.2))
    together = threading.Barrier(2)

    def renew() -> str:
        together.wait(timeout=5)
        try:
            while True:
                try:
                    return TOKENS.renew(failed)
                except TokenBusy:
                    time.sleep(0.05)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        first, second = (future.result() for future in [threads.submit(renew) for _ in range(2)])

    assert first == second == plain(stored(), "access_token")
    assert refresh_calls(highlevel) == 1


@pytest.mark.django_db(transaction=True)
def test_a_pair_that_postgresql_would_not_take_is_kept_and_offered_again(
    acme: Persona, highlevel: World, caplog: pytest.LogCaptureFixture
) -> None:
    expire()
    highlevel.faults.add(Fault("hang_after", "token", seconds=0.4))

    with ThreadPoolExecutor(1) as threads:
        ended = threads.submit(_terminate_while_refreshing, _backend())
        token = TOKENS.token()
        assert ended.result() is True

    assert "could not be stored yet" in caplog.text
    assert token == plain(stored(), "access_token")
    assert highlevel.tokens.grant_of(token) is not None
    assert highlevel.tokens.issued["refresh_token"] == 1
    assert "refresh_replayed" not in highlevel.tokens.issued


def _backend() -> int:
    """PostgreSQL's process behind this thread's connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def _terminate_while_refreshing(backend: int) -> bool:
    try:
        while stored().refresh_started_at is None:
            time.sleep(0.01)
        time.sleep(0.1)
        return _terminate(backend)
    finally:
        connection.close()


def _terminate(backend: int) -> bool:
    """End another thread's connection, as PostgreSQL's restart does."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 2000)", [backend])
            return bool(cursor.fetchone()[0])
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_pair_that_is_never_taken_is_given_up_in_the_end(
    acme: Persona, highlevel: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refreshing, "STORE_FOR_SECONDS", 0)
    token = expire()
    grant = parse_token_grant(highlevel.issue_location_token(ACME_LOCATION))
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(_terminate, _backend()).result() is True

    with pytest.raises(OperationalError):
        refreshing._keep(token, grant)

    connection.close()
    assert stored().version == token.version


@pytest.mark.django_db(transaction=True)
def test_a_pair_kept_in_memory_undoes_the_verdict_that_its_absence_led_to(
    acme: Persona, highlevel: World
) -> None:
    token = expire()
    grant = upstream.client().refresh(plain(token, "refresh_token"))
    # PostgreSQL was away for longer than the grace; on its return another process was the faster one.
    highlevel.clock.advance(60)
    with pytest.raises(NeedsReconnect):
        TOKENS.token()
    assert statuses_of() == ("needs_reconnect", "needs_reconnect")

    refreshing._keep(token, grant)

    assert statuses_of() == ("active", "")
    assert TOKENS.token() == grant.access_token


@pytest.mark.django_db(transaction=True)
def test_a_verdict_that_comes_after_a_new_install_is_dropped(
    acme: Persona, highlevel: World, connect: Callable[[str], Location]
) -> None:
    expire()
    highlevel.faults.add(Fault("hang_after", "token", seconds=0.3))
    highlevel.locations[ACME_LOCATION].active = False

    with ThreadPoolExecutor(1) as threads:
        refreshed = threads.submit(_token)
        while stored().refresh_started_at is None:
            time.sleep(0.01)
        connect(ACME_LOCATION)

    assert refreshed.result() == plain(stored(), "access_token")
    assert statuses_of() == ("active", "")


def _token() -> str:
    try:
        return TOKENS.token()
    finally:
        connection.close()
