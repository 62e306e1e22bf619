"""Whatever goes wrong under /api/ is a problem in JSON, never a page and never a trace."""

import re
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from tests.fixtures import Persona

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def is_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem.keys() >= {"type", "title", "status", "detail", "code", "requestId"}
    assert (problem["status"], problem["code"]) == (status, code)
    assert UUID.fullmatch(problem["requestId"])
    assert answer.headers["X-Request-Id"] == problem["requestId"]
    return problem


@pytest.mark.parametrize(
    "path",
    ["/api/", "/api/v1/", "/api/v1/nothing", "/api/v1/bookings/", "/api/v1/bookings/7", "/api/v2/bookings"],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_it_knows_no_such_route(acme: Persona, path: str, method: str) -> None:
    is_problem(getattr(acme.api, method)(path), 404, "not_found")


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_it_takes_no_other_methods(acme: Persona, method: str) -> None:
    answer = getattr(acme.api, method)("/api/v1/bookings")

    is_problem(answer, 405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "POST", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("path", ["/api/v1/bookings", "/api/v1/nothing", "/livez/nothing"])
def test_it_does_not_serve_other_hosts(db: None, path: str) -> None:
    answer = Client().get(path, headers={"Host": "evil.example"})

    assert answer.status_code == 400
    is_problem(answer, 400, "invalid_request")


def test_it_shows_nothing_of_an_unforeseen_failure(
    acme: Persona, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("appointments.api.BookingList.get", _raise(RuntimeError("the secret reason")))

    answer = acme.api.get("/api/v1/bookings")

    problem = is_problem(answer, 500, "internal_error")
    assert "secret" not in answer.content.decode()
    assert problem["requestId"] in problem["detail"] or "requestId" in problem["detail"]
    assert "the secret reason" in caplog.text


def test_it_shows_nothing_of_a_failure_outside_the_views(acme: Persona, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        "django.middleware.common.CommonMiddleware.process_request",
        _raise(RuntimeError("the secret reason")),
    )
    client = Client(raise_request_exception=False)

    is_problem(client.get("/api/v1/bookings"), 500, "internal_error")


def test_it_asks_to_come_back_without_its_database(acme: Persona, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appointments.api.BookingList.get", _raise(OperationalError("connection refused")))

    answer = acme.api.get("/api/v1/bookings")

    is_problem(answer, 503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert "refused" not in answer.content.decode()


@pytest.mark.parametrize("accept", ["application/json", "*/*", "application/problem+json, application/json"])
def test_it_speaks_json_to_whoever_takes_it(acme: Persona, accept: str) -> None:
    answer = acme.api.get("/api/v1/bookings", headers={"Accept": accept})

    assert answer.headers["Content-Type"] == "application/json"


def test_it_answers_in_json_whatever_the_client_would_accept(acme: Persona) -> None:
    answer = acme.api.get("/api/v1/bookings", headers={"Accept": "text/html"})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"


def test_it_gives_each_answer_a_request_id_of_its_own(acme: Persona) -> None:
    first, second = (acme.api.get("/api/v1/bookings", headers={"X-Request-Id": "forged"}) for _ in range(2))

    ids = {first.headers["X-Request-Id"], second.headers["X-Request-Id"]}
    assert len(ids) == 2
    assert "forged" not in ids


def test_it_shows_browsers_a_page_elsewhere(db: None) -> None:
    answer = Client().get("/nothing")

    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")


def test_it_logs_no_query(acme: Persona, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        acme.api.get("/api/v1/bookings", {"externalReference": "a-secret"})

    assert "GET /api/v1/bookings" in caplog.text
    assert "a-secret" not in caplog.text


def _raise(error: Exception) -> Any:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail
