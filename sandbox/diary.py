"""Where a world keeps its appointments: every version of each, found by id, calendar, day or contact.

Not here: whether an appointment may be made (appointments.py, slots.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import chain

from sandbox.clock import Clock
from sandbox.records import Appointment

_DAY = timedelta(days=1)


class Diary:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # None as the last version: deleted.
        self._versions: dict[str, list[tuple[float, Appointment | None]]] = {}
        # Both only grow: an appointment that moved is found under its old day too and then filtered by the
        # version asked for, which is what lists that lag behind need.
        self._by_day: defaultdict[str, defaultdict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._by_contact: defaultdict[str, set[str]] = defaultdict(set)
        self._by_master: defaultdict[str, list[str]] = defaultdict(list)

    def keep(self, appointment: Appointment) -> None:
        if appointment.id not in self._versions and appointment.master_event_id:
            self._by_master[appointment.master_event_id].append(appointment.id)
        self._versions.setdefault(appointment.id, []).append((self._clock.epoch(), appointment))
        self._by_contact[appointment.contact_id].add(appointment.id)
        for day in range(_day(appointment.starts_at), _day(appointment.ends_at) + 1):
            self._by_day[appointment.calendar_id][day].add(appointment.id)

    def remove(self, appointment: Appointment) -> None:
        self._versions[appointment.id].append((self._clock.epoch(), None))

    def get(self, appointment_id: str) -> Appointment | None:
        versions = self._versions.get(appointment_id)
        return versions[-1][1] if versions else None

    def series(self, event_id: str) -> list[Appointment]:
        """The appointment of that id, or all instances where it is the id of a series."""
        ids = self._by_master.get(event_id, [event_id])
        return [found for found in map(self.get, ids) if found]

    def everything(self) -> list[Appointment]:
        return [found for found in map(self.get, self._versions) if found]

    def in_calendar(
        self, calendar_id: str, starts_at: datetime, ends_at: datetime, lag_seconds: float = 0
    ) -> list[Appointment]:
        """Those that overlap the time, any status, as they were `lag_seconds` ago."""
        days = self._by_day[calendar_id]
        first, last = _day(starts_at), _day(ends_at)
        ids = set(chain.from_iterable(days[day] for day in list(days) if first <= day <= last))
        found = (entry for entry in self._as_of(ids, lag_seconds) if entry.calendar_id == calendar_id)
        return sorted((entry for entry in found if entry.overlaps(starts_at, ends_at)), key=_start)

    def of_contact(self, contact_id: str, lag_seconds: float = 0) -> list[Appointment]:
        return sorted(self._as_of(self._by_contact[contact_id], lag_seconds), key=_start)

    def _as_of(self, ids: Iterable[str], lag_seconds: float) -> Iterator[Appointment]:
        moment = self._clock.epoch() - lag_seconds
        for appointment_id in ids:
            versions = reversed(self._versions[appointment_id])
            seen = next((version for at, version in versions if at <= moment), None)
            if seen:
                yield seen


def _day(moment: datetime) -> int:
    return int(moment.timestamp() // _DAY.total_seconds())


def _start(appointment: Appointment) -> datetime:
    return appointment.starts_at
