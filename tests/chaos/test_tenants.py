"""A good client: it asks again with the same key and the same body, and remembers what was accepted."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.chaos.plan import Errand, Step
from tests.chaos.stack import Place, Stack
from tests.chaos.tenants import Customer, Market, Record

PLACE = Place("acme", "location", "calendar", "user", "contact", seats=1)
WISH = {"startTime": "2031-01-06T09:00:00Z", "title": "Chaos t1."}
PENDING = {"id": "b1", "status": "pending"}


class Api:
    """Answers with what it was given, in order; None cuts the connection. `heard` is what was asked."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.answers: list[tuple[int, Any] | None] = []
        self.heard: list[tuple[str, str, str | None, Any]] = []
        self.url = f"http://127.0.0.1:{server.server_address[1]}"


@pytest.fixture
def api() -> Iterator[Api]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            key = self.headers.get("Idempotency-Key")
            here.heard.append((self.command, self.path, key, json.loads(body) if body else None))
            given = here.answers.pop(0)
            if given is None:
                self.close_connection = True
                return
            said = json.dumps(given[1]).encode()
            self.send_response(given[0])
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_POST = do_PATCH = answer  # noqa: N815 (the base class's names)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here = Api(server)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield here
        server.shutdown()
        thread.join()


def errand(*steps: Step, patient: bool = True) -> Errand:
    return Errand("t1.", "cut_after", PLACE, 0, dict(WISH), patient=patient, steps=steps)


def carried_out(api: Api, errand: Errand, *answers: tuple[int, Any] | None) -> tuple[Record, Market]:
    api.answers = list(answers)
    stack = cast("Stack", SimpleNamespace(url=api.url, keys={"acme": "key"}))
    market, record = Market(stack, Counter(), set()), Record(errand)
    customer = Customer(market, "acme", [record], Random(1))
    customer.start()
    customer.join(30)
    assert not customer.is_alive()
    return record, market


def test_it_asks_again_with_the_same_key_and_body(api: Api) -> None:
    record, _ = carried_out(api, errand(), None, (503, {}), (429, {}), (202, PENDING))

    assert api.heard == [("POST", "/api/v1/bookings", "t1.", WISH)] * 4
    assert record.booking_id == "b1"
    assert record.wishes == [WISH]


def test_an_impatient_one_leaves_it_at_the_first_failure(api: Api) -> None:
    record, _ = carried_out(api, errand(patient=False), (503, {}))

    assert (record.booking_id, record.refused) == (None, None)


def test_a_rejected_booking_was_accepted_too(api: Api) -> None:
    rejected = {"code": "slot_unavailable", "booking": {"id": "b1", "status": "rejected"}}
    record, _ = carried_out(api, errand(), (409, rejected))

    assert record.booking_id == "b1"


def test_a_refusal_at_the_door_is_none(api: Api) -> None:
    record, _ = carried_out(api, errand(), (400, {"code": "invalid_request"}))

    assert record.booking_id is None
    assert (record.refused or "").startswith("400")


def test_a_change_counts_once_it_is_accepted(api: Api) -> None:
    step = Step(0, "change", {"title": "Chaos t1. renamed"})
    record, _ = carried_out(api, errand(step), (202, PENDING), None, (202, PENDING))

    assert record.wishes == [WISH, {**WISH, "title": "Chaos t1. renamed"}]
    assert record.doubtful == []


def test_a_change_that_comes_too_late_is_none(api: Api) -> None:
    step = Step(0, "change", {"title": "Chaos t1. renamed"})
    record, _ = carried_out(api, errand(step), (202, PENDING), (409, {"code": "booking_ended"}))

    assert record.wish == WISH


@pytest.mark.parametrize(("status", "cancelled"), [("booked", True), ("rejected", False)])
def test_a_cancel_counts_where_the_booking_had_not_ended(api: Api, status: str, cancelled: bool) -> None:
    record, _ = carried_out(
        api, errand(Step(0, "cancel")), (202, PENDING), (202, {**PENDING, "status": status})
    )

    assert api.heard[-1][:2] == ("POST", "/api/v1/bookings/b1/cancel")
    assert record.cancelled is cancelled


@pytest.mark.parametrize("status", [404, 405])
def test_what_the_api_does_not_have_is_skipped(api: Api, status: int) -> None:
    steps = Step(0, "cancel"), Step(0, "retry")
    record, market = carried_out(api, errand(*steps), (202, PENDING), (status, {}))

    assert market.missing == {"cancel"}
    assert not record.cancelled
