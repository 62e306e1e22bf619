"""Something goes wrong, as ordered: every kind of fault, seen from the calling side."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from sandbox import ConnectionCut, Fault, World
from sandbox.faults import KINDS, FaultKind
from sandbox.seed import LOCATION, SECOND_LOCATION
from sandbox.server import serve
from tests.sandbox.asking import EVENTS, Asker, checked, example, refresh


@pytest.fixture
def ask_by_wire(world: World) -> Iterator[Asker]:
    """The same app, but over a real connection."""
    token = world.issue_location_token(LOCATION)
    with serve(world) as server, httpx2.Client(base_url=server.url, timeout=5) as client:
        yield Asker(client, token["access_token"])


def order(world: World, kind: FaultKind, **options: Any) -> None:
    world.faults.add(Fault(kind=kind, **{"operation": "create_appointment", **options}))


def booked(world: World) -> int:
    return len(world.diary.everything())


def wait_until_in_flight(world: World) -> None:
    deadline = time.monotonic() + 5
    while not world.calls.counts["create_appointment", "in_flight"]:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_it_answers_429_without_doing_anything(world: World, ask: Asker) -> None:
    order(world, "too_many_requests")

    refused = ask.post(EVENTS, example())

    assert refused.status_code == 429
    assert refused.json() == {"statusCode": 429, "message": "Too Many Requests"}
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert "Retry-After" not in refused.headers
    assert booked(world) == 0


def test_it_adds_retry_after_to_a_429_when_told_to(world: World, ask: Asker) -> None:
    order(world, "too_many_requests", retry_after=7)

    assert ask.post(EVENTS, example()).headers["Retry-After"] == "7"


def test_it_refuses_what_it_did_all_the_same(world: World, ask: Asker) -> None:
    order(world, "refused_after")

    assert ask.post(EVENTS, example()).status_code == 422
    assert booked(world) == 1


@pytest.mark.parametrize(("kind", "done"), [("error_500_before", 0), ("error_500_after", 1)])
def test_it_answers_500_before_or_after_the_work(
    world: World, ask: Asker, kind: FaultKind, done: int
) -> None:
    order(world, kind)

    assert ask.post(EVENTS, example()).status_code == 500
    assert booked(world) == done


@pytest.mark.parametrize(("kind", "done"), [("cut_before", 0), ("cut_after", 1)])
def test_it_cuts_the_connection_before_or_after_the_work(
    world: World, ask_by_wire: Asker, kind: FaultKind, done: int
) -> None:
    order(world, kind)

    with pytest.raises(httpx2.RemoteProtocolError):
        ask_by_wire.post(EVENTS, example())

    assert booked(world) == done
    assert world.calls.summary() == {"create_appointment": {"cut": 1}}


def test_it_raises_the_cut_through_a_wsgi_transport(world: World, ask: Asker) -> None:
    order(world, "cut_after")

    with pytest.raises(ConnectionCut):
        ask.post(EVENTS, example())

    assert booked(world) == 1


def test_it_hangs_and_then_does_nothing(world: World, ask_by_wire: Asker) -> None:
    order(world, "hang_before", seconds=0.05)

    started = time.monotonic()
    with pytest.raises(httpx2.RemoteProtocolError):
        ask_by_wire.post(EVENTS, example())

    assert time.monotonic() - started >= 0.05
    assert booked(world) == 0


def test_it_does_the_work_after_a_client_gave_up(world: World, ask_by_wire: Asker) -> None:
    order(world, "hang_after", seconds=0.3)

    with pytest.raises(httpx2.ReadTimeout):
        ask_by_wire("POST", EVENTS, json=example(), timeout=0.05)
    at_the_timeout = booked(world)

    deadline = time.monotonic() + 5
    while not booked(world):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert at_the_timeout == 0


def test_it_answers_other_calls_while_one_hangs(world: World, ask_by_wire: Asker) -> None:
    order(world, "hang_after", seconds=60)
    hanging = threading.Thread(target=lambda: _quietly(ask_by_wire))
    hanging.start()
    wait_until_in_flight(world)

    answer = ask_by_wire.get(f"/locations/{LOCATION}")

    world.closing.set()
    hanging.join()
    assert answer.status_code == 200
    assert booked(world) == 0


def _quietly(ask: Asker) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        ask.post(EVENTS, example())


@pytest.mark.parametrize("done", [False, True])
def test_it_answers_502_in_html(world: World, ask: Asker, done: bool) -> None:
    order(world, "html_502", done=done)

    answer = ask.post(EVENTS, example())

    assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html; charset=UTF-8")
    assert booked(world) == done


def test_it_sends_half_a_body_and_cuts(world: World, ask_by_wire: Asker) -> None:
    order(world, "half_body")

    with pytest.raises(httpx2.RemoteProtocolError, match="complete message body"):
        ask_by_wire.post(EVENTS, example())

    assert booked(world) == 1


def test_it_sends_half_a_body_through_a_wsgi_transport(world: World, ask: Asker) -> None:
    order(world, "half_body")

    with pytest.raises(ConnectionCut):
        ask.post(EVENTS, example())


def test_it_sends_a_complete_answer_with_half_a_json_text(world: World, ask_by_wire: Asker) -> None:
    order(world, "truncated_json")

    answer = ask_by_wire.post(EVENTS, example())

    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert booked(world) == 1


def test_it_dribbles_an_answer_past_every_read_timeout(world: World, ask_by_wire: Asker) -> None:
    order(world, "dribble", seconds=0.4)

    started = time.monotonic()
    answer = ask_by_wire("POST", EVENTS, json=example(), timeout=0.2)

    assert time.monotonic() - started >= 0.4
    assert answer.json()["title"] == "Test Event"


def test_it_refuses_an_access_token_once_or_for_good(world: World, ask: Asker) -> None:
    order(world, "token_revoked", operation="*")

    assert ask.post(EVENTS, example()).json() == {"statusCode": 401, "message": "Invalid JWT"}
    assert ask.post(EVENTS, example()).status_code == 200

    order(world, "token_revoked", operation="*", times=None)

    assert {ask.get(f"/locations/{LOCATION}").status_code for _ in range(3)} == {401}


def test_it_still_refreshes_while_access_tokens_are_refused(world: World, client: httpx2.Client) -> None:
    token = world.issue_location_token(LOCATION)
    order(world, "token_revoked", operation="*", times=None)

    assert refresh(client, world, token["refresh_token"]).status_code == 200


def test_it_loses_the_answer_to_a_refresh(world: World, client: httpx2.Client) -> None:
    token = world.issue_location_token(LOCATION)
    world.faults.add(Fault("refresh_answer_lost"))

    with pytest.raises(ConnectionCut):
        refresh(client, world, token["refresh_token"])
    within_the_grace = refresh(client, world, token["refresh_token"])
    world.clock.advance(31)
    after_it = refresh(client, world, token["refresh_token"])

    assert (within_the_grace.status_code, after_it.status_code) == (200, 400)
    assert world.tokens.issued["refresh_token"] == 1


def test_it_strikes_only_the_operation_it_was_ordered_for(world: World, ask: Asker) -> None:
    order(world, "error_500_before", operation="get_location", times=None)

    assert ask.post(EVENTS, example()).status_code == 200
    assert ask.get(f"/locations/{LOCATION}").status_code == 500


def test_it_strikes_as_often_as_ordered(world: World, ask: Asker) -> None:
    order(world, "error_500_before", times=2)

    statuses = [ask.post(EVENTS, checked()).status_code for _ in range(3)]

    assert statuses == [500, 500, 200]
    assert world.faults.pending() == []


def test_it_strikes_only_the_location_it_was_ordered_for(world: World, ask: Asker) -> None:
    order(world, "error_500_before", operation="*", location_id=SECOND_LOCATION)
    other = Asker(ask.client, world.issue_location_token(SECOND_LOCATION)["access_token"])

    assert ask.get(f"/locations/{LOCATION}").status_code == 200
    assert other.get(f"/locations/{SECOND_LOCATION}").status_code == 500


def test_it_strikes_only_bodies_that_match(world: World, ask: Asker) -> None:
    order(world, "error_500_before", match={"title": "unlucky"}, times=None)

    assert ask.post(EVENTS, example(title="a lucky one")).status_code == 200
    assert ask.post(EVENTS, example(title="an unlucky one")).status_code == 500


def test_it_forgets_faults_that_are_cleared(world: World, ask: Asker) -> None:
    order(world, "error_500_before", times=None)
    world.faults.clear()

    assert ask.post(EVENTS, example()).status_code == 200


def test_it_notes_the_fault_with_the_call(world: World, ask: Asker) -> None:
    order(world, "error_500_after")
    ask.post(EVENTS, example())

    (record,) = world.calls.records
    assert (record.outcome, record.fault, record.location_id) == ("500", "error_500_after", LOCATION)
    assert record.body["title"] == "Test Event"


@pytest.mark.parametrize("operation", ["", "create_appointments"])
def test_it_takes_no_order_for_an_operation_there_is_not(operation: str) -> None:
    with pytest.raises(ValueError, match="no operation"):
        Fault("cut_before", operation=operation)


def test_it_takes_no_order_for_a_fault_there_is_not() -> None:
    with pytest.raises(ValueError, match=KINDS[0]):
        Fault(kind="explode")  # type: ignore[arg-type]
