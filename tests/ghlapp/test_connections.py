"""A connection from the pool is alive: PostgreSQL may restart between two requests, and no tenant is to see it."""

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection

from ghlapp.postgresql import base
from tests.appointments.conftest import until
from tests.fixtures import Persona

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pool() -> Iterator[Any]:
    """A pool of one connection, so that it is the same one each time."""
    settings = connection.settings_dict["OPTIONS"]
    kept = dict(settings["pool"])
    connection.close()
    connection.close_pool()
    settings["pool"].update(min_size=1, max_size=1)
    yield connection
    settings["pool"].update(kept)
    connection.close()
    connection.close_pool()


def _process_id() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [(process_id,)] = cursor.fetchall()
    connection.close()
    return int(process_id)


def _end(process_id: int) -> None:
    """As a restart of PostgreSQL's does, by a connection of its own."""
    params = {**connection.get_connection_params()}
    with psycopg.connect(**params) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [process_id])


def test_it_hands_out_no_connection_that_postgresql_has_closed(pool: Any) -> None:
    first = _process_id()
    _end(first)

    assert _process_id() != first


def test_it_hands_the_same_one_out_while_it_lives(pool: Any) -> None:
    assert _process_id() == _process_id()


def test_it_asks_a_connection_once_in_a_while(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> float:
        _process_id()
        connection.ensure_connection()
        answered_at: float = connection.connection.answered_at
        connection.close()
        return answered_at

    first = asked()
    assert first > 0
    assert asked() == first

    monkeypatch.setattr(base, "ASK_EVERY_SECONDS", 0.0)
    until(lambda: time.monotonic() > first)
    assert asked() > first


def _prepared() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        [(count,)] = cursor.fetchall()
    return int(count)


def test_it_plans_the_statements_of_requests_once(acme: Persona, pool: Any) -> None:
    for _ in range(3):
        assert acme.book().status_code == 202

    assert _prepared() == 2  # the key; the location and the booking


def test_it_prepares_none_where_a_connection_pooler_knows_of_none(acme: Persona, pool: Any) -> None:
    connection.ensure_connection()
    connection.connection.prepare_threshold = None

    path = acme.book().headers["Location"]

    assert acme.api.get(path).status_code == 200
    assert _prepared() == 0
