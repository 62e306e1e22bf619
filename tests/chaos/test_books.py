"""How a booking is judged: each way in which it can be lost or doubled, and those in which it is as it should be."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.chaos.books import Verdict, judge
from tests.chaos.plan import Errand, Step
from tests.chaos.stack import Place
from tests.chaos.table import table
from tests.chaos.tenants import Record

PLACE = Place("acme", "location", "calendar", "user", "contact", seats=1)
TOKEN = "s1b1f0n0001."
WISH = {"startTime": "2031-01-06T09:00:00Z", "title": f"Chaos {TOKEN}"}
LATER = {**WISH, "startTime": "2031-01-06T11:00:00Z"}


def record(*wishes: dict[str, str], **changes: Any) -> Record:
    steps = (Step(0, "cancel"),)
    errand = Errand(TOKEN, "cut_after", PLACE, 0, WISH, steps=steps)
    return Record(errand, **{"booking_id": "b1", "wishes": list(wishes or [WISH]), **changes})


def booking(**changes: Any) -> dict[str, Any]:
    answer = {
        **WISH,
        "status": "booked",
        "inSync": True,
        "appointmentId": "a1",
        "appointmentStatus": "confirmed",
        "error": None,
        "createdAt": "2030-01-01T00:00:00Z",
        "updatedAt": "2030-01-01T00:00:02.5Z",
    }
    return {**answer, **changes}


def appointment(number: str = "a1", **changes: Any) -> dict[str, Any]:
    return {**WISH, "id": number, "appointmentStatus": "confirmed", **changes}


def verdict(record: Record, bookings: list[dict[str, Any]], appointments: list[dict[str, Any]]) -> Verdict:
    (found,) = judge([record], bookings, appointments)
    return found


GONE = {"appointmentStatus": "cancelled"}
NO_SHOW = {"appointmentStatus": "noshow"}
REJECTED = {"status": "rejected", "inSync": False, "appointmentId": None}


@pytest.mark.parametrize(
    ("known", "bookings", "appointments"),
    [
        pytest.param(record(), [booking()], [appointment()], id="booked once"),
        pytest.param(record(), [booking()], [appointment(startTime="2031-01-06T14:30:00+05:30")], id="zones"),
        pytest.param(record(), [booking(**REJECTED)], [], id="rejected"),
        pytest.param(record(), [booking(status="failed")], [appointment(**GONE)], id="failed"),
        pytest.param(record(cancelled=True), [booking(status="cancelled")], [appointment(**GONE)], id="cancelled"),
        pytest.param(record(), [booking()], [appointment(), appointment("a2", **GONE)], id="one cancelled"),
        pytest.param(record(WISH, LATER), [booking(**LATER)], [appointment(**LATER)], id="moved"),
        pytest.param(record(WISH, LATER), [booking(error={"code": "x"})], [appointment()], id="taken back"),
        pytest.param(record(doubtful=[LATER]), [booking(**LATER)], [appointment(**LATER)], id="perhaps moved"),
        pytest.param(record(booking_id=None, wishes=[]), [], [], id="never accepted"),
        pytest.param(record(booking_id=None, wishes=[]), [booking()], [appointment()], id="accepted unheard"),
        pytest.param(
            record(),
            [booking(appointmentId="m1")],
            [appointment("m1_2", masterEventId="m1", **LATER), appointment("m1_1", masterEventId="m1")],
            id="a series counts once",
        ),
    ],
)  # fmt: skip
def test_it_is_as_it_should_be(known: Record, bookings: list[Any], appointments: list[Any]) -> None:
    assert verdict(known, bookings, appointments).good


@pytest.mark.parametrize(
    ("known", "bookings", "appointments", "why"),
    [
        (record(), [], [], "unknown to the API"),
        (record(booking_id=None, wishes=[]), [], [appointment()], "no booking is for"),
        (record(), [booking(status="pending", inSync=False)], [], "still pending"),
        (record(), [booking(status="on_hold", inSync=False)], [], "still on_hold"),
        (record(), [booking(inSync=False)], [appointment()], "still booked"),
        (record(), [booking()], [], "no active appointment"),
        (record(), [booking()], [appointment(**GONE)], "no active appointment"),
        (record(), [booking()], [appointment("a2")], "no active appointment a1"),
        (record(), [booking()], [appointment(title="Chaos s1b1f0n0002.")], "no active appointment"),
        (record(), [booking()], [appointment(**LATER)], "HighLevel has startTime"),
        (record(), [booking()], [appointment(title=f"Chaos {TOKEN} other")], "HighLevel has title"),
        (record(WISH, LATER), [booking()], [appointment()], "the last accepted wish"),
        (record(), [booking(**REJECTED)], [appointment()], "rejected, and appointment a1 stands"),
        (record(cancelled=True), [booking()], [appointment()], "its cancel was accepted"),
    ],
)
def test_it_is_lost(known: Record, bookings: list[Any], appointments: list[Any], why: str) -> None:
    found = verdict(known, bookings, appointments)

    assert why in (found.lost or "")
    assert found.doubled is None


@pytest.mark.parametrize(
    ("bookings", "appointments"),
    [
        ([booking()], [appointment(), appointment("a2")]),
        ([booking()], [appointment(), appointment("a2", **LATER)]),
        ([], [appointment(), appointment("a2")]),
        ([booking(), booking(appointmentId="a2")], [appointment()]),
    ],
)
def test_it_is_doubled(bookings: list[Any], appointments: list[Any]) -> None:
    assert verdict(record(), bookings, appointments).doubled


def test_what_staff_did_is_as_it_should_be_where_both_sides_say_so() -> None:
    moved = record(staff=[{"start_time": LATER["startTime"]}])
    marked = record(staff=[{"status": "noshow"}])
    ended = record(staff=[{"delete": True}])

    assert verdict(moved, [booking(**LATER)], [appointment(**LATER)]).good
    assert verdict(moved, [booking()], [appointment()]).good
    assert verdict(marked, [booking(**NO_SHOW)], [appointment(**NO_SHOW)]).good
    assert verdict(ended, [booking(status="cancelled")], []).good


@pytest.mark.parametrize(
    ("act", "shown", "appointments", "why"),
    [
        ({"start_time": LATER["startTime"]}, {}, [appointment(**LATER)], "HighLevel has startTime"),
        (
            {"status": "noshow"},
            {},
            [appointment(appointmentStatus="noshow")],
            "HighLevel has appointmentStatus",
        ),
        ({"delete": True}, {}, [], "no active appointment"),
        (
            {"title": "other"},
            {"status": "cancelled"},
            [appointment()],
            "cancelled, and appointment a1 stands",
        ),
        ({"title": "other"}, {"status": "cancelled"}, [], "nobody has asked for that"),
        ({"title": "other"}, LATER, [appointment(**LATER)], "the last accepted wish"),
    ],
)
def test_what_staff_did_is_lost_where_the_two_sides_differ(
    act: dict[str, Any], shown: dict[str, Any], appointments: list[Any], why: str
) -> None:
    known = replace(record(staff=[act]), errand=replace(record().errand, steps=()))

    assert why in (verdict(known, [booking(**shown)], appointments).lost or "")


def test_the_delay_counts_from_the_last_wish() -> None:
    wished_at = datetime(2030, 1, 1, 0, 0, 1, tzinfo=UTC)

    assert verdict(record(), [booking()], [appointment()]).delay_seconds == 2.5
    assert verdict(record(last_wish_at=wished_at), [booking()], [appointment()]).delay_seconds == 1.5


def test_the_table_has_a_row_for_each_fault_and_one_for_all() -> None:
    verdicts = judge([record()], [booking()], [appointment(), appointment("a2")])

    header, row, everything = (
        line.split() for line in table(verdicts, ["cut_before", "cut_after"]).splitlines()
    )

    assert header[:3] == ["fault", "accepted", "booked"]
    assert row == ["cut_after", "1", "1", "0", "0", "0", "0", "0", "1", "2.5", "s"]
    assert everything[1:] == row[1:]
