"""What tenants will ask for, drawn from a seed: plain ones, new contacts, twins, rivals, series, and second thoughts.
Who carries it out is tenants.py; what goes wrong meanwhile is faults.py."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Literal

from tests.chaos.stack import Place

FIRST_DAY = datetime(2031, 1, 6, tzinfo=UTC)
# Each batch of bookings has a stretch of the calendars to itself.
DAYS_PER_BATCH = 40
StepKind = Literal["change", "cancel", "retry"]


@dataclass(frozen=True)
class Step:
    """A second thought, `after` so many seconds of the answer before it."""

    after: float
    kind: StepKind
    changes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Errand:
    """One booking that a tenant will ask for `at` so many seconds, and what it does with it afterwards.

    Its title holds `token`, by which appointments are told apart. A patient tenant asks again with the same key
    until it is answered; the others leave it at the first failure. `lives`: seconds until `expiresAt`.
    """

    token: str
    fault: str
    place: Place
    at: float
    body: dict[str, Any]
    patient: bool = True
    waits: bool = False
    lives: float | None = None
    steps: tuple[Step, ...] = ()


Kind = Callable[["Batch", str], list[Errand]]


def stretch_of(batch: int) -> datetime:
    """Where a batch's part of the calendars begins."""
    return FIRST_DAY + timedelta(days=DAYS_PER_BATCH * batch)


@dataclass
class Batch:
    """Draws errands one after the other; `number` is different for each batch of a run."""

    random: Random
    number: int
    name: str
    places: list[Place]
    seconds: float
    _drawn: int = 0
    _hours: dict[str, int] = field(default_factory=dict)

    def errands(self, fault: str, count: int, only: Kind | None = None) -> list[Errand]:
        drawn: list[Errand] = []
        while len(drawn) < count:
            kind = only or self.random.choices(list(KINDS), list(KINDS.values()))[0]
            drawn += kind(self, fault)
        return drawn

    def place(self) -> Place:
        return self.random.choice(self.places)

    def start(self, place: Place) -> str:
        """An hour of the place's calendar that nothing else of this batch begins in."""
        hour = self._hours[place.location_id] = self._hours.get(place.location_id, -1) + 1
        moment = stretch_of(self.number) + timedelta(hours=hour)
        return moment.isoformat().replace("+00:00", "Z")

    def errand(self, fault: str, place: Place, start: str, *, at: float | None = None, **more: Any) -> Errand:
        self._drawn += 1
        token = f"{self.name}n{self._drawn:04}."
        body = {
            "locationId": place.location_id,
            "calendarId": place.calendar_id,
            "contactId": place.contact_id,
            "startTime": start,
            "title": f"Chaos {token}",
            **more,
        }
        return Errand(
            token,
            fault,
            place,
            self.random.uniform(0, self.seconds) if at is None else at,
            {name: value for name, value in body.items() if value is not None},
            patient=self.random.random() < 0.85,
            waits=self.random.random() < 0.05,
            lives=self.random.uniform(4, 12) if self.random.random() < 0.03 else None,
            steps=tuple(self._steps(place, f"Chaos {token}"))
            if "rrule" not in more
            else self._maybe_cancel(),
        )

    def _steps(self, place: Place, title: str) -> Iterator[Step]:
        drawn, after = self.random.random(), self.random.choice([0.0, self.random.uniform(0, 8)])
        if drawn < 0.10:
            yield Step(after, "change", {"title": f"{title} renamed"})
        elif drawn < 0.20:
            yield Step(after, "change", {"startTime": self.start(place)})
            if self.random.random() < 0.3:
                yield Step(self.random.uniform(0, 3), "change", {"title": f"{title} moved"})
        elif drawn < 0.30:
            yield Step(after, "cancel")
        elif drawn < 0.34:
            yield Step(after, "change", {"startTime": self.start(place)})
            yield Step(self.random.uniform(0, 3), "cancel")
        elif drawn < 0.42:
            yield Step(self.random.uniform(2, 10), "retry")

    def _maybe_cancel(self) -> tuple[Step, ...]:
        return (Step(self.random.uniform(0, 8), "cancel"),) if self.random.random() < 0.2 else ()


def _plain(batch: Batch, fault: str) -> list[Errand]:
    place = batch.place()
    return [batch.errand(fault, place, batch.start(place))]


def _newcomers(batch: Batch, fault: str) -> list[Errand]:
    """Several bookings at once for one contact whom HighLevel does not know yet."""
    place, at = batch.place(), batch.random.uniform(0, batch.seconds)
    contact = {"name": "New Comer", "email": f"{batch.name}-{batch.random.getrandbits(32):08x}@example.com"}
    return [
        batch.errand(fault, place, batch.start(place), at=at, contactId=None, contact=contact)
        for _ in range(batch.random.choice((1, 2, 3)))
    ]


def _twins(batch: Batch, fault: str) -> list[Errand]:
    """The same calendar, contact and start, twice, and both may be had."""
    roomy = [place for place in batch.places if place.seats > 1]
    at = batch.random.uniform(0, batch.seconds)
    if roomy and batch.random.random() < 0.5:
        place = batch.random.choice(roomy)
        more: dict[str, Any] = {}
    else:
        place = batch.place()
        more = unchecked(place)
    start = batch.start(place)
    return [batch.errand(fault, place, start, at=at + batch.random.uniform(0, 1), **more) for _ in range(2)]


def _rivals(batch: Batch, fault: str) -> list[Errand]:
    """Two for one seat: one of them is to be refused, where the calendar has but one."""
    place, at = batch.place(), batch.random.uniform(0, batch.seconds)
    start = batch.start(place)
    return [batch.errand(fault, place, start, at=at + batch.random.uniform(0, 1)) for _ in range(2)]


def _series(batch: Batch, fault: str) -> list[Errand]:
    place = batch.place()
    return [batch.errand(fault, place, batch.start(place), rrule="FREQ=WEEKLY;COUNT=3", **unchecked(place))]


def unchecked(place: Place) -> dict[str, Any]:
    """HighLevel asks for somebody's name where it is not to look for a free slot."""
    return {"ignoreFreeSlotValidation": True, "assignedUserId": place.user_id}


def doubtful_twins(batch: Batch, fault: str) -> list[Errand]:
    """Half a second apart, so that the first one's outcome is looked up first."""
    place, at = batch.place(), batch.random.uniform(0, batch.seconds)
    start = batch.start(place)
    drawn = [batch.errand(fault, place, start, at=at + later, **unchecked(place)) for later in (0, 0.5)]
    return [replace(each, patient=True, waits=False, lives=None, steps=()) for each in drawn]


KINDS: dict[Kind, int] = {
    _plain: 10,
    _newcomers: 2,
    _twins: 3,
    _rivals: 2,
    _series: 1,
}
