"""System check of the keys that letters from HighLevel are signed with."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from ghl.signatures import parse_keys


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
