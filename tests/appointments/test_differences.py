"""How wish, synced, known and what HighLevel shows are told apart; properties that hold for any of them."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appointments import differences
from appointments.differences import CHANGEABLE, OPTIONS, SHOWN
from appointments.times import instant, mistakes_of_end, moved
from ghl.types import Appointment, change_body

values = st.sampled_from(["a", "b", "c"])
seen = st.dictionaries(st.sampled_from(SHOWN), values)
fields = st.dictionaries(st.sampled_from([*CHANGEABLE, *OPTIONS]), values)
START = {"start_time": "2027-06-23T03:30:00+05:30"}
SAME_START = {"start_time": "2027-06-22T22:00:00Z"}


def test_it_knows_which_fields_it_may_send() -> None:
    assert set(SHOWN) <= set(CHANGEABLE)
    assert change_body(dict.fromkeys([*CHANGEABLE, *OPTIONS], "x"))
    assert "rrule" not in CHANGEABLE


def test_it_compares_times_by_their_instant() -> None:
    assert differences.same("start_time", START["start_time"], SAME_START["start_time"])
    assert not differences.same("title", START["start_time"], SAME_START["start_time"])
    assert not differences.same("start_time", START["start_time"], None)
    assert not differences.same("start_time", START["start_time"], "2027-06-23 03:30:00")
    assert differences.unsent(START, SAME_START) == {}
    assert differences.taken_over(START, START, START, SAME_START) == {}


def test_it_tells_true_from_left_out() -> None:
    assert differences.unsent({"override_location_config": False}, {}) == {"override_location_config": False}


@given(fields, fields)
def test_what_was_sent_is_sent_no_more(wish: dict[str, str], synced: dict[str, str]) -> None:
    todo = differences.unsent(wish, synced)

    assert differences.unsent(wish, differences.synced_after(wish, synced, todo)) == {}
    assert not todo.keys() & set(OPTIONS)


@given(fields, fields)
def test_what_is_taken_back_leaves_nothing_to_send(wish: dict[str, str], synced: dict[str, str]) -> None:
    back = differences.taken_back(wish, synced)

    assert differences.unsent(back, synced) == {}
    assert back.keys() <= wish.keys()
    assert differences.taken_back(back, synced) == back


def test_what_is_taken_back_keeps_what_cannot_be_changed() -> None:
    wish = {"rrule": "FREQ=DAILY", "title": "new", "to_notify": False, "address": "new"}

    assert differences.taken_back(wish, {"title": "old"}) == {"rrule": "FREQ=DAILY", "title": "old"}


@given(fields, fields, seen, seen)
def test_what_is_taken_over_is_not_sent_back(
    wish: dict[str, str], synced: dict[str, str], known: dict[str, str], found: dict[str, str]
) -> None:
    newer = differences.unsent(wish, synced)
    theirs = differences.taken_over(wish, synced, known, found)

    assert not theirs.keys() & newer.keys()
    assert differences.unsent({**wish, **theirs}, {**synced, **theirs}) == newer
    again = differences.taken_over({**wish, **theirs}, {**synced, **theirs}, {**known, **found}, found)
    assert again == {}


@given(fields, seen)
def test_nothing_is_taken_over_where_nothing_has_changed(wish: dict[str, str], found: dict[str, str]) -> None:
    assert differences.taken_over(wish, wish, found, found) == {}
    assert differences.taken_over({}, {}, {}, found) == {}


@given(seen, fields)
def test_a_change_has_landed_once_it_shows(before: dict[str, str], sent: dict[str, str]) -> None:
    after = {**before, **{name: sent[name] for name in sent if name in SHOWN}}

    assert differences.has_landed(sent, before, after) == (after != before)
    assert not differences.has_landed(sent, before, before)


def test_a_change_has_landed_although_some_of_it_was_changed_again() -> None:
    before = {"title": "old", **START}
    sent = {"title": "new", "start_time": "2027-06-23T05:00:00Z"}

    assert differences.has_landed(sent, before, {**sent, "start_time": "2027-06-23T06:00:00Z"})
    assert not differences.has_landed(sent, before, {**before, "title": "theirs"})


def test_what_highlevel_does_not_show_is_to_be_sent_again() -> None:
    synced = {"meeting_location_id": "old", "title": "old", "override_location_config": True}

    left = differences.without_unseen(synced, {"meeting_location_id": "new", "title": "new"})

    assert left == {"title": "old", "override_location_config": True}


def test_an_answer_to_a_change_tells_of_what_was_sent_alone() -> None:
    known = {"title": "old", "address": "here", **START, "end_time": "e1"}
    seen_now = {"title": "new", "address": "elsewhere", **SAME_START, "end_time": "e2"}

    assert differences.known_after(known, {"title": "new"}, seen_now) == {**known, "title": "new"}
    moved_on = differences.known_after(known, SAME_START, seen_now)
    assert moved_on == {**known, **SAME_START, "end_time": "e2"}
    # What moves with it, and is not told, is known no more.
    assert "end_time" not in differences.known_after(known, SAME_START, {})


@pytest.mark.parametrize(
    ("found", "is_as_sent"),
    [
        ({"start_time": SAME_START["start_time"], "title": "t"}, True),
        ({"start_time": SAME_START["start_time"], "title": "t", "appointment_status": "new"}, True),
        ({"start_time": "2027-06-23T05:00:00Z", "title": "t"}, False),
        ({"start_time": SAME_START["start_time"], "title": "other"}, False),
        ({"start_time": SAME_START["start_time"], "title": "t", "appointment_status": "cancelled"}, False),
        ({"start_time": SAME_START["start_time"], "title": "t", "deleted": True}, False),
    ],
)
def test_it_sees_whether_anybody_has_touched_what_was_made(found: Any, is_as_sent: bool) -> None:
    sent = {**START, "title": "t", "contact_id": "c", "meeting_location_id": "m"}

    assert differences.is_as_sent(Appointment(id="a", **found), sent) is is_as_sent


offsets = st.integers(-12 * 60, 14 * 60).map(
    lambda minutes: f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
)
times = st.builds(
    lambda local, zone: local.replace(microsecond=0).isoformat() + zone,
    st.datetimes(*(datetime(year, 1, 1) for year in (1990, 2090))),  # noqa: DTZ001  (its zone is drawn beside it)
    st.just("Z") | offsets,
)


@given(times, st.integers(1, 10_000), times)
def test_a_move_keeps_the_duration(start: str, minutes: int, new_start: str) -> None:
    end = (instant(start) + timedelta(minutes=minutes)).isoformat()

    new_end = moved(end, start, new_start)

    assert instant(new_end) - instant(new_start) == timedelta(minutes=minutes)
    assert mistakes_of_end(new_start, new_end) == []
