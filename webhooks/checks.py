"""System check of the keys that letters from HighLevel are signed with."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from ghl.signatures import parse_keys
from webhooks import inbox


@register()
def signatures_can_be_verified(**_: Any) -> list[CheckMessage]:
    try:
        parse_keys(settings.GHL_WEBHOOK_PUBLIC_KEYS)
    except ValueError as error:
        return [
            Error(
                f"GHL_WEBHOOK_PUBLIC_KEYS cannot be read: {error}.",
                hint="Copy the PEM blocks of public keys whole (\\n for line ends), or leave it empty for "
                "HighLevel's published key.",
                id="webhooks.E001",
            )
        ]
    return []


@register()
def events_are_kept_long_enough(**_: Any) -> list[CheckMessage]:
    """An event that is sent again must be known as a duplicate, or be too old to be taken."""
    if settings.EVENT_RETENTION_DAYS == 0 or inbox.OLDEST.days < settings.EVENT_RETENTION_DAYS:
        return []
    return [
        Error(
            f"EVENT_RETENTION_DAYS is {settings.EVENT_RETENTION_DAYS}.",
            hint=f"HighLevel may send an event again for {inbox.OLDEST.days} days: keep them for longer.",
            id="webhooks.E002",
        )
    ]
