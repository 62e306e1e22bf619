"""What each request passes through: all of the middleware for a page, what concerns it for a program's call."""

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
