"""No request holds a thread of the web process for as long as PostgreSQL makes it wait."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection, transaction

from appointments.models import Booking
from tests.fixtures import Persona

ROOT = Path(__file__).resolve().parent.parent.parent
SHOW = """
import {module}
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SHOW statement_timeout")
    print(cursor.fetchone()[0])
"""


def timeout_of(module: str, **environment: str) -> str:
    shown = subprocess.run(
        [sys.executable, "-c", SHOW.format(module=module)],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "ghlapp.settings", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return shown.stdout.splitlines()[-1]


def test_it_bounds_the_statements_of_web_processes_alone() -> None:
    assert timeout_of("ghlapp.rsgi") == "10s"
    assert timeout_of("ghlapp.rsgi", WEB_STATEMENT_TIMEOUT_SECONDS="2.5") == "2500ms"
    assert timeout_of("ghlapp.celery") == "0"


@pytest.mark.django_db(transaction=True)
def test_it_answers_503_to_what_takes_too_long(acme: Persona) -> None:
    path = acme.book().headers["Location"] + "/cancel"

    def cancel() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '200ms'")
        try:
            answer = acme.api.post(path)
            assert answer.status_code != 503 or answer.json()["code"] == "unavailable"
            return int(answer.status_code)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET statement_timeout")
            connection.close()

    with ThreadPoolExecutor(1) as other:
        with transaction.atomic():
            Booking.objects.select_for_update().get()
            assert other.submit(cancel).result(30) == 503
        assert other.submit(cancel).result(30) == 202
