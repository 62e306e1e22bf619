"""The list: newest first, page by page, narrowed by what is asked for."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.db import connection

from appointments.models import Booking
from benchmarks import listing
from oauth import keys
from oauth.models import Location
from tests.fixtures import GLOBEX_LOCATION, Persona, booking_body, work_once


def listed(persona: Persona, **parameters: Any) -> dict[str, Any]:
    answer = persona.api.get("/api/v1/bookings", parameters)
    assert answer.status_code == 200, answer.json()
    page: dict[str, Any] = answer.json()
    return page


def ids(page: dict[str, Any]) -> list[str]:
    return [booking["id"] for booking in page["results"]]


def follow(persona: Persona, url: str) -> dict[str, Any]:
    assert url.startswith("http://testserver/api/v1/bookings?")
    return listed(persona, **dict(parse_qsl(urlsplit(url).query)))


def pages(persona: Persona, page: dict[str, Any], way: str = "next") -> Iterator[dict[str, Any]]:
    yield page
    while page[way]:
        page = follow(persona, page[way])
        yield page


def book_many(persona: Persona, count: int) -> list[str]:
    """Their ids, newest first."""
    made = [persona.book().json()["id"] for _ in range(count)]
    return made[::-1]


def test_it_lists_the_newest_first(acme: Persona) -> None:
    made = book_many(acme, 3)

    assert listed(acme) == {
        "next": None,
        "previous": None,
        "results": [acme.api.get(f"/api/v1/bookings/{each}").json() for each in made],
    }


def test_it_leads_through_pages_and_back(acme: Persona) -> None:
    made = book_many(acme, 7)

    forwards = list(pages(acme, listed(acme, limit=3)))
    backwards = list(pages(acme, forwards[-1], "previous"))

    assert [ids(page) for page in forwards] == [made[:3], made[3:6], made[6:]]
    assert forwards[0]["previous"] is None
    assert [each for page in backwards[::-1] for each in ids(page)] == made
    assert backwards[-1]["previous"] is None


def test_it_keeps_pages_in_place_while_newer_bookings_come_in(acme: Persona) -> None:
    made = book_many(acme, 4)
    first = listed(acme, limit=2)
    newer = book_many(acme, 3)

    second = follow(acme, first["next"])

    assert ids(second) == made[2:]
    assert ids(follow(acme, second["previous"])) == made[:2]
    assert newer[0] not in ids(second)


def test_it_keeps_filters_and_limit_from_page_to_page(acme: Persona) -> None:
    made = book_many(acme, 3)
    acme.book(booking_body(externalReference="other"))
    Booking.objects.filter(pk__in=made).update(external_reference="mine")

    found = list(pages(acme, listed(acme, externalReference="mine", limit=1)))

    assert [ids(page) for page in found] == [[each] for each in made]


def test_it_gives_fifty_unless_told_otherwise(acme: Persona) -> None:
    first = acme.book().json()["id"]
    one = Booking.objects.get()
    for _ in range(100):
        Booking.objects.create(
            tenant=one.tenant,
            location=one.location,
            request_digest=b"",
            wish=one.wish,
            calendar_id=one.calendar_id,
            starts_at=one.starts_at,
            expires_at=one.expires_at,
        )

    assert len(ids(listed(acme))) == 50
    assert len(ids(listed(acme, limit=100))) == 100
    assert len(ids(listed(acme, limit=1))) == 1
    assert ids(follow(acme, listed(acme, limit=100)["next"])) == [first]


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"status": "done"}, "status"),
        ({"status": ""}, "status"),
        ({"offset": "5"}, "offset"),
        ({"location_id": "x"}, "location_id"),
        ({"surprise": ""}, "surprise"),
        ({"createdFrom": "yesterday"}, "createdFrom"),
        ({"createdTo": "2026-01-01T00:00:00"}, "createdTo"),
        ({"startTimeFrom": "2026-01-01"}, "startTimeFrom"),
        ({"startTimeTo": "2026-02-30T00:00:00Z"}, "startTimeTo"),
        ({"externalReference": "a\x00b"}, "externalReference"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "////"}, "cursor"),
        ({"cursor": "cD1hYmM="}, "cursor"),  # p=abc
        ({"cursor": "cD0xMjM0AA=="}, "cursor"),  # with a NUL
        ({"cursor": "bz14JnA9MQ=="}, "cursor"),  # o=x&p=1
        ({"cursor": "é"}, "cursor"),
    ],
)
def test_it_refuses_parameters_it_does_not_understand(
    acme: Persona, parameters: dict[str, str], name: str
) -> None:
    answer = acme.api.get("/api/v1/bookings", parameters)

    problem = answer.json()
    assert answer.status_code == 400
    assert problem["code"] == "invalid_request"
    assert problem["requestId"] == answer.headers["X-Request-Id"]
    assert [error["pointer"] for error in problem["errors"]] == [f"/{name}"]


def test_it_filters_by_status(acme: Persona) -> None:
    booked = acme.book().json()["id"]
    work_once()
    pending = acme.book().json()["id"]

    assert ids(listed(acme, status="booked")) == [booked]
    assert ids(listed(acme, status="pending")) == [pending]
    assert ids(listed(acme, status="failed")) == []


@pytest.mark.parametrize(
    ("name", "mine", "other"),
    [
        ("calendarId", "calendarA", "calendarB"),
        ("contactId", "contactA", "contactB"),
        ("externalReference", "Ä/1", "ä/1"),
    ],
)
def test_it_filters_by_a_field(acme: Persona, name: str, mine: str, other: str) -> None:
    found = acme.book(booking_body(**{name: mine})).json()["id"]
    acme.book(booking_body(**{name: other}))

    assert ids(listed(acme, **{name: mine})) == [found]
    assert ids(listed(acme, **{name: "nobodys"})) == []


def test_it_filters_by_appointment(acme: Persona) -> None:
    booking_id = acme.book().json()["id"]
    acme.book(booking_body(startTime="2027-06-24T03:30:00+05:30", endTime=None))
    work_once()
    appointment_id = Booking.objects.get(pk=booking_id).appointment_id

    assert ids(listed(acme, appointmentId=appointment_id)) == [booking_id]


def test_it_filters_by_location(acme: Persona, connect: Callable[[str], Location]) -> None:
    acme.key.locations.add(connect(GLOBEX_LOCATION))
    here = acme.book().json()["id"]
    there = acme.book(booking_body(locationId=GLOBEX_LOCATION)).json()["id"]

    assert ids(listed(acme)) == [there, here]
    assert ids(listed(acme, locationId=GLOBEX_LOCATION)) == [there]


def test_it_filters_by_start_from_inclusive_to_exclusive(acme: Persona) -> None:
    early, middle, late = (
        acme.book(booking_body(startTime=f"2027-06-2{day}T10:00:00+05:30", endTime=None)).json()["id"]
        for day in (1, 2, 3)
    )
    # The same instant as the middle one's start, in another zone.
    at = "2027-06-22T04:30:00Z"

    assert ids(listed(acme, startTimeFrom=at)) == [late, middle]
    assert ids(listed(acme, startTimeTo=at)) == [early]
    assert ids(listed(acme, startTimeFrom="2027-06-21T00:00:00+05:30", startTimeTo=at)) == [early]


def test_it_filters_by_acceptance_with_the_times_it_shows(acme: Persona) -> None:
    early, middle, late = (acme.book().json() for _ in range(3))

    assert ids(listed(acme, createdFrom=middle["createdAt"])) == [late["id"], middle["id"]]
    assert ids(listed(acme, createdTo=middle["createdAt"])) == [early["id"]]
    a_moment_later = datetime.fromisoformat(middle["createdAt"]) + timedelta(microseconds=1)
    assert ids(listed(acme, createdFrom=a_moment_later.isoformat())) == [late["id"]]


def test_it_shows_a_tenant_nothing_of_another(acme: Persona, globex: Persona) -> None:
    ours = acme.book().json()["id"]
    theirs = globex.book(booking_body(locationId=GLOBEX_LOCATION)).json()["id"]

    assert ids(listed(acme)) == [ours]
    assert ids(listed(globex)) == [theirs]
    assert ids(listed(globex, locationId=acme.location.pk)) == []


def test_it_shows_a_key_only_the_locations_it_covers(
    acme: Persona, connect: Callable[[str], Location]
) -> None:
    acme.book()
    elsewhere = connect(GLOBEX_LOCATION)
    key, text = keys.issue(acme.tenant, locations=[elsewhere])
    other_key = Persona(acme.tenant, elsewhere, key, text)
    there = other_key.book(booking_body(locationId=GLOBEX_LOCATION)).json()["id"]

    assert ids(listed(other_key)) == [there]


def test_it_shows_nothing_of_two_tenants_who_share_a_location(acme: Persona, globex: Persona) -> None:
    globex.key.locations.add(acme.location)
    ours = acme.book().json()["id"]

    assert ids(listed(globex)) == []
    assert globex.api.get(f"/api/v1/bookings/{ours}").status_code == 404


INDEXES = {
    "status": "booking_status",
    "locationId": "booking_location",
    "calendarId": "booking_calendar",
    "contactId": "booking_contact",
    "externalReference": "booking_external_reference",
    "appointmentId": "one_owner_per_appointment",
    "startTime": "booking_start",
    # By the id, whose index the order wants as well.
    "created": "id >=",
}


def test_it_reads_an_index_for_each_filter(db: None) -> None:
    """On twenty thousand rows, from which on PostgreSQL prefers one; `make bench` does it on a million."""
    key = listing.store("acme", 20_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")

    plans = {name: listing.plan(key, parameters) for name, parameters in listing.filters(20_000).items()}

    assert {name: index for name, index in INDEXES.items() if index not in plans[name]} == {}
    assert {name for name, plan in plans.items() if "Seq Scan on appointments_booking" in plan} == set()


def test_it_shows_the_timeline_in_pages(acme: Persona) -> None:
    acme.book()
    work_once()
    path = f"/api/v1/bookings/{Booking.objects.get().pk}/timeline"
    whole = acme.api.get(path).json()
    assert (whole["next"], whole["previous"], len(whole["results"])) == (None, None, 3)

    first = acme.api.get(path, {"limit": 2}).json()
    last = acme.api.get(first["next"]).json()

    assert first["results"] + last["results"] == whole["results"]
    assert (last["next"], acme.api.get(last["previous"]).json()) == (None, first)


def test_it_shows_locations_in_pages(acme: Persona, connect: Callable[[str], Location]) -> None:
    acme.key.locations.add(connect(GLOBEX_LOCATION))
    whole = acme.api.get("/api/v1/locations").json()["results"]

    first = acme.api.get("/api/v1/locations", {"limit": 1}).json()
    last = acme.api.get(first["next"]).json()

    assert first["results"] + last["results"] == whole
    assert (len(first["results"]), last["next"]) == (1, None)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=cD1h", "page=2"])
def test_it_refuses_pages_that_there_are_not(acme: Persona, query: str) -> None:
    acme.book()
    for path in ("locations", f"bookings/{Booking.objects.get().pk}/timeline"):
        # `cD1h` is `p=a`: a place in a list of locations, and none in a timeline, whose rows have numbers.
        is_one = query == "cursor=cD1h" and path == "locations"
        answer = acme.api.get(f"/api/v1/{path}?{query}")
        assert answer.status_code == (200 if is_one else 400), (path, answer.content)
