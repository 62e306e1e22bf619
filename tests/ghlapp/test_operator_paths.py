"""Probes and scrapers come by address; what is for operators can be hidden from everybody else."""

from ipaddress import ip_network
from typing import Any

import pytest
from django.conf import settings as configured
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ghlapp import environment

pytestmark = pytest.mark.django_db
INSIDE, OUTSIDE = "10.42.0.9", "203.0.113.9"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
@pytest.mark.parametrize("host", ["10.42.8.201:8000", "[fd00::1]:8000", "pod-7.web.svc", "_not a host_"])
def test_it_answers_probes_and_scrapers_whatever_the_host(path: str, host: str) -> None:
    assert Client().get(path, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/api/v1/bookings", "/api/schema/", "/oauth/install", "/admin/login/", "/livez/", "/metrics/x"]
)
def test_it_checks_the_host_everywhere_else(path: str) -> None:
    assert Client().get(path, headers={"Host": "10.42.8.201:8000"}).status_code == 400


def test_probes_pass_by_sessions_and_all_else_that_pages_need() -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))

    with CaptureQueriesContext(connection) as queries:
        answer = client.get("/livez")

    assert answer.status_code == 200
    assert not queries.captured_queries
    assert "Vary" not in answer.headers


def test_probes_take_no_body_and_no_form() -> None:
    assert Client(enforce_csrf_checks=True).post("/livez", {"a": "b"}).status_code == 405


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "seen"),
    [
        (0, INSIDE, None, True),
        (0, OUTSIDE, None, False),
        (0, "::ffff:10.42.0.9", None, True),
        (0, INSIDE, OUTSIDE, False),  # a proxy that is not counted hides the client behind its own address
        (0, OUTSIDE, INSIDE, False),
        (1, INSIDE, OUTSIDE, False),
        (1, INSIDE, f"{INSIDE}, {OUTSIDE}", False),
        (1, INSIDE, INSIDE, True),
        (1, INSIDE, None, True),
        (1, "unknown", None, False),
    ],
)
def test_it_shows_internal_paths_to_internal_networks_alone(
    settings: Any, proxies: int, peer: str, forwarded: str | None, seen: bool
) -> None:
    settings.INTERNAL_NETWORKS = [ip_network("10.0.0.0/8"), ip_network("127.0.0.1")]
    settings.TRUSTED_PROXY_COUNT = proxies
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}

    for path in ("/metrics", "/admin/login/"):
        assert Client().get(path, headers=headers, REMOTE_ADDR=peer).status_code == (200 if seen else 404)
    assert Client().get("/livez", headers=headers, REMOTE_ADDR=peer).status_code == 200


def test_it_shows_them_to_everybody_unless_told_otherwise() -> None:
    assert configured.INTERNAL_NETWORKS == []
    assert Client().get("/metrics", REMOTE_ADDR=OUTSIDE).status_code == 200


@pytest.mark.parametrize("value", ["10.0.0.0/33", "everywhere", "10.0.0.1/8"])
def test_a_network_that_is_none_stops_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("INTERNAL_NETWORKS", value)
    monkeypatch.setattr(environment, "problems", [])

    environment.read("INTERNAL_NETWORKS", environment.networks, "")

    assert [error.id for error in run_checks() if "INTERNAL_NETWORKS" in error.msg] == ["ghlapp.E001"]
