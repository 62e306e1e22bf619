"""HighLevel's letters as they reach us in tests: through the front door, in whatever order a test likes."""

from collections.abc import Iterable

from django.db.models.functions import Now
from django.test import Client

from sandbox import World
from sandbox.letters import Letter
from webhooks import inbox, models

KINDS = ("AppointmentCreate", "AppointmentUpdate", "AppointmentDelete")


def letters(highlevel: World, *kinds: str) -> list[Letter]:
    """Those about appointments, oldest first."""
    return highlevel.letters.of_type(*(kinds or KINDS))


def deliver(some: Iterable[Letter]) -> None:
    """Post them as HighLevel does, and have a worker process what has come in."""
    for letter in some:
        raw, headers = letter.signed
        answer = Client().generic(
            "POST", "/webhooks/highlevel", raw, headers.pop("Content-Type"), headers=headers
        )
        assert answer.status_code == 200, answer.content
        assert answer.json()["status"] in {"stored", "duplicate"}
    process()


def process() -> None:
    """What a woken worker does with the letters that are due, and with those that wait to be tried again."""
    models.Letter.objects.filter(next_attempt_at__gt=Now()).update(next_attempt_at=Now())
    inbox.process_due()


def process_again(letter: Letter) -> None:
    """As an operator does who replays it."""
    inbox.replay(models.Letter.objects.filter(webhook_id=letter.webhook_id))
    inbox.process_due()
