"""What we write: our names to HighLevel's, strictly."""

import pytest

from ghl.types import (
    APPOINTMENT_FIELDS,
    CHANGE_FIELDS,
    CONTACT_FIELDS,
    appointment_body,
    change_body,
    contact_body,
    wire_name,
)

EVERYTHING = {
    "calendar_id": "cal1",
    "location_id": "loc1",
    "contact_id": "con1",
    "start_time": "2021-06-23T03:30:00+05:30",
    "end_time": "2021-06-23T04:30:00+05:30",
    "title": "Prüfung ✂",
    "meeting_location_type": "custom",
    "meeting_location_id": "custom_0",
    "override_location_config": True,
    "appointment_status": "confirmed",
    "assigned_user_id": "usr1",
    "description": "Booking a call",
    "address": "Zoom",
    "ignore_date_range": False,
    "to_notify": False,
    "ignore_free_slot_validation": True,
    "rrule": "RRULE:FREQ=DAILY;COUNT=2",
}
WIRE = {
    "calendarId": "cal1",
    "locationId": "loc1",
    "contactId": "con1",
    "startTime": "2021-06-23T03:30:00+05:30",
    "endTime": "2021-06-23T04:30:00+05:30",
    "title": "Prüfung ✂",
    "meetingLocationType": "custom",
    "meetingLocationId": "custom_0",
    "overrideLocationConfig": True,
    "appointmentStatus": "confirmed",
    "assignedUserId": "usr1",
    "description": "Booking a call",
    "address": "Zoom",
    "ignoreDateRange": False,
    "toNotify": False,
    "ignoreFreeSlotValidation": True,
    "rrule": "RRULE:FREQ=DAILY;COUNT=2",
}


def test_all_seventeen_fields_of_a_new_appointment_reach_the_wire_unchanged() -> None:
    assert len(APPOINTMENT_FIELDS) == 17
    assert appointment_body(EVERYTHING) == WIRE


def test_a_change_takes_fifteen_fields() -> None:
    fields = {name: EVERYTHING[name] for name in CHANGE_FIELDS}

    assert len(CHANGE_FIELDS) == 15
    assert change_body(fields) == {wire_name(name): EVERYTHING[name] for name in CHANGE_FIELDS}


def test_what_is_none_is_left_out_and_what_is_false_or_empty_is_not() -> None:
    assert appointment_body({"title": None, "to_notify": False, "address": ""}) == {
        "toNotify": False,
        "address": "",
    }


@pytest.mark.parametrize("name", ["startTime", "tags", "metadata"])
def test_an_unknown_field_is_refused_and_named(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        appointment_body({name: "x"})


@pytest.mark.parametrize("name", ["location_id", "contact_id"])
def test_a_change_cannot_move_an_appointment_to_somebody_else(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        change_body({name: "x"})


def test_a_contact_is_written_without_tags() -> None:
    assert "tags" not in CONTACT_FIELDS
    with pytest.raises(ValueError, match="tags"):
        contact_body({"email": "a@b.test", "tags": ["x"]})


def test_a_contacts_fields_reach_the_wire() -> None:
    fields = {"location_id": "loc1", "first_name": "Ada", "custom_fields": [{"id": "f1", "field_value": "x"}]}

    assert contact_body(fields) == {
        "locationId": "loc1",
        "firstName": "Ada",
        "customFields": [{"id": "f1", "field_value": "x"}],
    }
