"""The security headers of every route: what a browser may load, keep and frame, and which cookies it is given."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from tests.fixtures import Persona

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = (
    "/oauth/install",
    "/oauth/callback",
    "/oauth/progress",
    "/api/docs/",
    "/api/schema/",
    "/admin/login/",
)
PROGRAMS = ("/api/v1/bookings", "/api/v1/nothing", "/webhooks/highlevel")


def paths(patterns: list[Any] | None = None, prefix: str = "/") -> Iterator[str]:
    """An address for every route, with made-up ids in it; of the admin's the first level."""
    for each in get_resolver().url_patterns if patterns is None else patterns:
        route = str(each.pattern)
        if isinstance(each, URLResolver) and not route.startswith("admin"):
            yield from paths(each.url_patterns, prefix + route)
        elif isinstance(each, URLPattern):
            filled = re.sub(r"<uuid:[^>]+>", "01939f6e-0000-7000-8000-000000000000", prefix + route)
            yield re.sub(r"<[^>]+>", "x", filled)
    if patterns is None:
        yield from ("/admin/", "/admin/login/", "/admin/nowhere/", "/nowhere")


def directives(answer: Any) -> dict[str, str]:
    parts = [part.strip() for part in answer.headers["Content-Security-Policy"].split(";") if part.strip()]
    return {name: value for name, _, value in (part.partition(" ") for part in parts)}


def test_every_route_says_what_a_browser_may_do(db: None) -> None:
    addresses = list(paths())

    assert {*PAGES, "/livez", "/metrics", "/api/v1/bookings"} <= set(addresses)
    for address in addresses:
        answer = Client().get(address)
        policy = directives(answer)

        assert policy["default-src"] == "'none'", address
        assert policy["frame-ancestors"] == "'none'", address
        assert policy["base-uri"] == "'none'", address
        assert "unsafe" not in str(policy), address
        assert answer.headers["X-Content-Type-Options"] == "nosniff", address
        assert answer.headers["X-Frame-Options"] == "DENY", address
        assert answer.headers["Referrer-Policy"] == "same-origin", address
        assert "camera=()" in answer.headers["Permissions-Policy"], address
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin", address


def test_refusals_before_any_view_say_so_too(db: None, settings: Any) -> None:
    settings.INTERNAL_NETWORKS = [ip_network("10.0.0.0/8")]
    refused = ("/api/v1/bookings/%00", "/oauth/callback?code=%00", "/webhooks/%00", "/admin/", "/metrics")

    for address in (*refused, "/webhooks/nowhere"):
        answer = Client().get(address)

        assert answer.status_code in (400, 404), address
        assert directives(answer)["default-src"] == "'none'", address
        assert answer.headers["X-Content-Type-Options"] == "nosniff", address
        assert answer.headers["X-Frame-Options"] == "DENY", address
        if address.startswith(("/api/v1/", "/webhooks/")):
            assert answer.headers["Cache-Control"] == "no-store", address
            assert answer.headers["Content-Type"] == "application/problem+json", address


@pytest.mark.django_db(transaction=True)  # for closing the answer closes the connection
def test_files_say_so_too() -> None:
    answer = Client().get("/static/oauth/pages.css")
    answer.close()

    assert answer.status_code == 200
    assert directives(answer)["default-src"] == "'none'"


@pytest.mark.parametrize("path", PAGES)
def test_no_page_holds_scripts_or_styles(db: None, path: str) -> None:
    answer = Client().get(path)

    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    html = answer.content.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", html))


def test_answers_for_programs_are_not_kept(acme: Persona) -> None:
    booked = acme.book()

    for answer in (booked, acme.api.get(booked.headers["Location"]), *map(Client().get, PROGRAMS)):
        assert answer.headers["Cache-Control"] == "no-store"
        assert directives(answer) == {
            "default-src": "'none'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }


def test_a_signed_in_persons_pages_are_not_kept(db: None) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))

    assert "no-store" in client.get("/admin/").headers["Cache-Control"]
    assert "no-store" in client.get("/admin/oauth/apikey/").headers["Cache-Control"]


COOKIES = """
import django; django.setup()
from django.conf import settings
print(settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, settings.COOKIE_NAME_PREFIX or "-",
      settings.SESSION_COOKIE_SECURE, settings.CSRF_COOKIE_SECURE, settings.SESSION_COOKIE_HTTPONLY,
      settings.CSRF_COOKIE_HTTPONLY, settings.SESSION_COOKIE_PATH, settings.SESSION_COOKIE_DOMAIN)
"""


@pytest.mark.parametrize(
    ("public_url", "said"),
    [
        (
            "https://a.example",
            "__Host-booking_session __Host-csrftoken __Host- True True True True / None",
        ),
        ("http://localhost:8000", "booking_session csrftoken - False False True True / None"),
    ],
)
def test_cookies_are_bound_to_the_host_over_https(public_url: str, said: str) -> None:
    environ = {**os.environ, "PUBLIC_URL": public_url, "DJANGO_SETTINGS_MODULE": "ghlapp.settings"}

    run = subprocess.run(
        [sys.executable, "-c", COOKIES], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )

    assert run.stdout.strip() == said
