"""The audit log: a line for each key issued, revoked and refused, each private token; no secret in any."""

import io
import logging
import sys
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.utils import timezone
from rest_framework.test import APIClient

from oauth import audit, keys
from oauth.models import Location
from oauth.scopes import BOOKINGS_READ
from sandbox import World
from tests.fixtures import ACME_LOCATION, Persona, booking_body


@pytest.fixture(autouse=True)
def fresh_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "refusals", audit.LineLimit(audit.MAX_REFUSALS, 60))


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """`lines(event)`: the fields of the audit lines of this event."""
    caplog.set_level(logging.INFO, logger=audit.LOGGER)

    def of(event: str) -> list[dict[str, Any]]:
        records: list[Any] = [each.msg for each in caplog.records if each.name == audit.LOGGER]
        return [each for each in records if each["event"] == event]

    return of


def call(text: str) -> Any:
    return APIClient().get("/api/v1/bookings", headers={"Authorization": f"Bearer {text}"})


def test_it_tells_of_keys_issued_and_revoked(acme: Persona, lines: Any) -> None:
    output = io.StringIO()
    call_command("issue_api_key", "--tenant", "acme", "--location", ACME_LOCATION, stdout=output)
    text = output.getvalue().strip()
    call_command("revoke_api_key", text, stdout=io.StringIO())
    call_command("revoke_api_key", text, stdout=io.StringIO())  # revokes nothing more

    issued, revoked = lines("api_key.issued")[-1], lines("api_key.revoked")
    assert issued["key"] == keys.prefix_of(text)
    assert (issued["tenant"], issued["locations"]) == ("acme", [ACME_LOCATION])
    assert issued["scopes"] == list(keys.DEFAULT_SCOPES)
    assert issued["expires_at"] is not None
    assert "command line" in issued["by"]
    assert [each["key"] for each in revoked] == [keys.prefix_of(text)]
    assert text.split("_", 2)[2] not in str((issued, revoked))


def test_it_bounds_the_locations_in_a_line(acme: Persona, lines: Any) -> None:
    many = [Location(pk=f"location{number:03}") for number in range(keys.MAX_AUDITED_LOCATIONS + 5)]

    keys.issue(acme.tenant, locations=Location.objects.bulk_create(many))

    issued = lines("api_key.issued")[-1]
    assert issued["locations"] == [each.pk for each in many[: keys.MAX_AUDITED_LOCATIONS]]
    assert issued["location_count"] == len(many)


def test_it_tells_why_a_key_is_refused(acme: Persona, globex: Persona, lines: Any) -> None:
    reader, readers_text = keys.issue(acme.tenant, locations=[acme.location], scopes=[BOOKINGS_READ])
    keys.revoke(globex.key)

    call("no key at all")
    call(f"bk_zzzzzzzzzzzz_{acme.text.split('_', 2)[2]}")
    call(acme.text + "x")
    call(globex.text)
    with time_machine.travel(timezone.now() + keys.DEFAULT_LIFETIME + timedelta(minutes=1)):
        call(acme.text)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {readers_text}")
    client.post("/api/v1/bookings", booking_body(), format="json")

    refused = lines("api_key.refused")
    assert [(each["reason"], each.get("key"), each.get("tenant")) for each in refused] == [
        ("unknown", None, None),
        ("unknown", "zzzzzzzzzzzz", None),
        ("wrong_secret", acme.key.prefix, "acme"),
        ("revoked", globex.key.prefix, "globex"),
        ("expired", acme.key.prefix, "acme"),
        ("insufficient_scope", reader.prefix, "acme"),
    ]
    assert all(each["request_id"] and each["level"] == "warning" for each in refused)
    assert not any(text.split("_", 2)[2] in str(refused) for text in (acme.text, globex.text))


def test_nobody_floods_it(acme: Persona, lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "refusals", audit.LineLimit(3, 60))
    for _ in range(10):
        call("wrong")
    assert len(lines("api_key.refused")) == 3

    audit.refusals._window_ends = 0.0
    call("wrong")

    assert [each.get("suppressed") for each in lines("api_key.refused")] == [None, None, None, 7]


def test_it_tells_of_private_tokens_and_of_no_token(
    db: None, highlevel: World, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = highlevel.issue_private_token(ACME_LOCATION)
    monkeypatch.setattr(sys, "stdin", io.StringIO(token))
    call_command("connect_location", ACME_LOCATION, stdout=io.StringIO())

    (connected,) = lines("private_token.connected")
    assert connected["location"] == ACME_LOCATION
    assert token not in str(connected)
