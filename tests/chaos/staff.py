"""People at work in HighLevel's own calendars, meanwhile: they move, rename, mark, cancel and delete what was booked.
What they have done is noted in each errand's record; whether both sides agree in the end is books.py."""

import threading
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from random import Random
from typing import Any, Self

import httpx2

from tests.chaos.books import INACTIVE, token_of
from tests.chaos.desk import Desk
from tests.chaos.tenants import Record

EVERY_SECONDS = 0.25
# Further into the batch's stretch of the calendar than any booking is drawn.
FREE_HOURS = 600
ACTS = {"move": 4, "rename": 3, "showed": 2, "noshow": 2, "cancelled": 1, "delete": 1}


class Staff:
    """A context manager. Bookings that their tenants will cancel are left to these: who is right is undecided."""

    def __init__(self, url: str, records: Iterable[Record], seed: str) -> None:
        self._desk, self._random = Desk(url), Random(seed)
        theirs = (each for each in records if all(step.kind != "cancel" for step in each.errand.steps))
        self._records = {each.errand.token: each for each in theirs}
        self._locations = sorted({each.errand.place.location_id for each in self._records.values()})
        self._hours = 0
        self.acts: Counter[str] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join(20)
        self._desk.close()

    def _run(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            shown = self._desk.appointments(location_id=self._random.choice(self._locations))
            known = [each for each in shown if self._is_known(each)]
            if known:
                self._act(self._random.choice(known))

    def _is_known(self, appointment: dict[str, Any]) -> bool:
        is_active = appointment["appointmentStatus"] not in INACTIVE
        return is_active and token_of(appointment["title"]) in self._records

    def _act(self, appointment: dict[str, Any]) -> None:
        token = token_of(appointment["title"])
        changes = self._changes(appointment, token)
        # Noted first: from here on both are possible.
        self._records[token].staff.append(changes)
        try:
            self._desk.change_appointment(appointment.get("masterEventId") or appointment["id"], changes)
        except httpx2.HTTPStatusError as error:
            if error.response.status_code != 400:  # gone meanwhile
                raise

    def _changes(self, appointment: dict[str, Any], token: str) -> dict[str, Any]:
        kind = self._random.choices(list(ACTS), list(ACTS.values()))[0]
        self._hours += 1
        self.acts[kind] += 1
        match kind:
            case "move":
                return {"start_time": self._later(appointment["startTime"])}
            case "rename":
                return {"title": f"Chaos {token} by staff {self._hours}"}
            case "delete":
                return {"delete": True}
            case _:
                return {"status": kind}

    def _later(self, start: str) -> str:
        day = datetime.fromisoformat(start).replace(hour=0)
        return (day + timedelta(hours=FREE_HOURS + self._hours)).isoformat()
