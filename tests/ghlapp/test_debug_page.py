"""A debug page shows what went wrong, and no secret with it."""

import html
from typing import Any
from urllib.parse import unquote

import pytest
from django.conf import settings as configured
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from ghlapp.secret_settings import secrets
from oauth import redis_clients

API_KEY, COOKIE, CODE, PASSWORD = (
    "bk_0123456789abcdef_plain",
    "session-of-somebody",
    "c0de" * 10,
    "pass&word<>",
)

UNKNOWN = "no-setting-holds-it"


def failing(request: HttpRequest) -> HttpResponse:
    """Holds, and shows, what code at work may hold."""
    # Hidden by its name.
    access_token = UNKNOWN[::-1]
    database, broker = dict(configured.DATABASES["default"]), redis_clients.connection_options()
    values = [configured.DATABASE_URL, configured.REDIS_URL, request.headers.get("Authorization")]
    given = dict(request.POST) | {"environment": values}
    raise RuntimeError(
        f"{configured.DATABASE_URL} and {values} failed with {given}, {database}, {broker}, {len(access_token)}"
    )


urlpatterns = [path("failing", failing)]


@pytest.fixture
def hidden(settings: Any) -> set[str]:
    """Everything that must not be shown."""
    settings.DEBUG, settings.ROOT_URLCONF, settings.MIDDLEWARE = True, __name__, []
    settings.GHL_SHARED_SECRET = "shared'secret"
    settings.SECRET_KEY_FALLBACKS = ["an-older-key-than-this"]
    servers = [settings.DATABASE_URL, settings.REDIS_URL]
    values = {*servers, *map(unquote, servers), API_KEY, COOKIE, CODE, PASSWORD}
    values.add(UNKNOWN[::-1])
    return {value for value in values | {secret for _, secret in secrets()} if value}


@pytest.mark.parametrize("as_text", [False, True])
def test_it_shows_no_secret(hidden: set[str], as_text: bool) -> None:
    client = Client(raise_request_exception=False)
    client.cookies["booking_session"] = COOKIE

    answer = client.post(
        f"/failing?code={CODE}&state=an-opaque-state",
        {"username": "operator", "password": PASSWORD},
        headers={"Authorization": f"Bearer {API_KEY}", "Accept": "text/plain" if as_text else "text/html"},
    )

    page = answer.content.decode()
    assert answer.status_code == 500
    assert "RuntimeError" in page
    assert "DATABASE_POOL_SIZE" in page
    assert len(hidden) >= 11
    for value in hidden:
        for form in (value, html.escape(value), repr(value)[1:-1], html.escape(repr(value)[1:-1])):
            assert form not in page
            assert form not in html.unescape(page)
