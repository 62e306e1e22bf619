"""Faults that can be ordered: what goes wrong, with which calls, how often, and how it looks from outside.

Not here: HighLevel's own refusals (answers.py), states of the world such as a suspended location (world.py).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from werkzeug import Response

from sandbox.answers import answer, invalid_token, refusal, too_many_requests

FaultKind = Literal[
    "too_many_requests",
    "error_500_before",
    "error_500_after",
    "refused_after",
    "cut_before",
    "cut_after",
    "hang_before",
    "hang_after",
    "html_502",
    "half_body",
    "truncated_json",
    "dribble",
    "token_revoked",
    "refresh_answer_lost",
]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

# What a fault may be ordered for, and what the log counts by.
Operation = Literal[
    "token",
    "location_token",
    "installed_locations",
    "create_appointment",
    "update_appointment",
    "get_appointment",
    "delete_event",
    "list_events",
    "list_calendars",
    "get_calendar",
    "free_slots",
    "create_contact",
    "upsert_contact",
    "search_duplicate",
    "get_contact",
    "contact_appointments",
    "get_location",
]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)

_BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class ConnectionCut(Exception):
    """The connection ends here: the server closes it, a WSGI transport sees this exception."""


@dataclass
class Fault:
    """One order. `times` None: until cleared. `match`: each text is part of that field of the call."""

    kind: FaultKind
    operation: str = "*"
    times: int | None = 1
    location_id: str | None = None
    match: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 1.0
    retry_after: str | int | None = None
    # Of html_502 alone: whether the work behind the broken gateway was done.
    done: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault is called {self.kind}; there are {', '.join(KINDS)}")
        if self.operation not in ("*", *OPERATIONS):
            raise ValueError(f"no operation is called {self.operation}; there are {', '.join(OPERATIONS)}")
        # Orders come in as JSON too, where no type checker has been.
        if not (isinstance(self.times, int | None) and isinstance(self.seconds, int | float)):
            raise TypeError("times must be a whole number or null, seconds a number")
        if not all(isinstance(text, str) for text in self.match.values()):
            raise ValueError("match must be texts by the names of fields")
        if self.kind == "refresh_answer_lost":
            self.operation = "token"
            self.match = {"grant_type": "refresh_token", **self.match}

    def fits(self, operation: str, location_id: str | None, fields: Mapping[str, Any]) -> bool:
        return (
            self.times != 0
            and self.operation in ("*", operation)
            and self.location_id in (None, location_id)
            and all(text in str(fields.get(name, "")) for name, text in self.match.items())
        )


class Faults:
    def __init__(self) -> None:
        self._ordered: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._ordered.append(fault)

    def clear(self) -> None:
        self._ordered.clear()

    def pending(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self._ordered if fault.times != 0]

    def take(
        self, operation: str, location_id: str | None, fields: Mapping[str, Any], *, bearer: bool
    ) -> Fault | None:
        """The first ordered fault that fits the call, used up by one."""
        for fault in self._ordered:
            if fault.kind == "token_revoked" and not bearer:
                continue
            if fault.fits(operation, location_id, fields):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None


@dataclass
class Scene:
    """What a fault plays with: the work it may do, the waiting, and the limits' headers for a 429."""

    work: Callable[[], Response]
    wait: Callable[[float], None]
    exhausted: Callable[[], dict[str, str]]


def play(fault: Fault, scene: Scene) -> Response:
    return _PLAYS[fault.kind](fault, scene)


def _too_many_requests(fault: Fault, scene: Scene) -> Response:
    retry_after = None if fault.retry_after is None else str(fault.retry_after)
    raise too_many_requests(scene.exhausted(), retry_after)


def _error_500_before(_fault: Fault, _scene: Scene) -> Response:
    return answer({"statusCode": 500, "message": "Internal server error"}, 500)


def _error_500_after(fault: Fault, scene: Scene) -> Response:
    scene.work()
    return _error_500_before(fault, scene)


def _refused_after(_fault: Fault, scene: Scene) -> Response:
    """Done, and refused all the same."""
    scene.work()
    raise refusal(422, ["appointment could not be processed"])


def _cut_before(_fault: Fault, _scene: Scene) -> Response:
    raise ConnectionCut


def _cut_after(_fault: Fault, scene: Scene) -> Response:
    scene.work()
    raise ConnectionCut


def _hang_before(fault: Fault, scene: Scene) -> Response:
    scene.wait(fault.seconds)
    raise ConnectionCut


def _hang_after(fault: Fault, scene: Scene) -> Response:
    scene.wait(fault.seconds)
    return scene.work()


def _html_502(fault: Fault, scene: Scene) -> Response:
    if fault.done:
        scene.work()
    return Response(_BAD_GATEWAY, 502, content_type="text/html; charset=UTF-8")


def _half_body(_fault: Fault, scene: Scene) -> Response:
    """The length of the whole body is promised, half of it comes, then the connection ends."""
    whole = scene.work()
    body = whole.get_data()

    def half() -> Iterator[bytes]:
        yield body[: len(body) // 2]
        raise ConnectionCut

    return _same_head(whole, half(), len(body))


def _truncated_json(_fault: Fault, scene: Scene) -> Response:
    """A complete answer of half a JSON text: the length is true, only the text is not."""
    whole = scene.work()
    half = whole.get_data()[: len(whole.get_data()) // 2]
    return _same_head(whole, iter([half]), len(half))


def _dribble(fault: Fault, scene: Scene) -> Response:
    whole = scene.work()
    body = whole.get_data()

    def drops() -> Iterator[bytes]:
        for position in range(len(body)):
            scene.wait(fault.seconds / len(body))
            yield body[position : position + 1]

    return _same_head(whole, drops(), len(body))


def _same_head(whole: Response, body: Iterator[bytes], length: int) -> Response:
    broken = Response(body, whole.status_code, whole.headers)
    broken.content_length = length
    return broken


def _token_revoked(_fault: Fault, _scene: Scene) -> Response:
    raise invalid_token()


_PLAYS: dict[FaultKind, Callable[[Fault, Scene], Response]] = {
    "too_many_requests": _too_many_requests,
    "error_500_before": _error_500_before,
    "error_500_after": _error_500_after,
    "refused_after": _refused_after,
    "cut_before": _cut_before,
    "cut_after": _cut_after,
    "hang_before": _hang_before,
    "hang_after": _hang_after,
    "html_502": _html_502,
    "half_body": _half_body,
    "truncated_json": _truncated_json,
    "dribble": _dribble,
    "token_revoked": _token_revoked,
    "refresh_answer_lost": _cut_after,
}
