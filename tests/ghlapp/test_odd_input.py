"""What PostgreSQL cannot keep or look up is a clear 400, wherever it comes in: never a 500."""

import json
from itertools import product
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from tests.fixtures import Persona

pytestmark = pytest.mark.django_db

NULS = ["%00", "a%00b"]
ODD = ["%ff", "%ed%a0%80", "%0d%0aX: y", "%25%30%30", "9" * 400, "'\"\\;--"]
BOOKING = "/api/v1/bookings/00000000-0000-4000-8000-000000000000"
PATHS = [
    *(
        "/",
        "/nothing/",
        "/livez",
        "/metrics",
        "/oauth/",
        "/oauth/install",
        "/oauth/callback",
        "/oauth/progress",
    ),
    *("/webhooks/", "/webhooks/highlevel", "/static/admin/", "/api/", "/api/docs/", "/api/schema/"),
    *("/api/v1/", "/api/v1/bookings", "/api/v1/bookings/", BOOKING, f"{BOOKING}/", f"{BOOKING}/timeline"),
    *("/api/v1/locations", "/api/v1/locations/", "/admin/", "/admin/login/"),
]
CHANGELISTS = [
    reverse(f"admin:{each._meta.app_label}_{each._meta.model_name}_changelist")
    for each in admin.site._registry
]
PARAMETERS = {
    "/api/v1/bookings": [
        *("status", "locationId", "calendarId", "contactId", "externalReference", "appointmentId", "cursor"),
        *("limit", "startTimeFrom", "startTimeTo", "createdFrom", "createdTo"),
    ],
    "/admin/appointments/booking/": ["q", "p", "o", "_changelist_filters", "id__exact"],
    "/admin/login/": ["next"],
    "/oauth/callback": ["error", "code=&state"],
}


@pytest.fixture
def client(admin_client: Client) -> Client:
    """Somebody who may do everything and whose failures are answered, not raised."""
    admin_client.raise_request_exception = False
    return admin_client


def is_clear_400(answer: Any, path: str) -> None:
    assert answer.status_code == 400, (path, answer.status_code)
    if path.startswith("/api/"):
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert "NUL" in answer.json()["detail"]
    elif not path.startswith("/webhooks/"):
        assert answer.headers["Content-Type"].startswith("text/html")


def test_it_refuses_a_nul_in_every_path_and_query(client: Client, acme: Persona) -> None:
    headers = {"Authorization": f"Bearer {acme.text}"}
    for path, nul in product(PATHS + CHANGELISTS, NULS):
        for url in (path + nul, f"{path}{nul}/", f"{path}?q={nul}", f"{path}?{nul}=q"):
            is_clear_400(client.get(url, headers=headers), path)
        is_clear_400(client.post(path + nul, headers=headers), path)


def test_it_answers_odd_paths_parameters_and_keys(client: Client, acme: Persona) -> None:
    headers = {"Authorization": f"Bearer {acme.text}"}
    urls = [path + odd for path, odd in product(PATHS, ODD)]
    urls += [f"{path}{odd}/change/" for path, odd in product(CHANGELISTS, ODD)]
    for path, parameters in PARAMETERS.items():
        urls += [f"{path}?{parameter}={odd}" for parameter, odd in product(parameters, ODD)]
    for url in urls:
        assert client.get(url, headers=headers).status_code < 500, url


def test_an_odd_cookie_is_a_fresh_session() -> None:
    client = Client(raise_request_exception=False)
    names = [settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, "messages", r'"\000"']
    values = [r'"\000"', r'"a\000bcdefghij"', r'"\377\376aaaaaaaa"', "%00", "ÿþ", "a" * 5000, "\x7f", ";;="]
    for path, name, value in product(["/oauth/install", "/admin/login/", "/admin/", "/livez"], names, values):
        answer = client.get(path, headers={"Cookie": f"{name}={value}"})

        assert answer.status_code < 400, (path, name, value)


@pytest.mark.parametrize("odd", ["\xff", "\x00", "9" * 3000, '"' * 50])
def test_an_odd_header_is_no_failure(client: Client, acme: Persona, odd: str) -> None:
    body = json.dumps({"calendarId": "x"})
    for header in (
        "Idempotency-Key",
        "If-Match",
        "Prefer",
        "Authorization",
        "Accept",
        "User-Agent",
        "Origin",
    ):
        value = f"Bearer {odd}" if header == "Authorization" else odd
        headers = {"Authorization": f"Bearer {acme.text}", header: value}
        for path in ("/api/v1/bookings", BOOKING, "/admin/login/", "/oauth/install"):
            assert client.get(path, headers=headers).status_code < 500, (header, path)
        answer = client.post("/api/v1/bookings", body, content_type="application/json", headers=headers)
        assert answer.status_code < 500, header
