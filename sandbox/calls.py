"""One call to the pretend HighLevel, as the endpoints see it, and the log of all of them.

Not here: routing (app.py), who may call (gates.py).
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from werkzeug import Request

from sandbox.answers import Refusal, bare_bad_request
from sandbox.tokens import Grant

if TYPE_CHECKING:
    from sandbox.world import World

_KEPT = 50_000


@dataclass
class Call:
    world: "World"
    request: Request
    operation: str
    path_args: dict[str, str]
    # Set by the gates, for the endpoints behind them.
    grant: Grant | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @cached_property
    def body(self) -> dict[str, Any]:
        """The JSON object or form that was sent; `bare_bad_request` where it is neither."""
        if self.request.mimetype == "application/x-www-form-urlencoded":
            return self.request.form.to_dict()
        parsed = self.request.get_json(force=True, silent=True)
        if not isinstance(parsed, dict):
            raise bare_bad_request()
        return parsed

    @cached_property
    def query(self) -> dict[str, str]:
        return self.request.args.to_dict()

    @cached_property
    def fields(self) -> dict[str, Any]:
        """Everything the call names, for faults to match and for finding its location; no refusals here."""
        try:
            body = self.body if self.request.content_length else {}
        except Refusal:  # an unreadable body is the endpoint's to refuse
            body = {}
        return {**body, **self.query, **self.path_args}

    @property
    def bearer(self) -> str:
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    @property
    def location_id(self) -> str | None:
        grant = self.world.tokens.grant_of(self.bearer)
        named = grant.location_id if grant else None
        return named or self.fields.get("locationId")


@dataclass
class Record:
    """A line of the log; `outcome` is a status, "cut", or "in_flight" while it has no answer."""

    at: str
    operation: str
    method: str
    path: str
    location_id: str | None
    body: dict[str, Any]
    outcome: str = "in_flight"
    fault: str | None = None
    duration_ms: float | None = None


class CallLog:
    def __init__(self) -> None:
        self.records: deque[Record] = deque(maxlen=_KEPT)
        self.counts: Counter[tuple[str, str]] = Counter()

    def begin(self, record: Record) -> None:
        self.records.append(record)
        self.counts[record.operation, record.outcome] += 1

    def finish(self, record: Record, outcome: str, duration_ms: float) -> None:
        self.counts[record.operation, "in_flight"] -= 1
        self.counts[record.operation, outcome] += 1
        record.outcome = outcome
        record.duration_ms = round(duration_ms, 2)

    def summary(self) -> dict[str, dict[str, int]]:
        """Per operation and outcome, those that are nought left out."""
        table: dict[str, dict[str, int]] = {}
        for (operation, outcome), count in sorted(self.counts.items()):
            if count:
                table.setdefault(operation, {})[outcome] = count
        return table
