"""The contact endpoints: create, upsert, read, search for a duplicate, a contact's appointments.

Not here: whether a contact may be booked (appointments.py).
"""

import re
from datetime import datetime, timedelta
from typing import Any

from werkzeug import Response

from sandbox import shapes, times
from sandbox.answers import Refusal, answer, trace_id, unknown
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
_CREATE = {name: field for name, field in _UPSERT.items() if name != "createNewIfDuplicateAllowed"}
_NOT_KEPT = frozenset({"locationId", "createNewIfDuplicateAllowed", "inboundDndSettings", "customFields"})
_NOT_PHONE = re.compile(r"[^\d+]")
# A field, what holds the additional ones, and how two values are compared.
_EMAIL = ("email", "additionalEmails", str.lower)
_PHONE = ("phone", "additionalPhones", lambda phone: _NOT_PHONE.sub("", phone))


def create(call: Call) -> Response:
    check(call.body, _CREATE)
    given, location_id = _given(call), call.body["locationId"]
    if not call.world.settings.duplicate_contacts_allowed:
        for field in ("email", "phone"):
            if found := _match(call.world, location_id, **{field: given.get(field)}):
                raise _duplicate(call, found, field)
    contact = call.world.add_contact(location_id, **given)
    return answer(_answered(call, contact), _made(call, documented=201))


def _made(call: Call, documented: int) -> int:
    """Another one than is documented has been seen, and any 2xx is to be taken."""
    other = {200: 201, 201: 200}[documented]
    return documented if call.world.forms.pick("success_status") == "200" else other


def _answered(call: Call, contact: Contact, **more: Any) -> dict[str, Any]:
    """The contact in an envelope, of whose other keys none is required, as none of the contact's is."""
    forms = call.world.forms
    shown = forms.shown(_shape(contact), frozenset({"id"}), "contact_optional")
    trace = {"traceId": trace_id()} if forms.pick("trace") == "there" else {}
    optional = more if forms.pick("contact_optional") == "full" else {}
    return {**optional, "contact": shown, **trace}


def _duplicate(call: Call, contact: Contact, field: str) -> Refusal:
    meta = {"contactId": contact.id, "contactName": contact.name, "matchingField": field}
    if call.world.forms.pick("duplicate_meta") == "id_alone":
        meta = {"contactId": contact.id}
    message = "This location does not allow duplicated contacts."
    return Refusal(400, {"statusCode": 400, "message": message, "meta": meta, "traceId": trace_id()})


def upsert(call: Call) -> Response:
    check(call.body, _UPSERT)
    given, location_id = _given(call), call.body["locationId"]
    found = None
    if not call.body.get("createNewIfDuplicateAllowed"):
        found = _match(call.world, location_id, email=given.get("email"), phone=given.get("phone"))
    if found is None:
        contact = call.world.add_contact(location_id, **given)
    else:
        contact = _overwrite(call.world, found, given)
    return answer(_answered(call, contact, new=found is None), _made(call, documented=200))


def read(call: Call) -> Response:
    return answer(_answered(call, _contact(call)))


def appointments(call: Call) -> Response:
    contact = _contact(call)
    entries = call.world.diary.of_contact(contact.id, call.world.settings.list_lag_seconds)
    listed = [shapes.contact_event(call.world, entry) for entry in entries]
    return answer({"events": call.world.forms.ordered(listed)})


def search_duplicate(call: Call) -> Response:
    check(call.query, {"locationId": Field(required=True)}, strict=False)
    # The phone goes by `number`; what is sent as `phone` finds nothing, here as there.
    found = _match(
        call.world,
        call.query["locationId"],
        email=call.query.get("email"),
        phone=call.query.get("number"),
        # Of all the ways to a contact the search alone goes by an index that is behind.
        until=call.world.clock.now() - timedelta(seconds=call.world.settings.list_lag_seconds),
    )
    if found is None:
        return answer({"contact": None} if call.world.forms.pick("nobody_found") == "null" else {})
    answered = _answered(call, found)
    return answer(answered["contact"] if call.world.forms.pick("contact_envelope") == "bare" else answered)


def _contact(call: Call) -> Contact:
    contact_id = call.path_args["contact_id"]
    contact = call.world.contacts.get(contact_id)
    if contact is None:
        raise unknown(400, f"Contact with id {contact_id} not found")
    own(call, contact.location_id)
    return contact


def _given(call: Call) -> dict[str, Any]:
    given = {name: value for name, value in call.body.items() if name not in _NOT_KEPT and value is not None}
    return given | _split_name(given)


def _match(
    world: World, location_id: str, *, email: Any = None, phone: Any = None, until: datetime | None = None
) -> Contact | None:
    """By e-mail first, then by phone, additional ones too; with neither nobody matches."""
    contacts = world.contacts_by_location.get(location_id, [])
    for wanted, (field, others, normal) in ((email, _EMAIL), (phone, _PHONE)):
        for contact in contacts if wanted else ():
            if until is not None and contact.added_at > until:
                continue
            if normal(str(wanted)) in map(normal, _values(contact, field, others)):
                return contact
    return None


def _values(contact: Contact, field: str, others: str) -> list[str]:
    """A field's value and the additional ones, which HighLevel keeps as objects of the same field."""
    additional: Any = contact.details.get(others) or []
    given = [contact.details.get(field), *(each.get(field) for each in additional)]
    return [str(each) for each in given if each]


def _overwrite(world: World, contact: Contact, given: dict[str, Any]) -> Contact:
    """What is given replaces what was, tags and main e-mail address too; another's phone is dropped in silence."""
    phones_owner = _match(world, contact.location_id, phone=given.get("phone"))
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
