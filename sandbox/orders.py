"""The control desk's orders to others: to staff, about appointments, and to the post, about letters.

Not here: the desk's routes as a whole, described in control.py; what staff and post do (staff.py, letters.py).
"""

from datetime import datetime
from typing import Any, cast

from werkzeug import Response

from sandbox import shapes, times
from sandbox.answers import answer
from sandbox.calls import Call
from sandbox.control import found, mistake
from sandbox.letters import PUBLIC_KEY_PEM, Letter
from sandbox.staff import Changes


def staff_book(call: Call) -> Response:
    world, body = call.world, call.body
    calendar = found(world.calendars, body.get("calendar_id"))
    contact = found(world.contacts, body.get("contact_id"))
    entry = world.staff_book(
        calendar.id, contact.id, _time(body.get("start_time")), str(body.get("title", ""))
    )
    return answer(shapes.event(world, entry), 201)


def staff_change(call: Call) -> Response:
    world, event_id = call.world, call.path_args["event_id"]
    if not world.diary.series(event_id):
        raise mistake(f"no appointment is called {event_id}")
    if call.body.get("delete"):
        world.staff_delete(event_id)
        return answer({"deleted": True})
    changed = world.staff_change(event_id, **_changes(call))
    return answer({"appointments": [shapes.event(world, entry) for entry in changed]})


def _changes(call: Call) -> Changes:
    changes = dict(call.body)
    changes.pop("delete", None)
    if unknown := changes.keys() - Changes.__annotations__.keys():
        raise mistake(f"an appointment has no {', '.join(sorted(unknown))}")
    for name in changes.keys() & {"start_time", "end_time"}:
        changes[name] = _time(changes[name])
    if "calendar_id" in changes:
        found(call.world.calendars, changes["calendar_id"])
    return cast("Changes", changes)


def _time(text: Any) -> datetime:
    moment = times.parse(text) if isinstance(text, str) else None
    if moment is None:
        raise mistake(f"{text!r} is no ISO 8601 time with an offset")
    return moment


def letters(call: Call) -> Response:
    kind, state = call.query.get("type"), call.query.get("state")
    shown = [
        _letter(letter)
        for letter in call.world.letters
        if kind in (None, letter.type) and state in (None, letter.state)
    ]
    return answer({"letters": shown, "public_key": PUBLIC_KEY_PEM})


def send_letters(call: Call) -> Response:
    letters, body = call.world.letters, call.body
    try:
        if "release" in body:
            sent = letters.release(body["release"] if isinstance(body["release"], list) else None)
        elif "drop" in body:
            sent = [letters.drop(body["drop"])]
        elif "send_again" in body:
            sent = [letters.send_again(body["send_again"])]
        else:
            sent = [letters.post(body["body"])]
    except KeyError as error:
        raise mistake(f"no letter or order is called {error}") from error
    return answer({"letters": [_letter(letter) for letter in sent]})


def _letter(letter: Letter) -> dict[str, Any]:
    return {
        "webhook_id": letter.webhook_id,
        "type": letter.type,
        "state": letter.state,
        "attempts": letter.attempts,
        "answers": letter.answers,
        "headers": letter.headers,
        # As text, so that the bytes can be sent on as they were signed.
        "body": letter.body.decode(),
    }
