"""Text that PostgreSQL cannot keep, in every field of an event."""

import json

import pytest

from tests.webhooks.conftest import content, deliver
from webhooks import handlers, inbox
from webhooks.models import Letter

pytestmark = pytest.mark.django_db
FIELDS = (
    "webhookId",
    "locationId",
    "companyId",
    "installType",
    "companyName",
    "userId",
    "planId",
    "versionId",
)
APPOINTMENT = (
    "id",
    "calendarId",
    "contactId",
    "title",
    "startTime",
    "endTime",
    "appointmentStatus",
    "dateUpdated",
)


@pytest.mark.parametrize("odd", ["\0", "a\0b", "\ud800", "\0\ud800", "9" * 3000, "\u202e", " " * 300])
def test_an_event_of_odd_text_is_stored_and_processed(odd: str) -> None:
    for kind in (*handlers.HANDLERS, odd):
        odds = {
            **dict.fromkeys(FIELDS, odd),
            odd: {odd: [odd]},
            "whitelabelDetails": {"domain": odd, "logoUrl": odd},
        }
        event = content(**odds, type=kind, appointment=dict.fromkeys(APPOINTMENT, odd))
        # A time that cannot be read is one that is not there.
        for each in (event, {**event, "timestamp": odd, "webhookId": f"{odd}{kind}"}):
            assert deliver(json.dumps(each).encode()).status_code == 200, kind

    inbox.process_due()

    assert not [letter.error for letter in Letter.objects.exclude(error="")]
