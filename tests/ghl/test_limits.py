"""What HighLevel's headers say of its limits, and that every answer's account repeats it."""

from contextlib import suppress
from datetime import timedelta

import httpx2
import pytest

from ghl import errors
from ghl.types import Call, Limits

from .conftest import Answering

HEADERS = {
    "X-RateLimit-Limit-Daily": "200000",
    "X-RateLimit-Daily-Remaining": "199000",
    "X-RateLimit-Interval-Milliseconds": "10000",
    "X-RateLimit-Max": "100",
    "X-RateLimit-Remaining": "97",
}
LIMITS = Limits(burst=100, burst_left=97, interval=timedelta(seconds=10), daily_left=199_000)


def read(**changed: str) -> Limits | None:
    changes = {f"X-RateLimit-{name.replace('_', '-')}": value for name, value in changed.items()}
    return Limits.from_headers(httpx2.Headers({**HEADERS, **changes}))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"id": "apt1"}),
        (200, {"traceId": "a yes without an id"}),
        (400, {"message": "The slot you have selected is no longer available."}),
        (401, {"message": "Invalid JWT"}),
        (429, {"message": "Too Many Requests"}),
        (502, {}),
    ],
)
def test_it_repeats_them_whatever_the_answer_is(
    status: int, body: dict[str, str], answering: Answering
) -> None:
    heard: list[Call] = []
    client = answering(status, json=body, headers=HEADERS, on_call=heard.append)

    with suppress(errors.HighLevelError):
        client.create_appointment("a-token", {})

    assert [(call.status, call.limits) for call in heard] == [(status, LIMITS)]


def test_a_refusal_carries_them(answering: Answering) -> None:
    with pytest.raises(errors.RateLimited) as refused:
        answering(429, headers=HEADERS).create_appointment("a-token", {})

    assert refused.value.call is not None
    assert refused.value.call.limits == LIMITS


def test_it_knows_nothing_where_no_answer_came(answering: Answering) -> None:
    def breaking(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("x")

    with pytest.raises(errors.TimedOut) as raised:
        answering(breaking).create_appointment("a-token", {})

    assert raised.value.call is not None
    assert raised.value.call.limits is None


def test_it_knows_nothing_where_the_headers_say_nothing() -> None:
    assert Limits.from_headers(httpx2.Headers({"Content-Type": "application/json"})) is None


def test_it_learns_the_limits_of_a_small_account() -> None:
    limits = read(Max="25", Remaining=" 0 ")

    assert limits is not None
    assert (limits.burst, limits.burst_left) == (25, 0)


@pytest.mark.parametrize(
    "value", ["", "-1", "1.5", "1e3", "nan", "many", "97, 97", "\u0669", "9" * 19, "9" * 5000, "0x10"]
)
def test_it_reads_nonsense_as_nothing(value: str) -> None:
    header = value.encode("utf-8")
    limits = Limits.from_headers(httpx2.Headers([(name.encode(), header) for name in HEADERS]))

    assert limits is None


@pytest.mark.parametrize(
    ("header", "value", "field"),
    [
        ("Max", "0", "burst"),
        ("Max", "10001", "burst"),
        ("Interval_Milliseconds", "0", "interval"),
        ("Interval_Milliseconds", "86400000", "interval"),
        ("Remaining", "10001", "burst_left"),
    ],
)
def test_it_believes_no_limit_that_would_stop_or_flood(header: str, value: str, field: str) -> None:
    limits = read(**{header: value})

    assert limits is not None
    assert getattr(limits, field) is None


@pytest.mark.parametrize(("left", "exhausted"), [("0", True), ("1", False), ("none", False)])
def test_it_tells_when_the_day_is_used_up(left: str, exhausted: bool) -> None:
    limits = read(Daily_Remaining=left)

    assert limits is not None
    assert limits.daily_exhausted is exhausted
