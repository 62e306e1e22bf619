"""The contact endpoints: upsert, read, search for a duplicate, a contact's appointments.

Not here: whether a contact may be booked (appointments.py).
"""

import re
from typing import Any

from werkzeug import Response

from sandbox import shapes, times
from sandbox.answers import answer, refusal, trace_id
from sandbox.calls import Call
from sandbox.gates import own
from sandbox.records import Contact
from sandbox.validation import Field, check
from sandbox.world import World

_NAMES = ("firstName", "lastName", "name", "email", "phone", "gender", "companyName", "dateOfBirth")
_PLACES = (
    "address1",
    "city",
    "state",
    "postalCode",
    "country",
    "timezone",
    "website",
    "source",
    "assignedTo",
)
_UPSERT = {
    "locationId": Field(required=True),
    **{name: Field(nullable=True) for name in (*_NAMES, *_PLACES)},
    "dnd": Field("boolean"),
    "dndSettings": Field("object"),
    "inboundDndSettings": Field("object"),
    "tags": Field("array"),
    "customFields": Field("array"),
    "createNewIfDuplicateAllowed": Field("boolean"),
}
_NOT_KEPT = frozenset({"locationId", "createNewIfDuplicateAllowed", "inboundDndSettings", "customFields"})
_NOT_DIGITS = re.compile(r"[^\d]")


def upsert(call: Call) -> Response:
    check(call.body, _UPSERT)
    given = {name: value for name, value in call.body.items() if name not in _NOT_KEPT and value is not None}
    given |= _split_name(given)
    location_id = call.body["locationId"]
    found = None
    if not call.body.get("createNewIfDuplicateAllowed"):
        found = _match(call.world, location_id, given.get("email"), given.get("phone"))
    if found is None:
        contact = call.world.add_contact(location_id, **given)
    else:
        contact = _overwrite(call.world, found, given)
    return answer({"new": found is None, "contact": _shape(contact), "traceId": trace_id()})


def read(call: Call) -> Response:
    return answer({"contact": _shape(_contact(call)), "traceId": trace_id()})


def appointments(call: Call) -> Response:
    contact = _contact(call)
    entries = call.world.diary.of_contact(contact.id, call.world.settings.list_lag_seconds)
    return answer({"events": [shapes.contact_event(call.world, entry) for entry in entries]})


def search_duplicate(call: Call) -> Response:
    check(call.query, {"locationId": Field(required=True)}, strict=False)
    # The phone goes by `number`; what is sent as `phone` finds nothing, here as there.
    found = _match(call.world, call.query["locationId"], call.query.get("email"), call.query.get("number"))
    return answer({"contact": _shape(found) if found else None, "traceId": trace_id()})


def _contact(call: Call) -> Contact:
    contact_id = call.path_args["contact_id"]
    contact = call.world.contacts.get(contact_id)
    if contact is None:
        raise refusal(400, f"Contact with id {contact_id} not found")
    own(call, contact.location_id)
    return contact


def _match(world: World, location_id: str, email: Any, phone: Any) -> Contact | None:
    """By e-mail first, then by phone; with neither nobody matches."""
    contacts = world.contacts_by_location.get(location_id, [])
    for wanted, field, normal in ((email, "email", str.lower), (phone, "phone", _digits)):
        for contact in contacts if wanted else ():
            if normal(str(contact.details.get(field, ""))) == normal(str(wanted)):
                return contact
    return None


def _digits(phone: str) -> str:
    return _NOT_DIGITS.sub("", phone)


def _overwrite(world: World, contact: Contact, given: dict[str, Any]) -> Contact:
    """What is given replaces what was, tags too; a phone that is somebody else's is dropped in silence."""
    phones_owner = _match(world, contact.location_id, None, given.get("phone"))
    if phones_owner not in (None, contact):
        given = {name: value for name, value in given.items() if name != "phone"}
    contact.details |= given
    contact.updated_at = world.clock.now()
    return contact


def _split_name(given: dict[str, Any]) -> dict[str, str]:
    if not given.get("name") or given.get("firstName") or given.get("lastName"):
        return {}
    first, _, last = str(given["name"]).partition(" ")
    return {"firstName": first, "lastName": last}


def _shape(contact: Contact) -> dict[str, Any]:
    details = contact.details
    return {
        "tags": [],
        "customFields": [],
        "dnd": False,
        **details,
        "id": contact.id,
        "locationId": contact.location_id,
        "name": contact.name,
        "emailLowerCase": str(details.get("email", "")).lower(),
        "type": "lead",
        "dateAdded": times.utc(contact.added_at),
        "dateUpdated": times.utc(contact.updated_at),
    }
