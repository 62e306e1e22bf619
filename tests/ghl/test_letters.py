"""What letters say: read whole where HighLevel's documentation and deliveries show it, and never with an error."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ghl.letters import Letter, parse_body, parse_letter

INSTALL = {
    "type": "INSTALL",
    "appId": "app1",
    "versionId": "ver2",
    "previousVersionId": "ver1",
    "installType": "Location",
    "locationId": "loc1",
    "companyId": "com1",
    "userId": "usr1",
    "companyName": "Chai & Co.",
    "isWhitelabelCompany": True,
    "whitelabelDetails": {"logoUrl": "https://example.com/logo.png", "domain": "example.com"},
    "planId": "pln1",
    "trial": {},
    "timestamp": "2025-06-25T06:57:06.225Z",
    "webhookId": "1a533f85-0000-4000-8000-000000000000",
}
APPOINTMENT = {
    "type": "AppointmentCreate",
    "locationId": "loc1",
    "appointment": {
        "id": "app9",
        "calendarId": "cal1",
        "appoinmentStatus": "confirmed",
        "startTime": "2023-09-25T16:00:00+05:30",
        "dateUpdated": "2023-09-25T16:00:00+05:30",
    },
}
DOCUMENTED = Path(__file__).resolve().parents[3] / "shared" / "highlevel" / "docs"


def test_an_install_is_read_whole() -> None:
    assert parse_letter(INSTALL) == Letter(
        type="INSTALL",
        app_id="app1",
        webhook_id="1a533f85-0000-4000-8000-000000000000",
        location_id="loc1",
        company_id="com1",
        sent_at=datetime(2025, 6, 25, 6, 57, 6, 225000, tzinfo=UTC),
        install_type="Location",
        version_id="ver2",
        previous_version_id="ver1",
        company_name="Chai & Co.",
        is_whitelabel=True,
        brand_domain="example.com",
        brand_logo_url="https://example.com/logo.png",
        plan_id="pln1",
        user_id="usr1",
    )


@pytest.mark.parametrize("brand", [{"logoUrl": "", "domain": ""}, {}, None, [], "example.com"])
def test_an_empty_brand_is_none(brand: object) -> None:
    letter = parse_letter({**INSTALL, "whitelabelDetails": brand})

    assert (letter.brand_domain, letter.brand_logo_url) == (None, None)


def test_an_uninstall_without_its_envelope_is_read() -> None:
    letter = parse_letter({"type": "UNINSTALL", "appId": "app1", "locationId": "loc1"})

    assert letter == Letter(type="UNINSTALL", app_id="app1", location_id="loc1")


def test_an_appointment_is_read() -> None:
    appointment = parse_letter(APPOINTMENT).appointment

    assert appointment is not None
    assert (appointment.id, appointment.calendar_id) == ("app9", "cal1")
    assert appointment.appointment_status == "confirmed"
    assert appointment.date_updated == datetime(2023, 9, 25, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize("appointment", [{}, {"id": ""}, {"id": 7}, None, [], "app9"])
def test_an_appointment_without_an_id_is_none(appointment: object) -> None:
    assert parse_letter({**APPOINTMENT, "appointment": appointment}).appointment is None


@pytest.mark.parametrize("timestamp", [None, "", "yesterday", 1750834626225, "2025-06-25T06:57:06", {}])
def test_a_timestamp_that_would_have_to_be_guessed_is_none(timestamp: object) -> None:
    assert parse_letter({**INSTALL, "timestamp": timestamp}).sent_at is None


@pytest.mark.parametrize("value", [None, 7, [], {}, True, ""])
def test_values_of_the_wrong_type_are_none(value: Any) -> None:
    letter = parse_letter(dict.fromkeys([*INSTALL, "appointment"], value))

    assert letter == Letter(type="", is_whitelabel=True if value is True else None)


@pytest.mark.parametrize("name", ["AppInstall", "AppUninstall", "AppointmentCreate", "AppointmentUpdate"])
def test_the_documented_examples_are_read(name: str) -> None:
    page = DOCUMENTED / f"{name}.md"
    if not page.exists():
        pytest.skip("HighLevel's documentation is not at hand")
    examples = [each.partition("```")[0] for each in page.read_text().split("```json\n")[1:]]

    assert examples
    for example in examples:
        body = parse_body(example.encode())
        assert body is not None
        letter = parse_letter(body)
        assert letter.type == body["type"]
        assert letter.location_id or letter.company_id
        assert (letter.appointment is not None) == name.startswith("Appointment")


@pytest.mark.parametrize(
    "raw",
    [
        *(
            b"",
            b"null",
            b"[]",
            b'"text"',
            b"{",
            b'{"a": 1} {}',
            b"type=INSTALL",
            b'{"a": NaN}',
            b'{"a": Infinity}',
        ),
        *(b'{"a": 1e999}', b'{"a": -1e999}', b'{"a": "\xff"}', b'{"a": "\0"}', b"\xef\xbb\xbf{}"),
        '{"a": 1}'.encode("utf-16"),
        b'{"a":' * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_a_body_that_is_no_json_object_is_none(raw: bytes) -> None:
    assert parse_body(raw) is None


def test_a_body_loses_what_postgresql_cannot_keep() -> None:
    raw = json.dumps({"a\0": ["\ud800b", {"c": "d\0"}], "e": 1.5, "f": None, "g": True}).encode()

    assert parse_body(raw) == {"a": ["?b", {"c": "d"}], "e": 1.5, "f": None, "g": True}
