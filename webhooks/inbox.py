"""Letters from HighLevel: judged and kept as they come in, processed afterwards, at least once and in any order.
What a letter leads to is in handlers.py; nothing is answered here, and nothing but its ids is logged."""

import hashlib
import logging
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from ghl import letters, signatures
from ghl.errors import HighLevelError
from oauth.keeping import TokenUnavailable
from oauth.wakeups import WakeUp
from webhooks import handlers, metrics
from webhooks.models import WEBHOOK_ID_LENGTH, Letter, LetterQuerySet

log = logging.getLogger(__name__)

# HighLevel sends nothing larger: it leaves the payload out then.
LARGEST_BODY = 256 * 1024
# HighLevel delivers the same bytes, timestamp included, for up to three days, and people send from its logs of
# 30 days by hand: the five minutes of its guide would throw those away. An old letter does no harm: it is a
# duplicate (they are kept for longer), or handlers see from its own timestamp that they know better.
OLDEST = timedelta(days=30)
FURTHEST_AHEAD = timedelta(minutes=5)

PROCESS = WakeUp("webhooks.tasks.process_letters")
LEASE = timedelta(seconds=60)
# One woken worker does so many in a row, then lets others have their turn.
IN_A_ROW = 20


class Outcome(StrEnum):
    """What became of a delivery."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    OTHER_APP = "other_app"
    OUT_OF_TIME = "out_of_time"
    BAD_SIGNATURE = "bad_signature"
    NOT_JSON = "not_json"
    TOO_LARGE = "too_large"


def receive(raw: bytes, headers: Mapping[str, str]) -> Outcome:
    """Judge one delivery and keep it if it is a letter to us; then a worker is woken for it.

    Nothing of the body is believed, or even parsed, before its signature is.
    """
    if len(raw) > LARGEST_BODY:
        return Outcome.TOO_LARGE
    if not signatures.verify(raw, headers, signatures.parse_keys(settings.GHL_WEBHOOK_PUBLIC_KEYS)):
        return Outcome.BAD_SIGNATURE
    body = letters.parse_body(raw) if _is_json(headers.get("Content-Type", "")) else None
    if body is None:
        return Outcome.NOT_JSON
    letter = letters.parse_letter(body)
    webhook_id = _webhook_id(letter, raw)
    # One key signs for every app of the marketplace: its signature does not say that a letter is to us.
    if letter.app_id != settings.GHL_CLIENT_ID.partition("-")[0]:
        return Outcome.OTHER_APP
    if not _is_in_time(letter):
        log.warning("Dropped %s %s: it was sent at %s", letter.type, webhook_id, letter.sent_at)
        return Outcome.OUT_OF_TIME
    return _store(webhook_id, letter, body)


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _is_in_time(letter: letters.Letter) -> bool:
    """A letter without a timestamp is judged by its receipt, which is now."""
    now = timezone.now()
    return letter.sent_at is None or now - OLDEST <= letter.sent_at <= now + FURTHEST_AHEAD


def _webhook_id(letter: letters.Letter, raw: bytes) -> str:
    """What tells this letter from others; all deliveries of one letter have the same bytes."""
    if letter.webhook_id and len(letter.webhook_id) <= WEBHOOK_ID_LENGTH:
        return letter.webhook_id
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def _store(webhook_id: str, letter: letters.Letter, body: object) -> Outcome:
    status = Letter.Status.RECEIVED if letter.type in handlers.HANDLERS else Letter.Status.IGNORED
    # What nothing is done with is kept to be told from a new one, and without its body: that may be about a person.
    kept = body if status == Letter.Status.RECEIVED else {}
    if not Letter.objects.store(webhook_id, letter, kept, status):
        return Outcome.DUPLICATE
    if status == Letter.Status.RECEIVED:
        PROCESS.send()
    return Outcome.STORED


def process_due() -> None:
    """Process what is due, in order of receipt; where more is due, wake somebody else for it."""
    PROCESS.clear()
    for _ in range(IN_A_ROW):
        letter = Letter.objects.claim(LEASE)
        if letter is None:
            return
        if Letter.objects.due().exists():
            PROCESS.send()
        process(letter)
    PROCESS.send()


def process(letter: Letter) -> None:
    """Call what the table has for a claimed letter, and write what came of it."""
    try:
        handlers.handle(letters.parse_letter(letter.body))
    except (OperationalError, InterfaceError):
        # Not the letter's fault, and nothing could be written: it is due again when the lease ends.
        raise
    except Exception as error:  # noqa: BLE001  (one poisoned letter must stop no other)
        _failed(letter, error)
    else:
        letter.finish(Letter.Status.DONE)
        _count(letter, "done")


def _failed(letter: Letter, error: Exception) -> None:
    may_pass = isinstance(error, TokenUnavailable) or (isinstance(error, HighLevelError) and error.transient)
    if letter.fail(error, may_pass=may_pass) == Letter.Status.PARKED:
        _count(letter, "parked")
        log.error("%s is parked after its last attempt (%s): replay it", letter, type(error).__name__)
    else:
        _count(letter, "failed")
        log.warning("%s failed (%s) and will be tried again", letter, type(error).__name__)


def _count(letter: Letter, outcome: str) -> None:
    # Whoever sends us letters must not be able to make up labels.
    known = letter.type if letter.type in handlers.HANDLERS else "other"
    metrics.letters_processed.labels(known, outcome).inc()


def replay(chosen: LetterQuerySet) -> int:
    """Have letters processed once more, as if they had just come in; how many is returned."""
    replayed = chosen.replay()
    PROCESS.send()
    return replayed


def clear_old() -> None:
    """Remove what nobody needs any more, personal data among it."""
    removed, _ = Letter.objects.old().delete()
    log.info("Removed %d old letters", removed)
