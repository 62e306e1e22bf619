"""How much of PostgreSQL a letter costs, counted without BEGIN and COMMIT."""

import pytest

from tests.appointments.test_queries import queries
from tests.webhooks.conftest import Recipient, deliver, send, written
from webhooks import inbox

pytestmark = pytest.mark.django_db


def test_it_keeps_a_letter_with_one() -> None:
    raw = written()

    with queries(1):
        assert deliver(raw).json() == {"status": "stored"}


def test_it_knows_a_duplicate_with_one() -> None:
    raw = written()
    deliver(raw)

    with queries(1):
        assert deliver(raw).json() == {"status": "duplicate"}


@pytest.mark.parametrize("changes", [{"appId": "another"}, {"timestamp": "2020-01-01T00:00:00Z"}])
def test_it_drops_with_none(changes: dict[str, str]) -> None:
    with queries(0):
        assert deliver(written(**changes)).json() == {"status": "dropped"}


def test_it_refuses_with_none() -> None:
    with queries(0):
        assert deliver(written(), {}).status_code == 401


def test_it_processes_with_three_and_finds_nothing_with_one(recipient: Recipient) -> None:
    send()

    with queries(4):  # claim, more?, done; then the claim that finds nothing
        inbox.process_due()
