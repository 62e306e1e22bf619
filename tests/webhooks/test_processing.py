"""What is done with kept letters: at least once each, and what fails is tried again and at last parked."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.module_loading import import_string
from prometheus_client import REGISTRY

from ghl.errors import TimedOut
from oauth.keeping import TokenBusy
from tests.appointments.conftest import at_once
from tests.appointments.test_lost_database import _new_connections
from tests.webhooks.conftest import Recipient, hurry, nothing, send
from webhooks import handlers, inbox, tasks
from webhooks.models import LONGEST_WAIT, MOST_ATTEMPTS, Letter

__all__ = ["_new_connections"]

pytestmark = pytest.mark.django_db
Status = Letter.Status


def fail(*_: Any) -> None:
    raise RuntimeError("of Ada's Salon")


def counted(kind: str, outcome: str) -> float:
    return REGISTRY.get_sample_value("letters_processed_total", {"type": kind, "outcome": outcome}) or 0


def test_it_calls_what_the_table_names_with_the_letter(recipient: Recipient) -> None:
    letter = send(webhookId="w1")

    inbox.process_due()

    letter.refresh_from_db()
    assert [(got.type, got.webhook_id, got.sent_at) for got in recipient.got] == [
        ("INSTALL", "w1", letter.sent_at)
    ]
    assert (letter.status, letter.next_attempt_at, letter.attempts) == (Status.DONE, None, 0)
    assert letter.done_at is not None


def test_it_calls_every_function_in_order(recipient: Recipient, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = handlers.HANDLERS["INSTALL"] * 2
    monkeypatch.setitem(handlers.HANDLERS, "INSTALL", twice)
    send()

    inbox.process_due()

    assert len(recipient.got) == 2


@pytest.mark.parametrize("kind", ["AppointmentCreate", "AppointmentUpdate", "AppointmentDelete"])
def test_it_is_done_with_types_that_lead_to_nothing_yet(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(handlers.HANDLERS, kind, ())

    assert hurry(send(type=kind)).status == Status.DONE


@pytest.mark.parametrize("name", sorted({name for names in handlers.HANDLERS.values() for name in names}))
def test_its_table_names_functions_that_exist(name: str) -> None:
    assert callable(import_string(name))


def test_it_goes_in_order_of_receipt(recipient: Recipient) -> None:
    ids = [send().webhook_id for _ in range(5)]

    inbox.process_due()

    assert [got.webhook_id for got in recipient.got] == ids


def test_it_does_nothing_twice(recipient: Recipient) -> None:
    send()

    for _ in range(3):
        tasks.process_letters()

    assert len(recipient.got) == 1


# --- Failures ---------------------------------------------------------------------------------------------


def test_it_tries_again_later_what_failed(recipient: Recipient) -> None:
    letter = send()
    recipient.then = fail

    inbox.process_due()
    inbox.process_due()

    letter.refresh_from_db()
    assert (letter.status, letter.attempts, len(recipient.got)) == (Status.RECEIVED, 1, 1)
    assert letter.next_attempt_at is not None
    assert timedelta(seconds=3) < letter.next_attempt_at - timezone.now() < timedelta(seconds=7)
    assert "RuntimeError: of Ada's Salon" in letter.error

    recipient.then = nothing
    assert hurry(letter).status == Status.DONE
    assert letter.error == ""


def test_it_waits_longer_each_time_and_never_over_six_minutes(recipient: Recipient) -> None:
    recipient.then = fail
    letter = send()
    waits = []
    for _ in range(MOST_ATTEMPTS - 1):
        hurry(letter)
        assert letter.next_attempt_at is not None
        waits.append(letter.next_attempt_at - timezone.now())

    assert waits == sorted(waits)
    assert LONGEST_WAIT / 2 < waits[-1] < LONGEST_WAIT * 1.2


@pytest.mark.parametrize("outage", [TimedOut("no answer"), TokenBusy("wait")])
def test_it_is_patient_with_what_passes_by_itself(recipient: Recipient, outage: Exception) -> None:
    def wait(*_: Any) -> None:
        raise outage

    recipient.then = wait
    letter = send()
    for _ in range(MOST_ATTEMPTS + 2):
        hurry(letter)
    assert letter.status == Status.RECEIVED

    Letter.objects.update(received_at=timezone.now() - timedelta(days=4))
    letter.refresh_from_db()
    assert hurry(letter).status == Status.PARKED


def test_it_parks_what_fails_again_and_again(recipient: Recipient, caplog: pytest.LogCaptureFixture) -> None:
    recipient.then = fail
    letter = send(webhookId="w1")

    for _ in range(MOST_ATTEMPTS):
        assert letter.status == Status.RECEIVED
        hurry(letter)

    assert (letter.status, letter.next_attempt_at, letter.attempts) == (Status.PARKED, None, MOST_ATTEMPTS)
    [told] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "w1" in told.getMessage()
    inbox.process_due()
    assert len(recipient.got) == MOST_ATTEMPTS


def test_it_lets_no_poisoned_letter_stop_the_others(recipient: Recipient) -> None:
    def poisoned(letter: Any) -> None:
        if letter.webhook_id == "poisoned":
            fail()

    recipient.then = poisoned
    letters = [send(webhookId=name) for name in ("before", "poisoned", "after")]

    inbox.process_due()

    for letter in letters:
        letter.refresh_from_db()
    assert [letter.status for letter in letters] == [Status.DONE, Status.RECEIVED, Status.DONE]


def test_it_processes_a_replayed_letter_as_if_it_had_just_come(recipient: Recipient) -> None:
    recipient.then = fail
    letter = send()
    for _ in range(MOST_ATTEMPTS):
        hurry(letter)
    recipient.then = nothing

    assert inbox.replay(Letter.objects.all()) == 1

    letter.refresh_from_db()
    assert (letter.status, letter.attempts) == (Status.RECEIVED, 0)
    inbox.process_due()
    letter.refresh_from_db()
    assert letter.status == Status.DONE


def test_it_logs_nothing_of_a_body_that_a_failure_names(
    recipient: Recipient, caplog: pytest.LogCaptureFixture
) -> None:
    recipient.then = fail

    hurry(send())

    assert "RuntimeError" in caplog.text
    assert "Ada" not in caplog.text


def test_it_counts_how_attempts_ended(recipient: Recipient) -> None:
    before = [counted("INSTALL", outcome) for outcome in ("done", "failed", "parked")]
    hurry(send())
    recipient.then = fail
    letter = send()
    for _ in range(MOST_ATTEMPTS):
        hurry(letter)

    after = [counted("INSTALL", outcome) for outcome in ("done", "failed", "parked")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, MOST_ATTEMPTS - 1, 1]


def test_it_makes_no_label_of_a_strangers_type() -> None:
    """One is processed only where an operator replays it."""
    before = counted("other", "done")
    letter = send(type="made-up")
    inbox.replay(Letter.objects.all())

    assert hurry(letter).status == Status.DONE
    assert counted("other", "done") == before + 1
    assert counted("made-up", "done") == 0


# --- Workers ----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_it_gives_each_letter_to_one_of_many_workers(recipient: Recipient) -> None:
    ids = [send().webhook_id for _ in range(20)]

    at_once(*[inbox.process_due] * 5)

    assert sorted(got.webhook_id or "" for got in recipient.got) == sorted(ids)
    assert set(Letter.objects.values_list("status", flat=True)) == {Status.DONE}


def _cut_myself() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def _wait_too_long() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 1")
        cursor.execute("SELECT pg_sleep(10)")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("trouble", [_cut_myself, _wait_too_long])
def test_it_blames_no_letter_for_its_databases_trouble(
    recipient: Recipient, trouble: Callable[[], None]
) -> None:
    letter = send()
    recipient.then = lambda letter: trouble()

    with pytest.raises((OperationalError, InterfaceError)):
        inbox.process_due()

    connection.close()
    recipient.then = nothing
    letter.refresh_from_db()
    assert (letter.status, letter.attempts) == (Status.RECEIVED, 0)
    assert hurry(letter).status == Status.DONE


WORKER = """
import django, time
django.setup()
from webhooks import handlers, inbox
def hang(letter):
    print("at it", flush=True)
    time.sleep(60)
handlers.handle = hang
inbox.process_due()
"""


@contextmanager
def killed_worker() -> Iterator[None]:
    """A worker in a process of its own that is killed while it is at a letter."""
    url = os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{connection.settings_dict['NAME']}"
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "ghlapp.settings", "DATABASE_URL": url},
        stdout=subprocess.PIPE,
    )
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"at it\n"
        yield
    finally:
        worker.kill()
        worker.communicate()


@pytest.mark.django_db(transaction=True)
def test_it_takes_over_from_a_worker_that_was_killed(recipient: Recipient) -> None:
    letter = send()
    with killed_worker():
        inbox.process_due()
        assert recipient.got == []

    inbox.process_due()
    assert recipient.got == [], "the lease has not ended yet"
    assert hurry(letter).status == Status.DONE


def test_it_leaves_the_outcome_to_whoever_has_taken_over(recipient: Recipient) -> None:
    """A worker that is slower than its lease has nothing to say any more."""
    letter = send()

    def slow(_: Any) -> None:
        Letter.objects.filter(pk=letter.pk).update(next_attempt_at=Now() + timedelta(seconds=60))
        fail()

    recipient.then = slow
    inbox.process_due()

    letter.refresh_from_db()
    assert (letter.attempts, letter.error) == (0, "")


def test_it_wakes_another_worker_where_more_is_due(recipient: Recipient) -> None:
    """And clears the flag first, so that a letter that comes in meanwhile wakes one too."""
    for _ in range(2):
        send()
    with redis.Redis.from_url(django_settings.REDIS_URL) as broker:
        broker.delete("wake-ups")
        inbox.process_due()
        assert broker.llen("wake-ups") == 1


def test_it_works_on_after_many_in_a_row(recipient: Recipient) -> None:
    for _ in range(inbox.IN_A_ROW + 1):
        send()

    inbox.process_due()
    assert len(recipient.got) == inbox.IN_A_ROW

    with redis.Redis.from_url(django_settings.REDIS_URL) as broker:
        assert broker.llen("wake-ups") >= 1
    inbox.process_due()
    assert len(recipient.got) == inbox.IN_A_ROW + 1
