"""A contact given by e-mail or phone is found or created in HighLevel once, whoever names it."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from appointments.contact_leases import ContactLease, ContactLeaseLost
from appointments.models import Booking, ContactMatch
from ghl.types import parse_token_grant
from oauth import installs
from oauth.models import Location, Token
from sandbox import World
from sandbox.faults import Fault
from sandbox.records import Contact
from tests.appointments.conftest import at_once, calls, killed_worker, order, sent, until
from tests.fixtures import (
    ACME_CALENDAR,
    ACME_CONTACT,
    ACME_LOCATION,
    GLOBEX_CALENDAR,
    GLOBEX_LOCATION,
    Persona,
    booking_body,
    hurry,
    only_booking,
    work_once,
)

NOOR = {"firstName": "Noor", "email": "Noor@Example.com"}


def for_contact(contact: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return booking_body(contactId=None, contact=contact, **changes)


def called(highlevel: World, name: str) -> list[Contact]:
    return [each for each in highlevel.contacts.values() if each.details.get("firstName") == name]


@pytest.fixture(autouse=True)
def _seats(highlevel: World) -> None:
    highlevel.calendars[ACME_CALENDAR].seats = 50


def test_it_creates_the_contact_it_was_given(acme: Persona, highlevel: World) -> None:
    contact = {
        **NOOR,
        "lastName": "نور",
        "phone": "+1 (312) 555-0100",
        "country": "IN",
        "companyName": "Noor & Co.",
        "customFields": [
            {"id": "f1", "field_value": "red"},
            {"key": "k2", "field_value": ["a", "b"]},
            {"id": "f3", "field_value": 7.5},
            {"id": "f4", "field_value": True},
        ],
    }

    answer = acme.book(for_contact(contact))
    assert answer.json()["contact"] == contact
    assert answer.json()["contactId"] is None
    work_once()

    [created] = called(highlevel, "Noor")
    [create] = sent(highlevel, "create_contact")
    assert create == {"locationId": ACME_LOCATION, **contact, "phone": "+13125550100"}
    booking = acme.api.get(answer.headers["Location"]).json()
    assert booking["status"] == "booked"
    assert booking["contactId"] == created.id
    assert booking["contact"] == contact


def test_it_finds_a_contact_that_is_there(acme: Persona, highlevel: World) -> None:
    acme.book(for_contact({"email": "RAVI@example.com"}))
    work_once()

    assert only_booking().contact_id == ACME_CONTACT


def test_it_finds_a_contact_by_phone(acme: Persona, highlevel: World) -> None:
    for phone in ("+1 312 555 0100", "+1 (312) 555-0100"):
        acme.book(for_contact({"firstName": "Noor", "phone": phone}))
    work_once()

    assert len(called(highlevel, "Noor")) == 1
    assert ContactMatch.objects.get().address == "phone:13125550100"


def test_it_asks_highlevel_once_for_a_contact_it_knows(acme: Persona, highlevel: World) -> None:
    for _ in range(3):
        acme.book(for_contact(NOOR))
    work_once()

    assert (calls(highlevel, "search_duplicate"), calls(highlevel, "create_contact")) == (1, 1)
    assert Booking.objects.filter(status="booked").count() == 3


def test_it_leaves_whom_it_finds_as_they_are(acme: Persona, highlevel: World) -> None:
    ravi = highlevel.contacts[ACME_CONTACT]
    ravi.details["additionalEmails"] = [{"email": "second@example.com"}]
    ravi.details["additionalPhones"] = [{"phone": "+918123133382"}]
    before = dict(ravi.details)

    for contact in (
        {"email": "ravi@example.com", "lastName": "Other", "phone": "+918123133000"},
        {"email": "second@example.com"},
        {"phone": "+91 81231 33382", "firstName": "Rav", "email": "third@example.com"},
    ):
        acme.book(for_contact(contact))
    work_once()

    assert set(Booking.objects.values_list("status", "contact_id")) == {("booked", ACME_CONTACT)}
    assert ravi.details == before
    assert (calls(highlevel, "create_contact"), calls(highlevel, "upsert_contact")) == (0, 0)


def test_it_updates_whom_it_finds_where_it_is_told_to(acme: Persona, highlevel: World) -> None:
    ravi = highlevel.contacts[ACME_CONTACT]
    ravi.details["additionalEmails"] = [{"email": "second@example.com"}]
    contact = {"email": "second@example.com", "firstName": "Rav", "updateExisting": True}

    answer = acme.book(for_contact(contact))
    work_once()

    assert answer.json()["contact"] == contact
    assert (ravi.details["email"], ravi.details["firstName"]) == ("second@example.com", "Rav")
    assert only_booking().contact_id == ACME_CONTACT


def test_it_goes_by_the_email_where_the_phone_is_anothers(acme: Persona, highlevel: World) -> None:
    other = highlevel.add_contact(ACME_LOCATION, firstName="Other", phone="+918123133382")

    acme.book(for_contact({"email": "ravi@example.com", "phone": "+918123133382"}))
    acme.book(for_contact({"phone": "+918123133382"}))
    work_once()

    assert list(Booking.objects.order_by("id").values_list("contact_id", flat=True)) == [
        ACME_CONTACT,
        other.id,
    ]


def test_it_takes_the_contact_that_highlevel_names_in_refusing_a_second_one(
    acme: Persona, highlevel: World
) -> None:
    highlevel.settings.list_lag_seconds = 10
    there = highlevel.add_contact(ACME_LOCATION, firstName="New", email=NOOR["email"])

    acme.book(for_contact(NOOR))
    work_once()

    assert only_booking().contact_id == there.id
    assert calls(highlevel, "create_contact") == 1


def test_it_does_not_search_again_while_it_waits_to_create(acme: Persona, highlevel: World) -> None:
    highlevel.faults.add(Fault("error_500_before", "search_duplicate", match={"number": "+"}))
    acme.book(for_contact({**NOOR, "phone": "+13125550100"}))
    work_once()
    assert calls(highlevel, "create_contact") == 0

    assert hurry(only_booking()).status == Booking.Status.BOOKED
    searches = [each.body for each in highlevel.calls.records if each.operation == "search_duplicate"]
    assert ["email" in each for each in searches] == [True, False, False]


def test_it_tells_highlevel_when_the_same_person_is_called_otherwise(acme: Persona, highlevel: World) -> None:
    told = {**NOOR, "updateExisting": True}
    acme.book(for_contact(told))
    acme.book(for_contact(told))
    acme.book(for_contact({**told, "firstName": "Nour", "email": "noor@example.com"}))
    work_once()

    assert calls(highlevel, "upsert_contact") == 2
    [contact] = called(highlevel, "Nour")
    assert set(Booking.objects.values_list("contact_id", flat=True)) == {contact.id}


def test_it_keeps_the_contacts_of_two_locations_apart(
    acme: Persona, globex: Persona, highlevel: World
) -> None:
    acme.book(for_contact(NOOR))
    globex.book(for_contact(NOOR, locationId=GLOBEX_LOCATION, calendarId=GLOBEX_CALENDAR))
    work_once()
    work_once(GLOBEX_LOCATION)

    assert {each.location_id for each in called(highlevel, "Noor")} == {ACME_LOCATION, GLOBEX_LOCATION}


@pytest.mark.django_db(transaction=True)
def test_it_makes_one_contact_for_ten_bookings_at_once(acme: Persona, highlevel: World) -> None:
    for _ in range(10):
        acme.book(for_contact(NOOR))

    def work() -> None:
        for _ in range(50):
            work_once()
            if not Booking.objects.filter(status="pending").exists():
                return
            Booking.objects.filter(lease=None, status="pending").update(next_attempt_at=Now())

    at_once(*[work] * 5)

    assert Booking.objects.filter(status="booked").count() == 10
    assert len(called(highlevel, "Noor")) == 1
    assert calls(highlevel, "create_contact") == 1
    assert len(highlevel.diary.everything()) == 10


def test_it_lets_others_wait_while_one_asks(acme: Persona, highlevel: World) -> None:
    acme.book(for_contact(NOOR))
    assert lease("email:noor@example.com")

    work_once()

    assert only_booking().status == Booking.Status.PENDING
    assert only_booking().error is None
    assert calls(highlevel, "search_duplicate") == 0


def lease(*addresses: str, seconds: float = 5) -> ContactLease | None:
    return ContactLease.take(ACME_LOCATION, addresses, timedelta(seconds=seconds))


def test_it_leases_all_addresses_or_none(db: None, acme: Persona) -> None:
    assert lease("phone:1")

    assert lease("email:a@b.example", "phone:1") is None
    assert lease("email:a@b.example")


def test_it_takes_back_no_lease_that_has_become_anothers(db: None, acme: Persona) -> None:
    first = lease("email:a@b.example", seconds=-1)
    second = lease("email:a@b.example")

    assert first is not None
    assert second is not None
    first.release(first.matches, contact_id="late")
    with pytest.raises(ContactLeaseLost):
        first.arm(timedelta(seconds=5))

    assert lease("email:a@b.example") is None
    assert ContactMatch.objects.get().contact_id == ""


ONE_PERSON = (
    ({"phone": "+918123133382"}, {"phone": "918123133382"}),
    ({"phone": "08123133382"}, {"phone": "+91 81231-33382"}),
    ({"email": "noor@example.com", "phone": "+918123133382"}, {"phone": "8123133382"}),
    ({"phone": "+918123133382", "email": "Noor@Bücher.example"}, {"email": "noor@xn--bcher-kva.example"}),
)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("one", "other"), ONE_PERSON)
def test_it_makes_one_contact_of_two_spellings_at_once(
    acme: Persona, highlevel: World, one: dict[str, str], other: dict[str, str]
) -> None:
    # A location may allow duplicates: then HighLevel refuses none, and its search is behind.
    highlevel.settings.duplicate_contacts_allowed, highlevel.settings.list_lag_seconds = True, 60
    Location.objects.filter(pk=ACME_LOCATION).update(country="IN")
    for contact in (one, other, one, other):
        acme.book(for_contact({"firstName": "Noor", **contact}))

    def work() -> None:
        for _ in range(100):
            work_once()
            if not Booking.objects.filter(status="pending").exists():
                return
            Booking.objects.filter(lease=None, status="pending").update(next_attempt_at=Now())

    at_once(*[work] * 4)

    [contact] = called(highlevel, "Noor")
    assert set(Booking.objects.values_list("status", "contact_id")) == {("booked", contact.id)}


@pytest.mark.django_db(transaction=True)
def test_it_makes_one_contact_though_its_worker_is_killed(acme: Persona, highlevel: World) -> None:
    highlevel.settings.duplicate_contacts_allowed = True
    order(highlevel, "dribble", "create_contact", seconds=20)
    acme.book(for_contact({"firstName": "Noor", "phone": "+918123133382"}))
    with killed_worker():
        until(lambda: called(highlevel, "Noor"), seconds=30)
    acme.book(for_contact({"firstName": "Noor", "phone": "918123133382", "email": "noor@example.com"}))
    Booking.objects.update(lease_until=Now())
    work_once()
    assert Booking.objects.filter(status="pending", contact_id="").count() == 2, "it may still be at work"

    ContactMatch.objects.update(claimed_until=Now())
    for booking in Booking.objects.all():
        hurry(booking)

    [contact] = called(highlevel, "Noor")
    assert set(Booking.objects.values_list("status", "contact_id")) == {("booked", contact.id)}


@pytest.mark.parametrize("kind", ["cut_after", "error_500_after", "half_body"])
def test_it_makes_one_contact_though_the_answer_was_lost(acme: Persona, highlevel: World, kind: Any) -> None:
    highlevel.faults.add(Fault(kind, "create_contact"))
    acme.book(for_contact(NOOR))
    work_once()
    lost = only_booking()
    assert lost.status == Booking.Status.PENDING
    assert lost.error["code"] == "upstream_unavailable"
    assert hurry(lost).contact_id == "", "HighLevel may still be at work on it"
    assert calls(highlevel, "create_contact") == 1

    ContactMatch.objects.update(claimed_until=Now())
    booking = hurry(lost)

    assert booking.status == Booking.Status.BOOKED
    assert [each.id for each in called(highlevel, "Noor")] == [booking.contact_id]


@pytest.mark.parametrize("kind", ["too_many_requests", "token_revoked"])
def test_it_asks_again_at_once_where_nothing_can_have_happened(
    acme: Persona, highlevel: World, kind: Any
) -> None:
    highlevel.faults.add(Fault(kind, "create_contact", times=2))
    acme.book(for_contact(NOOR))
    work_once()

    while calls(highlevel, "create_contact") < 3:
        booking = hurry(only_booking())

    assert booking.status == Booking.Status.BOOKED


def test_it_lets_nobody_wait_for_a_booking_that_got_no_token(acme: Persona, highlevel: World) -> None:
    acme.book(for_contact(NOOR))
    Token.objects.update(expires_at=Now(), refresh_started_at=Now())
    work_once()
    Token.objects.update(expires_at=Now() + timedelta(hours=1))

    assert hurry(only_booking()).status == Booking.Status.BOOKED


def test_it_finds_a_contact_again_that_highlevel_has_forgotten(acme: Persona, highlevel: World) -> None:
    acme.book(for_contact(NOOR))
    work_once()
    forgotten = highlevel.contacts.pop(only_booking().contact_id)
    highlevel.contacts_by_location[ACME_LOCATION].remove(forgotten)
    acme.book(for_contact(NOOR))

    work_once()

    booking = Booking.objects.latest("id")
    assert booking.status == Booking.Status.BOOKED
    assert booking.contact_id not in {"", forgotten.id}
    assert calls(highlevel, "create_contact") == 2


def test_it_asks_for_a_forgotten_contact_once_more_and_no_more(acme: Persona, highlevel: World) -> None:
    class Forgetful(dict[str, Contact]):
        def get(self, *_: Any) -> None:
            return None

    highlevel.contacts = Forgetful(highlevel.contacts)
    answer = acme.book(for_contact(NOOR))

    work_once()

    booking = acme.api.get(answer.headers["Location"]).json()
    assert booking["status"] == "rejected"
    assert booking["error"]["code"] == "contact_not_found"
    assert (calls(highlevel, "create_contact"), calls(highlevel, "search_duplicate")) == (1, 2)
    assert calls(highlevel) == 2


def test_it_rejects_a_contact_that_highlevel_refuses(acme: Persona, highlevel: World) -> None:
    narrow = ("calendars/events.write", "calendars/events.readonly")
    installs.complete(parse_token_grant(highlevel.issue_location_token(ACME_LOCATION, scopes=narrow)))
    answer = acme.book(for_contact(NOOR))
    acme.book(for_contact(NOOR))

    work_once()

    booking = acme.api.get(answer.headers["Location"]).json()
    assert (booking["status"], booking["error"]["code"]) == ("rejected", "scope_missing")
    assert Booking.objects.filter(status="rejected").count() == 2
    assert calls(highlevel) == 0
    assert Location.objects.get(pk=ACME_LOCATION).not_before is None
