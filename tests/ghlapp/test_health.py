"""What operators and load balancers ask: alive, ready, and how much."""

import os
import re
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from oauth.models import Location
from tests.fixtures import Persona, work_once


@pytest.fixture
def client(db: None) -> Client:
    return Client()


def test_it_is_alive_without_asking_anybody(
    client: Client, django_assert_num_queries: Any, settings: Any
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9"

    with django_assert_num_queries(0):
        answer = client.get("/livez")

    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_it_is_ready_with_its_servers(client: Client) -> None:
    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "postgresql": True, "redis": True}


def test_it_is_degraded_without_redis_and_says_so_at_once(client: Client, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9"
    started = time.monotonic()

    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {"status": "degraded", "postgresql": True, "redis": False}
    assert time.monotonic() - started < 0.8


def test_it_is_not_ready_without_postgresql(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("connection refused")

    with monkeypatch.context() as patched:
        patched.setattr(connection, "cursor", away)
        answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "postgresql": False, "redis": True}


def sample(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_it_counts_what_it_accepts_and_books(acme: Persona) -> None:
    client = Client()
    before = client.get("/metrics").content.decode()
    acme.book()
    work_once()

    answer = client.get("/metrics")

    after = answer.content.decode()
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    for name in (
        "bookings_accepted_total",
        'bookings_moved_total{status="booked"}',
        'wake_ups_total{outcome="sent",task="appointments.tasks.converge"}',
    ):
        assert sample(after, name) == sample(before, name) + 1, name


def test_it_shows_which_locations_wait(acme: Persona, globex: Persona) -> None:
    acme.location.brake(Location.Waiting.DAILY_QUOTA, timedelta(hours=1))

    text = Client().get("/metrics").content.decode()

    assert sample(text, 'locations{status="active"}') == 2
    assert sample(text, 'locations_waiting{reason="daily_quota"}') == 1


TELLING = "from prometheus_client import Counter; Counter('told', 'How often').inc(); print('done')"
ASKING = """
import django
django.setup()
from django.test import Client
print(Client().get("/metrics").content.decode())
"""


def test_it_adds_up_the_numbers_of_all_processes(tmp_path: Path) -> None:

    environment = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "ghlapp.settings",
    }

    def run(code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    run(TELLING)
    run(TELLING)

    assert "told_total 2.0" in run(ASKING)
