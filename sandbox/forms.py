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
    "created_answer",
    "dates",
    "event_envelope",
    "event_optional",
    "extra_keys",
    "flags",
    "list_order",
    "notes",
    "refusal_message",
    "refusal_trace",
    "status_key",
    "success_status",
    "token_optional",
    "trace",
]
# The first of each is how HighLevel's own pages write it, and the only one where there is no seed.
FORMS: Mapping[Name, tuple[str, ...]] = {
    # The zone of times without an offset, which nobody has documented.
    "bare_times": ("location", "utc"),
    # Of a contact's appointment the official schema requires nothing.
    "contact_entry": ("full", "no_dates", "no_title", "no_contact", "underscore_id", "id_alone"),
    # Beside the four fields that the answer to a create must hold.
    "created_answer": ("full", "required_alone"),
    # dateAdded and dateUpdated of events and webhooks.
    "dates": ("utc_milliseconds", "offset_milliseconds", "offset_seconds"),
    "event_envelope": ("event", "appointment"),
    "event_optional": ("full", "required_alone"),
    "extra_keys": ("none", "some"),
    # The schema says boolean, its example is the string "true".
    "flags": ("boolean", "string"),
    "list_order": ("by_start", "reversed", "shuffled"),
    # Written as description, and read back under either name.
    "notes": ("both", "notes", "description"),
    "refusal_message": ("string", "array"),
    "refusal_trace": ("absent", "there"),
    "status_key": ("both", "misspelt", "right"),
    "success_status": ("200", "201"),
    "token_optional": ("full", "required_alone"),
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

    def shown(self, record: dict[str, Any], required: frozenset[str], optional: Name) -> dict[str, Any]:
        """The record with, or without, what the schema does not require; perhaps with keys nobody has heard of."""
        if self.pick(optional) == "required_alone":
            record = {key: value for key, value in record.items() if key in required}
        extra = {"__v": 0, "unheardOf": {"of": [None]}} if self.pick("extra_keys") == "some" else {}
        return {**record, **extra}

    def flag(self, value: bool) -> bool | str:
        return str(value).lower() if self.pick("flags") == "string" else value

    def refusal(self, status: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """A message is a string or a list, and every refusal may carry a traceId."""
        changed = dict(body)
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
