"""The account of every exchange, and the one replay after a rejected token."""

from datetime import timedelta

import httpx2
import pytest

from ghl import errors
from ghl.auth import authorized
from ghl.types import Appointment, Call

from .conftest import Answering


def test_a_call_that_worked_is_accounted_for(answering: Answering) -> None:
    heard: list[Call] = []
    calls: list[Call] = []
    client = answering(201, json={"id": "apt1", "traceId": "t-1"}, on_call=heard.append)

    client.change_appointment("a-token", "apt/1", {}, calls=calls)

    (call,) = calls
    assert heard == calls
    assert (call.method, call.path) == ("PUT", "/calendars/events/appointments/apt%2F1")
    assert (call.status, call.outcome, call.trace_id) == (201, "ok", "t-1")
    assert timedelta(0) < call.duration < timedelta(seconds=5)


def test_a_call_that_was_refused_is_accounted_for_and_named_in_the_error(answering: Answering) -> None:
    heard: list[Call] = []
    calls: list[Call] = []
    body = {"message": "The slot you have selected is no longer available.", "traceId": "t-2"}

    with pytest.raises(errors.SlotUnavailable) as refused:
        answering(400, json=body, on_call=heard.append).create_appointment("a-token", {}, calls=calls)

    assert heard == calls == [refused.value.call]
    assert (calls[0].status, calls[0].outcome, calls[0].trace_id) == (400, "slot_unavailable", "t-2")


def test_a_call_without_an_answer_is_accounted_for(answering: Answering) -> None:
    def refuse(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("[Errno 111] Connection refused")

    calls: list[Call] = []
    with pytest.raises(errors.ConnectFailed, match="refused"):
        answering(refuse).create_appointment("a-token", {}, calls=calls)

    assert (calls[0].status, calls[0].outcome) == (None, "connect_failed")


def test_an_unreadable_yes_is_accounted_for_as_one(answering: Answering) -> None:
    calls: list[Call] = []
    with pytest.raises(errors.UnreadableAnswer):
        answering(200, json={"traceId": "t-3"}).create_appointment("a-token", {}, calls=calls)

    assert (calls[0].status, calls[0].outcome, calls[0].trace_id) == (200, "unreadable_answer", "t-3")


def test_an_account_shows_no_query_and_a_refresh_is_heard_of(answering: Answering) -> None:
    heard: list[Call] = []
    client = answering(json={"calendars": [], "access_token": "a"}, on_call=heard.append)

    client.calendars("a-token", location_id="loc1")
    client.refresh("an-old-refresh-token")

    assert [(call.method, call.path) for call in heard] == [("GET", "/calendars/"), ("POST", "/oauth/token")]


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (httpx2.ConnectError("x"), errors.ConnectFailed),
        (httpx2.ConnectTimeout("x"), errors.ConnectFailed),
        (httpx2.PoolTimeout("x"), errors.ConnectFailed),
        (httpx2.UnsupportedProtocol("x"), errors.ConnectFailed),
        (httpx2.ReadTimeout("x"), errors.TimedOut),
        (httpx2.WriteTimeout("x"), errors.TimedOut),
        (httpx2.ReadError("x"), errors.ConnectionLost),
        (httpx2.WriteError("x"), errors.ConnectionLost),
        (httpx2.RemoteProtocolError("x"), errors.ConnectionLost),
        (httpx2.LocalProtocolError("x"), errors.ConnectionLost),
        (httpx2.DecodingError("x"), errors.UnreadableAnswer),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
def test_only_what_breaks_before_sending_is_known_not_to_have_happened(
    broken: httpx2.HTTPError, error: type[errors.HighLevelError], answering: Answering
) -> None:
    def breaking(_: httpx2.Request) -> httpx2.Response:
        raise broken

    with pytest.raises(error) as raised:
        answering(breaking).create_appointment("a-token", {})

    assert type(raised.value) is error


class Keeper:
    """Hands out `old`, then `new`."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def token(self) -> str:
        return "old-token"

    def renew(self, failed: str) -> str:
        self.failed.append(failed)
        return "new-token"


def only(token: str, message: str) -> httpx2.MockTransport | object:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.headers["authorization"] == f"Bearer {token}":
            return httpx2.Response(200, json={"id": "apt1"})
        return httpx2.Response(401, json={"message": message})

    return answer


def test_a_rejected_token_is_renewed_and_the_call_replayed(answering: Answering) -> None:
    keeper, calls = Keeper(), list[Call]()
    client = answering(only("new-token", "Invalid JWT"))

    found = authorized(keeper, lambda token: client.create_appointment(token, {}, calls=calls))

    assert found == Appointment(id="apt1")
    assert keeper.failed == ["old-token"]
    assert [call.outcome for call in calls] == ["token_rejected", "ok"]


def test_a_token_that_works_is_not_renewed(answering: Answering) -> None:
    keeper = Keeper()
    client = answering(only("old-token", "Invalid JWT"))

    authorized(keeper, lambda token: client.get_appointment(token, "apt1"))

    assert keeper.failed == []


def test_the_call_is_replayed_only_once(answering: Answering) -> None:
    keeper, calls = Keeper(), list[Call]()
    client = answering(only("another-token", "Invalid JWT"))

    with pytest.raises(errors.TokenRejected):
        authorized(keeper, lambda token: client.get_appointment(token, "apt1", calls=calls))

    assert len(calls) == 2


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "The token is not authorized for this scope."),
        (401, "This authClass type is not allowed to access this scope."),
        (401, "Token's user type mismatch!"),
        (401, "You do not have access to this feature!"),
        (401, "This route is not yet supported by the IAM Service."),
        (403, "The token does not have access to this location."),
    ],
)
def test_no_token_is_spent_on_what_a_new_one_would_not_cure(
    status: int, message: str, answering: Answering
) -> None:
    keeper = Keeper()
    client = answering(status, json={"message": message})

    with pytest.raises(errors.Refused):
        authorized(keeper, lambda token: client.get_appointment(token, "apt1"))

    assert keeper.failed == []
