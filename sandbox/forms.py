"""The forms that HighLevel leaves open: wherever it may answer in more than one way, each way is played in turn.

Which one comes next is drawn from `Settings.forms_seed`: the same seed and the same calls give the same answers.
Not here: what an answer says (the endpoint modules), what goes wrong with it (faults.py).
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Literal, TypeVar, get_args

from sandbox.settings import Settings

T = TypeVar("T")

Name = Literal[
    "bare_times",
    "contact_entry",
    "contact_envelope",
    "contact_optional",
    "created_answer",
    "dates",
    "duplicate_meta",
    "event_envelope",
    "event_optional",
    "extra_keys",
    "flags",
    "install_optional",
    "letter_optional",
    "list_order",
    "location_optional",
    "location_refresh_token",
    "nobody_found",
    "not_found_status",
    "notes",
    "refusal_message",
    "refusal_optional",
    "refusal_trace",
    "refused_grant",
    "status_key",
    "success_status",
    "times",
    "token_optional",
    "too_many_body",
    "trace",
]
# The first of each is how HighLevel's own pages write it, and the only one where there is no seed.
FORMS: Mapping[Name, tuple[str, ...]] = {
    # The zone of times without an offset, which nobody has documented.
    "bare_times": ("location", "utc"),
    # Of a contact's appointment the official schema requires nothing.
    "contact_entry": ("full", "no_dates", "no_title", "no_contact", "underscore_id", "id_alone"),
    # Of a search for a contact, whose answer has no schema.
    "contact_envelope": ("contact", "bare"),
    # Of a contact the official schemas require nothing: not even what it was just given.
    "contact_optional": ("full", "id_alone"),
    # Beside the four fields that the answer to a create must hold.
    "created_answer": ("full", "required_alone"),
    # dateAdded and dateUpdated of events and webhooks.
    "dates": ("utc_milliseconds", "offset_milliseconds", "offset_seconds"),
    # What the refusal of a contact that is there already says of it.
    "duplicate_meta": ("full", "id_alone"),
    "event_envelope": ("event", "appointment"),
    "event_optional": ("full", "required_alone"),
    "extra_keys": ("none", "some"),
    # The schema says boolean, its example is the string "true".
    "flags": ("boolean", "string"),
    # Of an entry of the app's installs, and of their list.
    "install_optional": ("full", "required_alone"),
    # Of an INSTALL all but its type and whose it is may be missing, or empty; of an appointment, what the reader
    # can do without.
    "letter_optional": ("full", "absent", "empty"),
    "list_order": ("by_start", "reversed", "shuffled"),
    # Of a sub-account the official schema requires nothing.
    "location_optional": ("full", "no_company", "no_country"),
    # The official schema leaves it out, live answers have it.
    "location_refresh_token": ("there", "absent"),
    "nobody_found": ("null", "absent"),
    # Of a contact, calendar or event that there is not.
    "not_found_status": ("as_seen", "400", "404"),
    # Written as description, and read back under either name.
    "notes": ("both", "notes", "description"),
    "refusal_message": ("string", "array"),
    # Beside the message.
    "refusal_optional": ("full", "message_alone"),
    "refusal_trace": ("absent", "there"),
    # Of a dead refresh token: today's words, or those of RFC 6749.
    "refused_grant": ("message", "oauth_pair"),
    "status_key": ("both", "misspelt", "right"),
    "success_status": ("200", "201"),
    # Starts and ends.
    "times": ("offset", "utc", "utc_milliseconds"),
    "token_optional": ("full", "required_alone", "token_alone"),
    # Of a 429, which is not documented.
    "too_many_body": ("json", "text", "empty"),
    "trace": ("there", "absent"),
}


class Forms:
    """Draws a form for each answer. `pin` fixes some of them, whatever the seed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seed: int | None = None
        self._draws: dict[str, Random] = {}
        self.pinned: dict[str, str] = {}

    def pin(self, **forms: str | None) -> None:
        """`pin(dates="offset_seconds")`; None leaves it to the seed again. An unknown name or form: ValueError."""
        for name, form in forms.items():
            if name not in get_args(Name):
                raise ValueError(f"no form is called {name}; there are {', '.join(FORMS)}")
            if form is not None and form not in FORMS[name]:  # type: ignore[index]
                raise ValueError(f"{name} has no form {form}; there are {', '.join(FORMS[name])}")  # type: ignore[index]
        for name, form in forms.items():
            self.pinned.pop(name, None)
            if form is not None:
                self.pinned[name] = form

    def pick(self, name: Name) -> str:
        if name in self.pinned:
            return self.pinned[name]
        draw = self._draw(name)
        return draw.choice(FORMS[name]) if draw else FORMS[name][0]

    def ordered(self, entries: Sequence[T]) -> list[T]:
        """The entries of a list, in no promised order."""
        listed, order = list(entries), self.pick("list_order")
        if order == "shuffled" and (draw := self._draw("shuffle")):
            draw.shuffle(listed)
        return listed[::-1] if order == "reversed" else listed

    def shown(
        self, record: dict[str, Any], required: frozenset[str] | Mapping[str, frozenset[str]], optional: Name
    ) -> dict[str, Any]:
        """The record with, or without, what the schema does not require; perhaps with keys nobody has heard of.

        `required`: the keys that all forms have, or those that each form but the first one has.
        """
        if (form := self.pick(optional)) != FORMS[optional][0]:
            kept = required[form] if isinstance(required, Mapping) else required
            record = {key: value for key, value in record.items() if key in kept}
        extra = {"__v": 0, "unheardOf": {"of": [None]}} if self.pick("extra_keys") == "some" else {}
        return {**record, **extra}

    def flag(self, value: bool) -> bool | str:
        return str(value).lower() if self.pick("flags") == "string" else value

    def refusal(self, status: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """A message is a string or a list, and every refusal may carry a traceId, a title, its status once more."""
        changed = dict(body)
        if "message" in body and self.pick("refusal_optional") == "message_alone":
            changed = {name: body[name] for name in body if name not in {"statusCode", "error"}}
        if status == 422 and isinstance(body.get("message"), str) and self.pick("refusal_message") == "array":
            changed["message"] = [body["message"]]
        if "traceId" not in body and self.pick("refusal_trace") == "there":
            changed["traceId"] = "00000000-0000-4000-8000-000000000000"
        return changed

    def _draw(self, name: str) -> Random | None:
        if self._settings.forms_seed != self._seed:
            self._seed = self._settings.forms_seed
            self._draws.clear()
        if self._seed is None:
            return None
        if name not in self._draws:
            self._draws[name] = Random(f"{self._seed} {name}")  # noqa: S311
        return self._draws[name]
