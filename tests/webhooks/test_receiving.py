"""What becomes of a genuine letter: kept once under its id, answered, and a worker woken."""

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.utils import timezone
from prometheus_client import REGISTRY

from ghlapp.celery import app
from sandbox import World
from sandbox import sign as sign_as_the_sandbox
from tests.appointments.conftest import at_once, beside, until
from tests.appointments.test_lost_database import _new_connections, cut_all
from tests.fixtures import ACME_LOCATION
from tests.ghlapp.test_problems import is_problem
from tests.servers import SETTINGS
from tests.webhooks.conftest import deliver, send, written
from webhooks import inbox, tasks
from webhooks.models import Letter

__all__ = ["_new_connections"]

pytestmark = pytest.mark.django_db
Status = Letter.Status


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("letters_received_total", {"outcome": outcome}) or 0


def test_it_keeps_what_the_letter_says() -> None:
    letter = send(type="INSTALL", webhookId="w1", timestamp=datetime.now(UTC).isoformat(), companyName="Chai")

    assert (letter.webhook_id, letter.type) == ("w1", "INSTALL")
    assert (letter.location_id, letter.company_id) == (ACME_LOCATION, "GNb7aIv4rQFVb9iwNl5K")
    assert letter.body["companyName"] == "Chai"
    assert letter.sent_at is not None
    assert letter.sent_at.isoformat() == letter.body["timestamp"]
    assert abs(timezone.now() - letter.received_at) < timedelta(seconds=10)
    assert (letter.status, letter.attempts, letter.error) == (Status.RECEIVED, 0, "")


def test_it_takes_the_letters_of_the_sandbox(settings: Any) -> None:
    settings.GHL_WEBHOOK_PUBLIC_KEYS = SETTINGS["GHL_WEBHOOK_PUBLIC_KEYS"]
    raw = written()
    headers = {name: value for name, value in sign_as_the_sandbox(raw).items() if name.startswith("X-")}

    assert deliver(raw, headers).json() == {"status": "stored"}


def test_it_knows_a_letter_without_an_id_by_its_body() -> None:
    raw = written(webhookId=None)

    assert [deliver(raw).json()["status"] for _ in range(2)] == ["stored", "duplicate"]
    assert deliver(written(webhookId=None, locationId="another")).json() == {"status": "stored"}
    assert all(letter.webhook_id.startswith("sha256:") for letter in Letter.objects.all())


@pytest.mark.parametrize("webhook_id", ["", 7, {}, "x" * 129])
def test_it_knows_a_letter_with_an_odd_id_by_its_body(webhook_id: object) -> None:
    raw = written(webhookId=webhook_id)

    assert [deliver(raw).json()["status"] for _ in range(2)] == ["stored", "duplicate"]


@pytest.mark.parametrize("kind", ["PLAN_CHANGE", "LocationCreate", "", "x" * 1000, "ü\0", None])
def test_it_keeps_and_ignores_types_it_does_not_know(kind: str | None) -> None:
    letter = send(type=kind)

    assert (letter.status, letter.next_attempt_at) == (Status.IGNORED, None)
    assert letter.body == {}


def test_it_keeps_what_postgresql_cannot_hold_without_it() -> None:
    letter = send(locationId="a\0b" + "x" * 100, companyName="\ud800\0", trial={"\0": 10**300})

    assert letter.location_id == ("ab" + "x" * 100)[:64]
    assert letter.body["companyName"] == "?"
    assert letter.body["trial"] == {"": 10**300}


@pytest.mark.parametrize(
    ("age", "status"),
    [
        (timedelta(days=30, minutes=1), "dropped"),
        (timedelta(days=29, hours=23), "stored"),
        (timedelta(0), "stored"),
        (-timedelta(minutes=4), "stored"),
        (-timedelta(minutes=6), "dropped"),
    ],
)
def test_its_window_is_as_wide_as_highlevel_sends_again(
    age: timedelta, status: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = deliver(written(timestamp=(timezone.now() - age).isoformat(), webhookId="w1"))

    assert (answer.status_code, answer.json()) == (200, {"status": status})
    assert Letter.objects.exists() == (status == "stored")
    assert ("w1" in caplog.text) == (status == "dropped")


@pytest.mark.parametrize("timestamp", [None, "yesterday", 1750834626225])
def test_it_judges_a_letter_without_a_timestamp_by_its_receipt(timestamp: object) -> None:
    assert send(timestamp=timestamp).sent_at is None


def test_its_memory_is_longer_than_its_window() -> None:
    """A letter that is forgotten is too old to come back, also where its clock went ahead."""
    assert timedelta(days=django_settings.EVENT_RETENTION_DAYS) > inbox.OLDEST + inbox.FURTHEST_AHEAD


def test_it_wakes_a_worker_once_for_many_letters() -> None:
    for _ in range(3):
        send()

    with redis.Redis.from_url(django_settings.REDIS_URL) as broker:
        assert broker.llen("wake-ups") == 1


def test_it_names_a_task_that_exists() -> None:
    send()
    app.loader.import_default_modules()

    with redis.Redis.from_url(django_settings.REDIS_URL) as broker:
        message = json.loads(broker.lindex("wake-ups", 0))
    assert message["headers"]["task"] == tasks.process_letters.name in app.tasks


def test_it_wakes_nobody_for_what_it_ignores() -> None:
    send(type="PLAN_CHANGE")

    with redis.Redis.from_url(django_settings.REDIS_URL) as broker:
        assert broker.llen("wake-ups") == 0


def test_it_counts_what_became_of_deliveries() -> None:
    outcomes = ("stored", "duplicate", "other_app", "out_of_time", "bad_signature", "not_json", "too_large")
    before = {outcome: counted(outcome) for outcome in outcomes}

    raw = written()
    deliver(raw)
    deliver(raw)
    deliver(written(appId="another"))
    deliver(written(timestamp="2020-01-01T00:00:00Z"))
    deliver(raw, {})
    deliver(b"[]")
    deliver(b"x" * 300_000)

    assert {outcome: counted(outcome) - before[outcome] for outcome in outcomes} == dict.fromkeys(outcomes, 1)


def test_it_logs_nothing_of_a_body(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        send(companyName="Ada's Salon")
        deliver(written(companyName="Ada's Salon", timestamp="2020-01-01T00:00:00Z"))
        deliver(written(companyName="Ada's Salon"), {})

    assert "Ada" not in "".join(
        f"{record.getMessage()} {record.args}"
        for record in caplog.records
        if not record.name.startswith("django.db")
    )


@pytest.mark.django_db(transaction=True)
def test_it_keeps_one_of_twenty_that_come_at_once() -> None:
    raw = written()

    answers = at_once(*[lambda: deliver(raw)] * 20)

    assert [answer.status_code for answer in answers] == [200] * 20
    assert sorted(answer.json()["status"] for answer in answers) == ["duplicate"] * 19 + ["stored"]
    assert Letter.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_it_asks_to_come_back_without_its_database(highlevel: World) -> None:
    raw, answers = written(), []
    with beside(lambda: answers.append(deliver(raw))), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE webhooks_letter IN EXCLUSIVE MODE")
        until(_somebody_waits)
        cut_all()

    is_problem(answers[0], 503, "unavailable")
    assert int(answers[0].headers["Retry-After"]) > 0
    assert deliver(raw).json() == {"status": "stored"}
    assert Letter.objects.count() == 1


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])
