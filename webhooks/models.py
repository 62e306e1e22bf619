"""Letters from HighLevel, each kept once, and the work that is left with them.
How they come in and what is done with them is in inbox.py."""

import json
import random
import traceback
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from ghl import letters
from ghl.reading import clean
from oauth import rows
from oauth.models import ID_LENGTH

WEBHOOK_ID_LENGTH = 128
TYPE_LENGTH = 64

MOST_ATTEMPTS = 8
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=5)
# What may pass by itself is tried so long, however often it fails.
PATIENCE = timedelta(days=3)
MOST_TRACE = 8000


class LetterQuerySet(models.QuerySet["Letter"]):
    def store(self, webhook_id: str, letter: letters.Letter, body: object, status: "Letter.Status") -> bool:
        """Keep a letter; False where it is here already, in one statement that no race can come between."""
        values = {
            "webhook_id": webhook_id,
            "type": letter.type[:TYPE_LENGTH],
            "location_id": (letter.location_id or "")[:ID_LENGTH],
            "company_id": (letter.company_id or "")[:ID_LENGTH],
            "appointment_id": (letter.appointment.id if letter.appointment else "")[:ID_LENGTH],
            "contact_id": ((letter.appointment and letter.appointment.contact_id) or "")[:ID_LENGTH],
            "sent_at": letter.sent_at,
            "body": json.dumps(body),
            "status": status,
            "is_due": status == Letter.Status.RECEIVED,
        }
        with rows.prepared() as cursor:
            cursor.execute(STORE, values)
            return cursor.fetchone() is not None

    def of_contact(self, type_: str, location_id: str, contact_id: str) -> "LetterQuerySet":
        """Events of one type about a contact's appointments, oldest first."""
        told = self.filter(type=type_, location_id=location_id)
        return told.filter(contact_id=contact_id).exclude(contact_id="").order_by("id")

    def due(self) -> "LetterQuerySet":
        return self.filter(next_attempt_at__lte=Now())

    def claim(self, lease: timedelta) -> "Letter | None":
        """The letter due longest, for this caller alone until the lease ends; None where there is nothing to do."""
        return next(iter(self.raw(CLAIM, {"lease": lease})), None)

    def replay(self) -> int:
        """Have them processed once more, as if they had just come in."""
        return self.update(status=Letter.Status.RECEIVED, attempts=0, next_attempt_at=Now(), done_at=None)

    def erase(self) -> int:
        """Empty what may be about a person. What was not processed yet says nothing then, and leads to nothing."""
        return self.update(body={}, contact_id="", error="")

    def old(self) -> "LetterQuerySet":
        """Those that nobody needs any more."""
        kept_for = {
            Letter.Status.DONE: settings.EVENT_RETENTION_DAYS,
            Letter.Status.IGNORED: settings.EVENT_RETENTION_DAYS,
            Letter.Status.PARKED: settings.DEAD_EVENT_RETENTION_DAYS,
        }
        old = Q(pk__in=[])
        for status, days in kept_for.items():
            if days:
                old |= Q(status=status, received_at__lt=Now() - timedelta(days=days))
        return self.filter(old)


STORE = """
INSERT INTO webhooks_letter (webhook_id, type, location_id, company_id, appointment_id, contact_id, sent_at, body,
                             status, next_attempt_at)
VALUES (%(webhook_id)s, %(type)s, %(location_id)s, %(company_id)s, %(appointment_id)s, %(contact_id)s, %(sent_at)s,
        %(body)s, %(status)s, CASE WHEN %(is_due)s THEN statement_timestamp() END)
ON CONFLICT (webhook_id) DO NOTHING
RETURNING id
"""

CLAIM = """
UPDATE webhooks_letter
SET next_attempt_at = statement_timestamp() + %(lease)s
WHERE id = (
    SELECT id
    FROM webhooks_letter
    WHERE next_attempt_at <= statement_timestamp()
    ORDER BY next_attempt_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING *
"""


class Letter(models.Model):
    """A webhook of HighLevel's. Its body may hold personal data: logs name its type and ids only.

    A worker's lease is the letter's own `next_attempt_at`, moved ahead: who does not come back has failed, and the
    letter is due again. An outcome counts only from whoever moved it last.
    """

    class Status(models.TextChoices):
        RECEIVED = "received"
        DONE = "done"
        IGNORED = "ignored"
        PARKED = "parked"

    # HighLevel's `webhookId`, or a digest of the body where it has none.
    webhook_id = models.CharField(max_length=WEBHOOK_ID_LENGTH, unique=True)
    type = models.CharField(max_length=TYPE_LENGTH, blank=True)
    # No foreign keys: letters come before the install they tell of, and stay after it is gone.
    location_id = models.CharField(max_length=ID_LENGTH, blank=True)
    company_id = models.CharField(max_length=ID_LENGTH, blank=True)
    # Of a letter about an appointment, for those who look for theirs.
    appointment_id = models.CharField(max_length=ID_LENGTH, blank=True, db_default="")
    contact_id = models.CharField(max_length=ID_LENGTH, blank=True, db_default="")
    # By HighLevel's clock (the letter's `timestamp`).
    sent_at = models.DateTimeField(null=True, blank=True)
    received_at = models.DateTimeField(db_default=Now())
    body = models.JSONField()

    status = models.CharField(max_length=16, choices=Status, db_default=Status.RECEIVED)
    next_attempt_at = models.DateTimeField(null=True, blank=True, db_default=Now())
    # Those that failed since it came in, or was replayed.
    attempts = models.PositiveSmallIntegerField(db_default=0)
    # The trace of the last one, for the operator.
    error = models.TextField(blank=True, db_default="")
    done_at = models.DateTimeField(null=True, blank=True)

    objects = LetterQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(
                fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="letter_due"
            ),
            models.Index(
                fields=["appointment_id"], condition=~Q(appointment_id=""), name="letter_appointment"
            ),
            models.Index(fields=["contact_id"], condition=~Q(contact_id=""), name="letter_contact"),
        ]

    def __str__(self) -> str:
        return (
            f"{self.type or 'letter'} {self.webhook_id} of {self.location_id or self.company_id or 'nobody'}"
        )

    def finish(self, status: Status) -> None:
        self._end(status=status, next_attempt_at=None, error="", done_at=Now())

    def fail(self, error: Exception, *, may_pass: bool = False) -> "Letter.Status":
        """Try again later, or leave it to the operator; which of the two is returned. What may pass by itself, as
        an outage of HighLevel's does, is given days."""
        attempts = self.attempts + 1
        facts = {
            "attempts": attempts,
            "error": clean("".join(traceback.format_exception(error)))[-MOST_TRACE:],
        }
        patient = may_pass and self.received_at > timezone.now() - PATIENCE
        if attempts >= MOST_ATTEMPTS and not patient:
            self._end(status=self.Status.PARKED, next_attempt_at=None, **facts)
            return self.Status.PARKED
        self._end(next_attempt_at=Now() + _backoff(attempts), **facts)
        return self.Status.RECEIVED

    def _end(self, **changes: object) -> None:
        Letter.objects.filter(pk=self.pk, next_attempt_at=self.next_attempt_at).update(**changes)


def _backoff(attempts: int) -> timedelta:
    """Exponential, with a fifth of jitter: letters that failed together are not tried together again."""
    jitter = random.uniform(0.8, 1.2)  # noqa: S311
    return jitter * min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (attempts - 1))
