"""Who and what there is in a world: companies, locations, calendars, users and contacts, kept and added.

Not here: what they are (records.py), appointments (diary.py), what people do (world.py).
"""

import threading
from typing import Any

from sandbox.clock import Clock
from sandbox.records import Calendar, Company, Contact, Location, User, new_id


class Population:
    lock: threading.RLock
    clock: Clock

    def _populate(self) -> None:
        self.companies: dict[str, Company] = {}
        self.locations: dict[str, Location] = {}
        self.calendars: dict[str, Calendar] = {}
        self.users: dict[str, User] = {}
        self.contacts: dict[str, Contact] = {}
        self.contacts_by_location: dict[str, list[Contact]] = {}
        self._locations_by_company: dict[str, list[Location]] = {}

    def add_company(self, name: str = "Agency", id: str | None = None) -> Company:  # noqa: A002
        company = Company(id or new_id(), name)
        self.companies[company.id] = company
        self._locations_by_company[company.id] = []
        return company

    def locations_of(self, company_id: str) -> list[Location]:
        return self._locations_by_company[company_id]

    def add_user(self, location_id: str, name: str = "Team member", id: str | None = None) -> User:  # noqa: A002
        user = User(id or new_id(), location_id, name)
        self.users[user.id] = user
        return user

    def add_calendar(
        self,
        location_id: str,
        name: str = "Calendar",
        *,
        team: tuple[str, ...] | None = None,
        seats: int = 1,
        slot_minutes: int = 30,
        id: str | None = None,  # noqa: A002
    ) -> Calendar:
        """Without a team: a new user. An empty team is a calendar that asks for nobody."""
        with self.lock:
            members = (self.add_user(location_id).id,) if team is None else team
            calendar = Calendar(id or new_id(), location_id, name, members, new_id(), slot_minutes, seats)
            self.calendars[calendar.id] = calendar
            return calendar

    def add_contact(
        self,
        location_id: str,
        *,
        id: str | None = None,  # noqa: A002
        **details: Any,
    ) -> Contact:
        """`details` by HighLevel's names: firstName, lastName, email, phone, …"""
        with self.lock:
            now = self.clock.now()
            contact = Contact(id or new_id(), location_id, details, now, now)
            self.contacts[contact.id] = contact
            self.contacts_by_location.setdefault(location_id, []).append(contact)
            return contact
