"""How long letters are kept: as long as a replay could come, and what is parked until somebody has had time."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from tests.webhooks.conftest import send
from webhooks import tasks
from webhooks.models import Letter

Status = Letter.Status


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("status", "days", "kept"),
    [
        (Status.DONE, 31, True),
        (Status.DONE, 33, False),
        (Status.IGNORED, 31, True),
        (Status.IGNORED, 33, False),
        (Status.PARKED, 89, True),
        (Status.PARKED, 91, False),
        (Status.RECEIVED, 91, True),
    ],
)
def test_it_forgets_only_what_nobody_needs(status: str, days: int, kept: bool) -> None:
    send()
    Letter.objects.update(status=status, received_at=Now() - timedelta(days=days))

    tasks.clear_old_letters()

    assert Letter.objects.exists() == kept
