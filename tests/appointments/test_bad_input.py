"""What is no booking request is refused with a problem that says where and why, and nothing is kept of it."""

import itertools
import json
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, get_args
from urllib.parse import urlencode

import pytest
from django.utils import timezone
from pydantic import BaseModel

from appointments.models import Booking
from appointments.requests import BookingRequest, ListQuery
from ghlapp.problems import LARGEST_BODY
from oauth.models import Location
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona, booking_body, only_booking, work_once

PROBLEM = "application/problem+json"
RECURRING = {"ignoreFreeSlotValidation": True}


def is_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Checks what every problem has, and that nothing was stored; answers with the problem."""
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == PROBLEM
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["requestId"] == answer.headers["X-Request-Id"] != ""
    assert {"type", "title", "detail"} < problem.keys()
    assert "Traceback" not in answer.content.decode()
    assert Booking.objects.count() == 0
    return problem


def pointers(answer: Any) -> list[str]:
    problem = is_problem(answer, 400, "invalid_request")
    assert all(error["detail"] for error in problem["errors"])
    return [error["pointer"] for error in problem["errors"]]


def post_raw(acme: Persona, body: bytes | str, content_type: str = "application/json", **headers: str) -> Any:
    return acme.api.generic("POST", "/api/v1/bookings", body, content_type, headers=headers)


@pytest.mark.parametrize(
    ("start", "end", "pointer"),
    [
        ("2027-06-23T03:30:00", None, "/startTime"),
        ("2027-06-23", None, "/startTime"),
        ("2027-06-23 03:30:00+05:30", None, "/startTime"),
        ("2027-06-23T03:30:00+0530", None, "/startTime"),
        ("2027-06-23t03:30:00z", None, "/startTime"),
        ("20270623T033000Z", None, "/startTime"),
        ("2027-06-23T03:30:00+05:30\n", None, "/startTime"),
        ("٢٠٢٧-06-23T03:30:00+05:30", None, "/startTime"),
        ("tomorrow at ten", None, "/startTime"),
        ("", None, "/startTime"),
        ("2027-02-29T03:30:00Z", None, "/startTime"),
        ("2027-13-01T03:30:00Z", None, "/startTime"),
        ("2027-06-23T25:30:00Z", None, "/startTime"),
        ("2027-06-23T03:30:60Z", None, "/startTime"),
        ("2027-06-23T03:30:00+24:00", None, "/startTime"),
        # Python 3.11 reads the first three, 3.13 the fourth.
        ("2027-06-23T03:30:00+05:75", None, "/startTime"),
        ("2027-06-23T03:30:00+05:60", None, "/startTime"),
        ("2027-06-23T03:30:00-00:99", None, "/startTime"),
        ("2027-06-23T24:00:00Z", None, "/startTime"),
        ("2027-06-23T24:00Z", None, "/startTime"),
        ("2027-06-23T03:60:00Z", None, "/startTime"),
        ("2016-12-31T23:59:60Z", None, "/startTime"),
        ("2027-06-00T03:30:00Z", None, "/startTime"),
        ("2027-06-32T03:30:00Z", None, "/startTime"),
        ("2027-00-23T03:30:00Z", None, "/startTime"),
        ("2027-06-23T03Z", None, "/startTime"),
        ("2027-06-23T03:30:00,0Z", None, "/startTime"),
        ("2027-06-23T03:30:00.Z", None, "/startTime"),
        ("2027-06-23T03:30:00.0000000000Z", None, "/startTime"),
        ("2027-06-23T03:30:00+05", None, "/startTime"),
        ("2027-06-23T03:30:00+05:30:00", None, "/startTime"),
        ("2027-W25-3T03:30:00Z", None, "/startTime"),
        ("2027-06-23T03:30:00\u221205:30", None, "/startTime"),
        ("0000-06-23T03:30:00Z", None, "/startTime"),
        ("0001-01-01T00:00:00+14:00", None, "/startTime"),
        ("9999-12-31T23:59:59-12:00", None, "/startTime"),
        ("1969-12-31T23:59:59Z", None, "/startTime"),
        ("9999-01-01T00:00:00Z", None, "/startTime"),
        ("2027-06-23T03:30:00.001+05:30", None, "/startTime"),
        ("2027-06-23T03:30:00Z", "2027-06-23T04:30:00.5Z", "/endTime"),
        ("2027-06-23T03:30:00+05:30", "2027-06-23T03:30:00+05:30", "/endTime"),
        ("2027-06-23T03:30:00+05:30", "2027-06-23T03:00:00+05:30", "/endTime"),
        ("2027-06-23T03:30:00+05:30", "2027-06-23T03:45:00+06:30", "/endTime"),
        ("2027-06-23T03:30:00+05:30", "2027-06-23T04:30:00Z", "/endTime"),
        ("2027-06-23T03:30:00Z", "2027-06-23T04:30:00+00:00", "/endTime"),
        ("2027-06-23T03:30:00Z", "later", "/endTime"),
    ],
)
def test_it_refuses_times_that_highlevel_would_not_understand(
    acme: Persona, start: str, end: str | None, pointer: str
) -> None:
    answer = acme.book(booking_body(startTime=start, endTime=end))

    assert pointers(answer) == [pointer]


WRONG_TYPES: dict[str, list[Any]] = {
    "calendarId": [7, True, [], {}, "", "a b", "a/../b", "x" * 65, "idé"],
    "locationId": [7, True, [], {}, "", "a b"],
    "contactId": [7, True, [], {}, "", "a b"],
    "startTime": [7, 1782165600000, True, [], {}],
    "endTime": [7, True, [], {}],
    "title": [7, True, [], {}],
    "meetingLocationType": [7, True, [], {}, "", "teams", "Zoom"],
    "meetingLocationId": [7, True, [], {}],
    "overrideLocationConfig": ["true", 1, 0, [], {}],
    "appointmentStatus": [7, True, [], {}, "", "booked", "Confirmed"],
    "assignedUserId": [7, True, [], {}, "", "a b"],
    "description": [7, True, [], {}],
    "address": [7, True, [], {}],
    "ignoreDateRange": ["false", 1, [], {}],
    "toNotify": ["false", 0, [], {}],
    "ignoreFreeSlotValidation": ["true", 1, [], {}],
    "rrule": [7, True, [], {}],
    "contact": [7, True, [], "a@b.example"],
    "externalReference": [7, True, [], {}, "x" * 256],
    "metadata": [7, True, [], "text", [["a", "b"]]],
    "expiresAt": [7, True, [], {}, "2090-01-01", "2090-01-01T00:00:00.5Z"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG_TYPES.items() for value in values]
)
def test_it_refuses_wrong_values_and_converts_none(acme: Persona, name: str, value: Any) -> None:
    answer = acme.book({**booking_body(), name: value})

    assert pointers(answer) == [f"/{name}"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"surprise": 1}, "/surprise"),
        ({"start_time": "2027-06-23T03:30:00+05:30"}, "/start_time"),
        ({"a/b~c": 1}, "/a~1b~0c"),
        ({"contact": {"email": "a@b.example", "surprise": 1}, "contactId": None}, "/contact/surprise"),
        ({"contact": {"email": "a@b.example", "tags": ["vip"]}, "contactId": None}, "/contact/tags"),
        (
            {"contact": {"email": "a@b.example", "customFields": [{"x": 1, "field_value": ""}]}},
            "/contact/customFields/0/x",
        ),
    ],
)
def test_it_refuses_fields_it_does_not_know(acme: Persona, changes: dict[str, Any], pointer: str) -> None:
    assert pointers(acme.book({**booking_body(), **changes})) == [pointer]


@pytest.mark.parametrize(
    ("contact", "pointer"),
    [
        ({}, "/contact"),
        ({"name": "Nobody"}, "/contact"),
        ({"email": None, "phone": None}, "/contact"),
        ({"email": ""}, "/contact/email"),
        ({"email": "nobody"}, "/contact/email"),
        ({"email": "a b@c.example"}, "/contact/email"),
        ({"email": "a@b.example\n"}, "/contact/email"),
        ({"phone": ""}, "/contact/phone"),
        ({"phone": "+"}, "/contact/phone"),
        ({"phone": "call me"}, "/contact/phone"),
        ({"phone": "+13125550100", "country": "Germany"}, "/contact/country"),
        ({"phone": "+13125550100", "name": 7}, "/contact/name"),
        ({"phone": "+13125550100", "customFields": {}}, "/contact/customFields"),
        ({"phone": "+13125550100", "customFields": [{"id": "f"}]}, "/contact/customFields/0/field_value"),
        (
            {"phone": "+13125550100", "customFields": [{"id": "f", "field_value": {"a": 1}}]},
            "/contact/customFields/0/field_value",
        ),
        (
            {"phone": "+13125550100", "customFields": [{"id": "f", "field_value": ["a", 1]}]},
            "/contact/customFields/0/field_value",
        ),
    ],
)
def test_it_refuses_contacts_that_cannot_be_found_or_made(
    acme: Persona, contact: dict[str, Any], pointer: str
) -> None:
    assert pointers(acme.book(booking_body(contactId=None, contact=contact))) == [pointer]


NOT_ONE_EMAIL = (
    "a\u200b@b.example", "a@b\u200d.example", "\u202ea@b.example", "a\ufeff@b.example", "a\u00a0@b.example",
    "a\u00ad@b.example", "a\x01@b.example", "\uff41@b.example", "a@\uff42.example", "\ufb01@b.example",
    "\ufdfa" * 20 + "@b.example", "Asha <a@b.example>", "<a@b.example>", "a@b.example,c@d.example",
    "a@b.example;c@d.example", "a@b", "a@.example", "a..b@c.example", "a@b.example@c.example",
    "\u0130" * 240 + "@b.example", "\u0390" * 65 + "@b.example", "a@" + "b" * 64 + ".example",
    "a@" + ".".join(["b" * 60] * 4) + ".b.example.example",
)  # fmt: skip
NO_PHONE = (
    "8567805758 / 6097744077", "5551234 / 5551235", "+1555", "+", "()", "- / -", "+999123456789", "12345", "1" * 40,
    "+13125550100\u200b", "\uff18\uff11\uff12\uff13\uff11\uff13\uff13\uff13\uff18\uff12", "+1 312 555 0100 x5",
    "\u0669\u0661\u0668\u0661\u0662\u0663\u0661\u0663\u0663\u0663\u0668\u0662", "+1+3125550100",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("email", each) for each in NOT_ONE_EMAIL),
        *(("phone", each) for each in NO_PHONE),
        ("country", "ZZ"),
        ("timezone", "Moon/Crater"),
        ("timezone", "asia/kolkata"),
        ("dateOfBirth", "1990-02-30"),
        ("dateOfBirth", "25-09-1990"),
        ("dateOfBirth", "1990-09/25"),
        ("dateOfBirth", "soon"),
        ("website", "javascript:alert(1)"),
        ("website", "no website"),
        ("website", "http://[bad"),
        ("updateExisting", "true"),
    ],
)
def test_it_refuses_what_cannot_be_a_contacts(acme: Persona, name: str, value: str) -> None:
    contact = {"email": "a@b.example", name: value}

    assert pointers(acme.book(booking_body(contactId=None, contact=contact))) == [f"/contact/{name}"]


@pytest.mark.parametrize(("country", "status"), [("IN", 202), ("US", 400), ("", 202)])
def test_it_takes_a_national_number_of_the_locations_country(
    acme: Persona, country: str, status: int
) -> None:
    Location.objects.filter(pk=acme.location.pk).update(country=country)

    answer = acme.book(booking_body(contactId=None, contact={"phone": "081231 33382"}))

    assert answer.status_code == status
    assert status == 202 or pointers(answer) == ["/contact/phone"]


@pytest.mark.parametrize(
    "contact",
    [
        # What a lower-case or case-folded form is longer of.
        {"email": "İ" * 64 + "@b.example"},
        {"email": "ΐ" * 64 + "@b.example"},
        {"email": "ß" * 64 + "@" + "b" * 60 + ".example"},
        {"email": "a+b.c@Bücher.example"},
        {"phone": "+1 (312) 555-0100"},
        {"phone": "+44 (0) 20 7946 0958"},
        {"phone": "00918123133382"},
        {
            "email": "a@b.example",
            "dateOfBirth": "09/25/1990",
            "website": "tesla.com",
            "timezone": "Asia/Calcutta",
        },
        {"email": "a@b.example", "dateOfBirth": "1990_09_25", "website": "https://www.tesla.com/a?b=c"},
    ],
)
def test_it_books_for_every_contact_that_it_accepts(acme: Persona, contact: dict[str, str]) -> None:
    assert acme.book(booking_body(contactId=None, contact=contact)).status_code == 202

    work_once()

    assert (only_booking().status, only_booking().crashes) == ("booked", 0)


def test_it_books_for_a_contact_that_was_accepted_before_it_was_checked(acme: Persona) -> None:
    acme.book(booking_body(contactId=None, contact={"email": "a@b.example"}))
    Booking.objects.update(contact={"email": "ΐ" * 240 + "@b.example", "phone": "8567805758 / 6097744077"})

    work_once()

    assert (only_booking().status, only_booking().crashes) == ("booked", 0)


def test_it_refuses_a_contact_beside_a_contact_id(acme: Persona) -> None:
    assert pointers(acme.book(booking_body(contact={"email": "a@b.example"}))) == ["/contactId"]


def test_it_refuses_a_booking_for_nobody(acme: Persona) -> None:
    assert pointers(acme.book(booking_body(contactId=None))) == ["/contactId"]


@pytest.mark.parametrize(
    ("metadata", "pointer"),
    [
        ({"a": 1}, "/metadata/a"),
        ({"a": {"b": "c"}}, "/metadata/a"),
        ({"a": None}, "/metadata/a"),
        ({"a": "x" * 1001}, "/metadata/a"),
        ({"k" * 256: "x"}, "/metadata/" + "k" * 256),
        ({str(number): "x" for number in range(51)}, "/metadata"),
    ],
)
def test_it_refuses_metadata_that_is_no_flat_object_of_fifty_strings(
    acme: Persona, metadata: Any, pointer: str
) -> None:
    assert pointers(acme.book(booking_body(metadata=metadata))) == [pointer]


def test_it_takes_fifty_strings_of_metadata(acme: Persona) -> None:
    metadata = {str(number): "x" * 1000 for number in range(50)}

    assert acme.book(booking_body(metadata=metadata)).json()["metadata"] == metadata


def test_it_refuses_an_expiry_that_is_more_than_a_year_ahead(acme: Persona) -> None:
    year = timezone.now() + timedelta(days=365)
    later, sooner = (f"{year + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}" for minutes in (1, -1))

    assert pointers(acme.book(booking_body(expiresAt=later))) == ["/expiresAt"]
    assert acme.book(booking_body(expiresAt=sooner)).status_code == 202


def test_it_refuses_an_expiry_that_is_past(acme: Persona) -> None:
    assert pointers(acme.book(booking_body(expiresAt="2021-01-01T00:00:00Z"))) == ["/expiresAt"]


def test_it_refuses_a_recurrence_that_highlevel_would_ignore(acme: Persona) -> None:
    for value in (None, False):
        body = booking_body(rrule="FREQ=DAILY;COUNT=2", ignoreFreeSlotValidation=value)
        assert pointers(acme.book(body)) == ["/rrule"]


@pytest.mark.parametrize(
    "rrule",
    [
        "string",
        "",
        "every day",
        "COUNT=3",
        "FREQ=NEVER",
        "FREQ=DAILY;COUNT=x",
        "FREQ=DAILY;COUNT=0",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;INTERVAL=0;COUNT=3",
        "FREQ=DAILY;BYDAY=XX",
        "FREQ=DAILY;BYDAY=",
        "FREQ=DAILY;UNTIL=never",
        "FREQ=DAILY;;",
        "DTSTART:20270623T033000Z\nRRULE:FREQ=DAILY;COUNT=2",
        "RRULE:FREQ=DAILY;COUNT=2\nDTSTART:20270623T033000Z",
        "RRULE:FREQ=DAILY;COUNT=2\nRRULE:FREQ=WEEKLY;COUNT=2",
        "RRULE:FREQ=DAILY;COUNT=2\nEXDATE:whenever",
        "EXDATE:20270624T220000Z",
        "FREQ=DAILY;COUNT=" + "9" * 5000,
    ],
)
def test_it_refuses_an_rrule_that_is_none(acme: Persona, rrule: str) -> None:
    assert pointers(acme.book(booking_body(rrule=rrule, **RECURRING))) == ["/rrule"]


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b", "\udfff"])
@pytest.mark.parametrize(
    ("place", "pointer"),
    [
        (lambda text: {"title": text}, "/title"),
        (lambda text: {"calendarId": text}, "/calendarId"),
        (lambda text: {"startTime": text}, "/startTime"),
        (lambda text: {"rrule": text, **RECURRING}, "/rrule"),
        (lambda text: {"externalReference": text}, "/externalReference"),
        (lambda text: {"metadata": {"key": text}}, "/metadata/key"),
        (lambda text: {"contactId": None, "contact": {"email": f"{text}@b.example"}}, "/contact/email"),
        (
            lambda text: {
                "contactId": None,
                "contact": {"phone": "+13125550100", "customFields": [{"id": "f", "field_value": text}]},
            },
            "/contact/customFields/0/field_value",
        ),
        (
            lambda text: {
                "contactId": None,
                "contact": {"phone": "+13125550100", "customFields": [{"id": "f", "field_value": [text]}]},
            },
            "/contact/customFields/0/field_value",
        ),
    ],
)
def test_it_refuses_what_no_database_can_keep(acme: Persona, text: str, place: Any, pointer: str) -> None:
    body = json.dumps({**booking_body(), **place(text)})

    assert pointers(post_raw(acme, body)) == [pointer]


def text_fields(model: type[BaseModel], place: str = "") -> Iterator[str]:
    """Pointers to every field of a body that takes a text, also within others."""
    for name, field in model.model_fields.items():
        pointer = f"{place}/{field.alias or name}"
        for part in (field.annotation, *flat(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                inside = "/0" if "list[" in str(field.annotation) else ""
                yield from text_fields(part, pointer + inside)
        if "metadata" in name:
            yield pointer + "/key"
        elif not any(
            isinstance(part, type) and issubclass(part, BaseModel | bool) for part in flat(field.annotation)
        ):
            yield pointer


def flat(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from flat(part)


def with_text(pointer: str, text: str) -> dict[str, Any]:
    body: dict[str, Any] = booking_body(contact={"email": "a@b.example"}, contactId=None, rrule=None)
    steps: list[str] = pointer.split("/")[1:]
    if steps[0] == "contactId":
        del body["contact"]
    inner: Any = body
    for step, following in itertools.pairwise(steps):
        if isinstance(inner, list):
            inner.append({"id": "f", "field_value": "x"})
            inner = inner[0]
        else:
            inner = inner.setdefault(step, [] if following == "0" else {})
    inner[steps[-1]] = text
    return body


TEXT_FIELDS = sorted({*text_fields(BookingRequest)})


def test_it_knows_every_field_that_takes_a_text() -> None:
    assert {
        "/title", "/description", "/address", "/calendarId", "/startTime", "/expiresAt", "/rrule", "/metadata/key",
        "/contact/email", "/contact/country", "/contact/customFields/0/field_value", "/contact/customFields/0/key",
    } <= {*TEXT_FIELDS}  # fmt: skip


@pytest.mark.parametrize("pointer", TEXT_FIELDS)
def test_it_refuses_in_every_field_what_cannot_be_stored_or_has_no_end(acme: Persona, pointer: str) -> None:
    for text in ("\x00", "a\x00b", "a\ud800b", "\udfff", "x" * 20_000):
        assert pointers(post_raw(acme, json.dumps(with_text(pointer, text)))) == [pointer], repr(text[:10])


@pytest.mark.parametrize(
    "name", sorted({field.alias or name for name, field in ListQuery.model_fields.items()})
)
def test_it_refuses_in_every_filter_what_cannot_be_stored_or_has_no_end(acme: Persona, name: str) -> None:
    for text in (
        "\x00",
        "a\x00b",
        "x" * 20_000,
        "9" * 5_000,
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
    ):
        if text[4:5] == "-" and name.endswith(("Id", "Reference")):
            continue
        assert pointers(acme.api.get("/api/v1/bookings", {name: text})) == [f"/{name}"], repr(text[:10])


@pytest.mark.parametrize(
    "position", ["a\x00b", "\x00", "\ud800", "\xff", "9" * 600, "-1", "\uff11", "x" * 600]
)
def test_it_refuses_or_takes_what_a_made_up_cursor_holds(acme: Persona, position: str) -> None:
    """A cursor is base64 of a query of its own, so that no middleware sees what is in it."""
    booking_id = acme.book().json()["id"]
    query = urlencode({"p": position.encode("utf-8", "surrogatepass")})
    cursor = b64encode(query.encode()).decode()

    for path in ("bookings", "locations", f"bookings/{booking_id}/timeline"):
        answer = acme.api.get(f"/api/v1/{path}", {"cursor": cursor})

        assert answer.status_code in (200, 400), path
        if "\x00" in position:
            assert [each["pointer"] for each in answer.json()["errors"]] == ["/cursor"], path


@pytest.mark.parametrize(
    "text", ["2027-06-23T03:30:00+05:75", "2027-06-23T24:00:00Z", "0001-01-01T00:00:00+14:00", "now"]
)
@pytest.mark.parametrize("name", ["createdFrom", "createdTo", "startTimeFrom", "startTimeTo"])
def test_it_refuses_filters_by_no_time(acme: Persona, name: str, text: str) -> None:
    assert pointers(acme.api.get("/api/v1/bookings", {name: text})) == [f"/{name}"]


@pytest.mark.parametrize("key", ["a\x00b", "a\ud800b"])
def test_it_refuses_keys_that_no_database_can_keep(acme: Persona, key: str) -> None:
    [pointer] = pointers(post_raw(acme, json.dumps(booking_body(metadata={key: "value"}))))
    assert pointer.startswith("/metadata/a")
    assert len(pointers(post_raw(acme, json.dumps({**booking_body(), key: "value"})))) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"hello",
        b'{"calendarId": "a",}',
        b'{"metadata": NaN}',
        b'{"metadata": -Infinity}',
        b'{"metadata": 1e999}',
        b'{"metadata": ' + b"9" * 5000 + b"}",
        b'{"title": "a", "title": "b"}',
        b'{"metadata": {"a": "1", "a": "1"}}',
        b'{"title": "\xff\xfe"}',
        b'{"title": "\xed\xa0\x80"}',
        json.dumps({"title": "a"}).encode("utf-16"),
        b'{"title": "tab\there"}',
        b"[" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_it_refuses_what_is_no_json(acme: Persona, body: bytes) -> None:
    is_problem(post_raw(acme, body), 400, "invalid_request")


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"7", b"null", b"true"])
def test_it_refuses_json_that_is_no_object(acme: Persona, body: bytes) -> None:
    assert pointers(post_raw(acme, body)) == [""]


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_it_says_what_an_empty_body_lacks(acme: Persona, body: bytes) -> None:
    assert pointers(post_raw(acme, body)) == ["/calendarId", "/startTime"]


def test_it_refuses_a_number_that_is_none(acme: Persona) -> None:
    contact = {"phone": "+13125550100", "customFields": [{"id": "f", "field_value": 7}]}
    body = json.dumps(booking_body(contactId=None, contact=contact)).replace("7}", "1e999}")

    is_problem(post_raw(acme, body), 400, "invalid_request")


def test_it_takes_whole_numbers_that_every_reader_of_json_takes(acme: Persona) -> None:
    contact = {"email": "a@b.example", "customFields": [{"id": "f", "field_value": 2**53 - 1}]}
    assert acme.book(booking_body(contactId=None, contact=contact)).json()["contact"] == contact


@pytest.mark.parametrize("number", [2**53, -(2**53), 10**400])
def test_it_refuses_numbers_that_some_readers_of_json_round(acme: Persona, number: int) -> None:
    contact = {"email": "a@b.example", "customFields": [{"id": "f", "field_value": number}]}

    found = pointers(acme.book(booking_body(contactId=None, contact=contact)))

    assert found == ["/contact/customFields/0/field_value"]


def test_it_survives_numbers_beyond_all_measure(acme: Persona) -> None:
    body = json.dumps({**booking_body(), "title": 10**4000})

    assert pointers(post_raw(acme, body)) == ["/title"]


def test_it_answers_shorter_than_it_was_asked(acme: Persona) -> None:
    body = {**booking_body(), **{f"unknown{number}": 1 for number in range(5_000)}}

    assert len(pointers(acme.book(body))) == 100


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "",
    ],
)
def test_it_refuses_bodies_that_are_not_called_json(acme: Persona, content_type: str) -> None:
    answer = post_raw(acme, json.dumps(booking_body()), content_type)

    is_problem(answer, 415, "unsupported_media_type")


def test_it_takes_json_with_a_charset(acme: Persona) -> None:
    answer = post_raw(acme, json.dumps(booking_body()), "application/json; charset=utf-8")

    assert answer.status_code == 202


def test_it_refuses_a_megabyte(acme: Persona) -> None:
    answer = acme.book(booking_body(description="x" * 1024 * 1024))

    is_problem(answer, 413, "body_too_large")


def test_it_takes_a_body_of_the_largest_size_and_not_a_byte_more(acme: Persona) -> None:
    too_large, largest = (
        json.dumps(booking_body()).ljust(length) for length in (LARGEST_BODY + 1, LARGEST_BODY)
    )

    is_problem(post_raw(acme, too_large), 413, "body_too_large")
    assert post_raw(acme, largest).status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel", "a\tb", "a\x7fb"])
def test_it_refuses_idempotency_keys_it_could_not_compare(acme: Persona, key: str) -> None:
    assert pointers(acme.book(booking_body(), **{"Idempotency-Key": key})) == [""]


def test_it_takes_an_idempotency_key_of_255_characters(acme: Persona) -> None:
    assert acme.book(booking_body(), **{"Idempotency-Key": "~ " + "x" * 253}).status_code == 202


def test_it_answers_the_same_for_a_strangers_location_as_for_none(acme: Persona, globex: Persona) -> None:
    strangers, nobodys = (
        acme.book(booking_body(locationId=location)) for location in (GLOBEX_LOCATION, "nobodyHasThis")
    )

    problems = [is_problem(answer, 403, "location_not_allowed") for answer in (strangers, nobodys)]
    texts = [
        answer.content.decode().replace(problem["requestId"], "")
        for answer, problem in zip((strangers, nobodys), problems, strict=True)
    ]
    assert texts[0] == texts[1]
    assert globex.book(booking_body(locationId=ACME_LOCATION)).status_code == 403
