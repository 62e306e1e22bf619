"""Tenants at work: threads that post errands, ask again after failures, change their minds, and remember the answers.
What they ask for is plan.py; whether the answers came true is books.py."""

import heapq
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

import httpx2

from tests.chaos.plan import Errand, Step
from tests.chaos.stack import TENANTS, Stack

THREADS = 6
ANSWER_SECONDS = 5.0
# How long a patient tenant goes on asking after the faults have ended.
PATIENCE_SECONDS = 60.0
BEGUN = "/api/v1/bookings"


@dataclass
class Record:
    """What a tenant knows about one errand. `wishes` were accepted, oldest first; `doubtful` ones perhaps."""

    errand: Errand
    booking_id: str | None = None
    refused: str | None = None
    wishes: list[dict[str, str]] = field(default_factory=list)
    doubtful: list[dict[str, str]] = field(default_factory=list)
    last_wish_at: datetime | None = None
    # A cancel was accepted while the booking had not ended, and nothing was retried since.
    cancelled: bool = False
    # What staff did to its appointment in HighLevel, or tried to, oldest first.
    staff: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_ended_by_staff(self) -> bool:
        """Perhaps: the last act may have come too late."""
        return any(act.get("delete") or act.get("status") == "cancelled" for act in self.staff)

    @property
    def wish(self) -> dict[str, str]:
        return self.wishes[-1]


@dataclass
class Market:
    """All tenants' threads of one batch."""

    stack: Stack
    answers: "Counter[str]"
    # What the API does not know yet: those steps are skipped.
    missing: set[str]
    records: list[Record] = field(default_factory=list)
    _threads: list["Customer"] = field(default_factory=list)

    def open(self, errands: list[Errand], seed: int) -> None:
        for tenant, number in itertools.product(TENANTS, range(THREADS // len(TENANTS))):
            theirs = [each for each in errands if each.place.tenant == tenant]
            mine = [Record(each) for each in theirs[number :: THREADS // len(TENANTS)]]
            self.records += mine
            self._threads.append(Customer(self, tenant, mine, Random(f"{seed} {tenant} {number}")))
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """No new errands; wait for those in hand."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        for thread in self._threads:
            thread.deadline = deadline
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS + 4 * ANSWER_SECONDS)


class Customer(threading.Thread):
    def __init__(self, market: Market, tenant: str, records: list[Record], random: Random) -> None:
        super().__init__(name=f"{tenant}-customer", daemon=True)
        self._market, self._random = market, random
        self._http = httpx2.Client(
            base_url=market.stack.url,
            headers={"Authorization": f"Bearer {market.stack.keys[tenant]}"},
            timeout=ANSWER_SECONDS,
        )
        self.deadline = float("inf")
        self._order = itertools.count()
        self._began = time.monotonic()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        for record in records:
            self._later(record.errand.at, partial(self._post, record, self._body(record)))

    def run(self) -> None:
        with self._http:
            while self._due and time.monotonic() < self.deadline:
                at, _, act = self._due[0]
                wait = self._began + at - time.monotonic()
                if wait > 0:
                    time.sleep(min(wait, 0.2))
                    continue
                heapq.heappop(self._due)
                act()

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time.monotonic() - self._began + seconds, next(self._order), act))

    # --- Booking ------------------------------------------------------------------------------------------

    def _body(self, record: Record) -> dict[str, Any]:
        """Made once: the same key has to come with the same body."""
        errand = record.errand
        if errand.lives is None:
            return errand.body
        expires_at = datetime.now(UTC) + timedelta(seconds=errand.at + errand.lives)
        return {**errand.body, "expiresAt": expires_at.isoformat(timespec="seconds")}

    def _post(self, record: Record, body: dict[str, Any]) -> None:
        headers = {"Idempotency-Key": record.errand.token}
        if record.errand.waits:
            headers["Prefer"] = "wait=2"
        begun = datetime.now(UTC)
        answer = self._ask("POST", BEGUN, json=body, headers=headers)
        if answer is None:
            if record.errand.patient:
                self._later(self._random.uniform(0.2, 1.0), lambda: self._post(record, body))
            return
        booking = _accepted(answer)
        if booking is None:
            record.refused = f"{answer.status_code} {answer.text[:300]}"
            return
        record.booking_id = booking["id"]
        record.wishes.append({name: body[name] for name in ("startTime", "title")})
        record.last_wish_at = begun
        self._next_step(record, record.errand.steps)

    # --- Second thoughts ----------------------------------------------------------------------------------

    def _next_step(self, record: Record, steps: tuple[Step, ...]) -> None:
        if steps:
            self._later(steps[0].after, lambda: self._step(record, steps[0], steps[1:]))

    def _step(self, record: Record, step: Step, rest: tuple[Step, ...]) -> None:
        if step.kind in self._market.missing:
            return
        place = f"{BEGUN}/{record.booking_id}"
        begun = datetime.now(UTC)
        if step.kind == "change":
            answer = self._ask("PATCH", place, json=step.changes)
        else:
            answer = self._ask("POST", f"{place}/{step.kind}")
        if answer is None:
            _doubt(record, step)
            again = replace(step, after=self._random.uniform(0.2, 1.0))
            self._next_step(record, (again, *rest))
        elif answer.status_code in (404, 405):
            # The booking is there: it is the route that is not.
            self._market.missing.add(step.kind)
        else:
            _take_note(record, step, answer, begun)
            self._next_step(record, rest)

    # --- Asking -------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, **more: Any) -> httpx2.Response | None:
        """An answer that means something; None where there was none, or one that says to ask again."""
        try:
            answer = self._http.request(method, path, **more)
        except httpx2.TransportError as error:
            self._market.answers[f"{method} {type(error).__name__}"] += 1
            return None
        problem = "problem+json" in answer.headers.get("Content-Type", "")
        as_promised = answer.is_success or problem
        self._market.answers[
            f"{method} {answer.status_code}{'' if as_promised else ' (no problem+json)'}"
        ] += 1
        return None if answer.status_code >= 500 or answer.status_code == 429 else answer


def _accepted(answer: httpx2.Response) -> dict[str, Any] | None:
    """The booking, where it is one: 202, or with `Prefer: wait` 201 and the 409 of one that was rejected."""
    body: dict[str, Any] = answer.json()
    if answer.status_code in (201, 202):
        return body
    rejected: dict[str, Any] | None = body.get("booking") if answer.status_code == 409 else None
    return rejected


def _doubt(record: Record, step: Step) -> None:
    if step.kind == "change":
        record.doubtful.append({**record.wish, **step.changes})


def _take_note(record: Record, step: Step, answer: httpx2.Response, begun: datetime) -> None:
    if answer.status_code != 202:
        return  # ended meanwhile, or nothing to retry
    record.last_wish_at = begun
    if step.kind == "change":
        record.wishes.append({**record.wish, **step.changes})
        record.doubtful.clear()
    elif step.kind == "cancel":
        record.cancelled = answer.json()["status"] not in ("rejected", "failed")
    else:
        record.cancelled = False
