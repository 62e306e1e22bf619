"""The whole state of a pretend HighLevel, behind one lock that is never held while anything waits.

Not here: the endpoints that read and change it, the seed (seed.py), the server (server.py).
"""

import copy
import threading
from typing import Any

from sandbox.calls import CallLog
from sandbox.clock import Clock
from sandbox.diary import Diary
from sandbox.faults import ConnectionCut, Faults
from sandbox.letters import Letters
from sandbox.ratelimits import RateLimits
from sandbox.records import Calendar, Company, Contact, Location, User, new_id
from sandbox.settings import ALL_SCOPES, Settings
from sandbox.tokens import Grant, Tokens, UserType


class World:
    def __init__(self, settings: Settings | None = None) -> None:
        self.lock = threading.RLock()
        # Set by a server that stops, so that hanging calls end with it.
        self.closing = threading.Event()
        self._first_settings = copy.copy(settings or Settings())
        self._seeded = False
        self._start()

    def _start(self) -> None:
        self.settings = copy.copy(self._first_settings)
        self.clock = Clock()
        self.companies: dict[str, Company] = {}
        self.locations: dict[str, Location] = {}
        self.calendars: dict[str, Calendar] = {}
        self.users: dict[str, User] = {}
        self.contacts: dict[str, Contact] = {}
        self.contacts_by_location: dict[str, list[Contact]] = {}
        self.diary = Diary(self.clock)
        self.tokens = Tokens(self.clock, self.settings)
        self.limits = RateLimits(self.clock, self.settings)
        self.faults = Faults()
        self.letters = Letters(self.clock, self.settings)
        self.calls = CallLog()

    @classmethod
    def seeded(cls, settings: Settings | None = None) -> "World":
        """A world in which the request of HighLevel's own documentation page works as it stands."""
        world = cls(settings)
        world._seeded = True
        world.reset()
        return world

    def reset(self) -> None:
        """Back to the beginning: the settings it was made with, the seed where it had one, nothing else."""
        from sandbox import seed

        with self.lock:
            old_letters = self.letters
            self._start()
            if self._seeded:
                seed.plant(self)
        old_letters.close()

    def wait(self, seconds: float) -> None:
        """Sleep, never under the lock; a server that closes meanwhile cuts the connection."""
        if seconds > 0 and self.closing.wait(seconds):
            raise ConnectionCut

    # Making things

    def add_company(self, name: str = "Agency", id: str | None = None) -> Company:  # noqa: A002
        company = Company(id or new_id(), name)
        self.companies[company.id] = company
        return company

    def add_location(
        self,
        name: str = "Location",
        *,
        company_id: str | None = None,
        timezone: str = "UTC",
        id: str | None = None,  # noqa: A002
    ) -> Location:
        """Without a company: of the first there is. Installed at once where the company chose that."""
        with self.lock:
            company = self.companies[company_id or next(iter(self.companies))]
            location = Location(id or new_id(), company.id, name, timezone)
            if company.install_to_future_locations:
                location.installed_at = self.clock.now()
            self.locations[location.id] = location
            return location

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

    # Installing and what ends it

    def grant(self, user_type: UserType, resource_id: str, scopes: tuple[str, ...] = ALL_SCOPES) -> Grant:
        """Record a consent: the app is installed on the location, or on all of the company's locations."""
        allowed = self.settings.granted_scopes
        if allowed is not None:
            scopes = tuple(scope for scope in scopes if scope in allowed.split())
        company_id = resource_id if user_type == "Company" else self.locations[resource_id].company_id
        company = self.companies[company_id]
        approved = self._install(user_type, resource_id)
        return Grant(
            user_type,
            company_id,
            resource_id if user_type == "Location" else None,
            scopes,
            user_id="Rg6BRRiHh7dS9gJy3W8a",
            approved_locations=approved,
            install_to_future_locations=company.install_to_future_locations,
        )

    def _install(self, user_type: UserType, resource_id: str) -> tuple[str, ...]:
        chosen = [
            location
            for location in self.locations.values()
            if resource_id == (location.company_id if user_type == "Company" else location.id)
        ]
        for location in chosen:
            location.installed_at = location.installed_at or self.clock.now()
        return tuple(location.id for location in chosen)

    def issue_location_token(self, location_id: str, scopes: tuple[str, ...] = ALL_SCOPES) -> dict[str, Any]:
        """An install without the browser: the token answer a callback would have received."""
        with self.lock:
            return self.tokens.issue(self.grant("Location", location_id, scopes), "direct")

    def issue_company_token(self, company_id: str, scopes: tuple[str, ...] = ALL_SCOPES) -> dict[str, Any]:
        with self.lock:
            return self.tokens.issue(self.grant("Company", company_id, scopes), "direct")

    def revoke_tokens(self, location_id: str, *, refresh: bool = False) -> None:
        """Refuse the location's access tokens; with `refresh`, its refresh tokens too."""
        with self.lock:
            self.tokens.revoke_access(location_id)
            if refresh:
                self.tokens.revoke_refresh(location_id)

    def uninstall(self, location_id: str) -> None:
        """Access tokens then meet a 403, refresh tokens an invalid grant."""
        with self.lock:
            self.locations[location_id].installed_at = None
            self.tokens.revoke_refresh(location_id)
