"""HighLevel's webhooks as we read them: one tolerant shape for every type of letter.
Whether a letter is genuine is in signatures.py; what it leads to is the mail room's table."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .reading import Json, clean, finite, flag, mapping, moment, no_constant, text
from .types import Appointment


@dataclass(frozen=True, slots=True)
class Letter:
    """What a letter says; whatever it leaves out, or what cannot be read, is None.

    `sent_at` is HighLevel's clock, and the same in every delivery of one letter. A location's UNINSTALL names no
    company, an agency's no location.
    """

    type: str
    app_id: str | None = None
    webhook_id: str | None = None
    location_id: str | None = None
    company_id: str | None = None
    sent_at: datetime | None = None
    install_type: str | None = None
    version_id: str | None = None
    previous_version_id: str | None = None
    company_name: str | None = None
    is_whitelabel: bool | None = None
    brand_domain: str | None = None
    brand_logo_url: str | None = None
    plan_id: str | None = None
    user_id: str | None = None
    appointment: Appointment | None = None


def parse_letter(payload: Json) -> Letter:
    """Never fails: a letter of an odd shape is one that says little.

    https://marketplace.gohighlevel.com/docs/webhook/WebhookIntegrationGuide, and a page for each type beside it.
    """
    brand = mapping(payload.get("whitelabelDetails"))
    return Letter(
        type=text(payload, "type") or "",
        app_id=text(payload, "appId"),
        webhook_id=text(payload, "webhookId"),
        location_id=text(payload, "locationId"),
        company_id=text(payload, "companyId"),
        sent_at=moment(payload.get("timestamp")),
        install_type=text(payload, "installType"),
        version_id=text(payload, "versionId"),
        previous_version_id=text(payload, "previousVersionId"),
        company_name=text(payload, "companyName"),
        is_whitelabel=flag(payload, "isWhitelabelCompany"),
        brand_domain=text(brand, "domain"),
        brand_logo_url=text(brand, "logoUrl"),
        plan_id=text(payload, "planId"),
        user_id=text(payload, "userId"),
        appointment=_appointment(payload),
    )


def _appointment(payload: Json) -> Appointment | None:
    try:
        return Appointment.from_wire(mapping(payload.get("appointment")))
    except ValueError:
        return None


def parse_body(raw: bytes) -> dict[str, Any] | None:
    """The JSON object that a body consists of, in values that PostgreSQL can keep; None for anything else."""
    try:
        value = json.loads(raw.decode(), parse_constant=no_constant, parse_float=finite)
        if not isinstance(value, dict):
            return None
        # Only an escape can spell what PostgreSQL does not keep: a NUL or half a pair of surrogates.
        return _clean(value) if b"\\u" in raw else value
    except (ValueError, RecursionError):
        return None


def _clean(value: Any) -> Any:
    match value:
        case str():
            return clean(value)
        case list():
            return [_clean(item) for item in value]
        case dict():
            return {clean(key): _clean(item) for key, item in value.items()}
    return value
