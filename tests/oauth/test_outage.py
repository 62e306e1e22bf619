"""HighLevel as a whole does not answer: everybody waits, one call at a time asks whether it is back."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from ghl.types import Call
from oauth import outage
from oauth.models import Upstream

HERE, THERE, ELSEWHERE = "here", "there", "elsewhere"


@pytest.fixture(autouse=True)
def _sees_at_once(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "LOOK_EVERY_SECONDS", 0)
    outage.forget()


def note(location_id: str, outcome: str, times: int = 1) -> None:
    for _ in range(times):
        outage.note(location_id, Call("POST", "/", None, 0.0, timedelta(0), outcome))


def go_down() -> None:
    for location_id in (HERE, THERE, ELSEWHERE):
        note(location_id, "timed_out", 2)


def end_wait() -> None:
    Upstream.objects.update(not_before=Now() - timedelta(milliseconds=1))


def test_it_lets_everything_pass_while_highlevel_answers() -> None:
    note(HERE, "ok")

    assert outage.gate() == outage.Gate()


@pytest.mark.parametrize("outcome", sorted(outage.NO_ANSWER))
def test_it_stops_everybody_where_several_locations_get_no_answer(outcome: str) -> None:
    for location_id in (HERE, THERE, ELSEWHERE):
        note(location_id, outcome, 2)

    wait = outage.gate().wait
    assert wait is not None
    assert timedelta(0) < wait <= timedelta(seconds=2)


def test_one_locations_trouble_is_its_own() -> None:
    note(HERE, "server_failed", 50)
    note(THERE, "server_failed", 50)

    assert outage.gate() == outage.Gate()


def test_an_answer_in_between_begins_the_count_anew() -> None:
    note(HERE, "timed_out", 4)
    note(THERE, "slot_unavailable")
    note(THERE, "timed_out", 2)
    note(ELSEWHERE, "timed_out", 2)

    assert outage.gate() == outage.Gate()


@pytest.mark.parametrize(
    "outcome", ["rate_limited", "invalid_request", "route_not_supported", "token_rejected"]
)
def test_a_no_is_an_answer(outcome: str) -> None:
    for location_id in (HERE, THERE, ELSEWHERE):
        note(location_id, outcome, 5)

    assert outage.gate() == outage.Gate()


def test_one_asks_whether_it_is_back() -> None:
    go_down()
    end_wait()

    assert outage.gate() == outage.Gate(is_probe=True)
    assert outage.gate().wait is not None


def test_another_one_asks_where_the_first_had_nothing_to_ask() -> None:
    go_down()
    end_wait()
    outage.gate()

    outage.passed()

    assert outage.gate().is_probe


def test_it_waits_longer_each_time_but_not_for_ever() -> None:
    go_down()
    end_wait()
    outage.gate()
    note(HERE, "connect_failed")
    longer = outage.gate().wait
    note(HERE, "connect_failed", 30)
    longest = outage.gate().wait

    assert longer is not None
    assert longest is not None
    assert timedelta(seconds=2) < longer < longest <= timedelta(seconds=30)


def test_an_answer_lets_everybody_go_on() -> None:
    go_down()

    note(HERE, "ok")

    assert outage.gate() == outage.Gate()
