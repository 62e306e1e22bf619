"""What each request passes through: all of the middleware for a page, what concerns it for a program's call."""

import json
import logging
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import Client

from tests.fixtures import Persona

PAGES = ["/admin/login/", "/oauth/install", "/api/docs/", "/api/schema/"]


def _request_of(answer: Any) -> HttpRequest:
    request: HttpRequest = answer.wsgi_request
    return request


@pytest.mark.parametrize("path", ["/api/v1/bookings", "/api/v1/nothing", "/webhooks/highlevel"])
def test_it_spares_a_programs_request_what_pages_need(db: None, path: str) -> None:
    answer = Client().get(path)

    assert not hasattr(_request_of(answer), "session")
    assert not hasattr(_request_of(answer), "_messages")
    assert not answer.cookies


@pytest.mark.parametrize("path", PAGES)
def test_it_gives_a_page_all_of_it(db: None, path: str) -> None:
    request = _request_of(Client().get(path))

    assert hasattr(request, "session")
    assert hasattr(request, "_messages")


@pytest.mark.parametrize("path", ["/api/v1/bookings", "/api/v1/nothing", "/webhooks/highlevel", *PAGES])
def test_it_sets_the_common_headers_on_every_answer(db: None, path: str) -> None:
    headers = Client().get(path).headers

    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert len(headers["X-Request-Id"]) >= 32


def test_it_refuses_a_strangers_host_to_programs_too(acme: Persona) -> None:
    answer = acme.api.get("/api/v1/bookings", headers={"Host": "elsewhere.example"})

    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_request"


def test_it_lets_a_signed_in_person_book_nothing_without_a_key(admin_client: Client) -> None:
    """A session is no key, and so no form of another site can use it."""
    assert admin_client.post("/api/v1/bookings", {}, "application/json").status_code == 401


def test_it_logs_each_request_as_one_line_of_json(acme: Persona, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = StringIO()
    handler = logging.getLogger("ghlapp.requests").handlers[0]
    monkeypatch.setattr(handler, "stream", lines)

    answer = acme.api.get("/api/v1/bookings?contactId=secret")

    [line] = lines.getvalue().splitlines()
    told = json.loads(line)
    assert datetime.now(UTC) - datetime.fromisoformat(told.pop("timestamp")) < timedelta(minutes=1)
    assert told == {
        "code": 200,
        "request": "GET /api/v1/bookings",
        "event": "request_finished",
        "request_id": answer.headers["X-Request-Id"],
        "ip": "127.0.0.1",
        "level": "info",
        "logger": "ghlapp.requests",
    }


def test_it_warns_of_what_was_refused(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = StringIO()
    handler = logging.getLogger("ghlapp.requests").handlers[0]
    monkeypatch.setattr(handler, "stream", lines)

    Client().get("/api/v1/bookings")

    assert json.loads(lines.getvalue())["level"] == "warning"
