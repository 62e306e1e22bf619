"""The whole state of a pretend HighLevel, behind one lock that is never held while anything waits.

Not here: who is in it (population.py), what its acts mean (installs.py, staff.py), the endpoints, the seed.
"""

import copy
import threading
from collections.abc import Collection
from datetime import datetime
from typing import Any, Unpack

from sandbox import installs, staff
from sandbox.calls import CallLog
from sandbox.clock import Clock
from sandbox.diary import Diary
from sandbox.faults import ConnectionCut, Faults
from sandbox.forms import Forms
from sandbox.letters import Letters
from sandbox.population import Population
from sandbox.ratelimits import RateLimits
from sandbox.records import Appointment, Location, new_id
from sandbox.settings import ALL_SCOPES, LOCATION_SCOPES, Settings
from sandbox.tokens import Grant, Tokens, UserType


class World(Population):
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
        self._populate()
        self.diary = Diary(self.clock)
        self.tokens = Tokens(self.clock, self.settings)
        self.limits = RateLimits(self.clock, self.settings)
        self.faults = Faults()
        self.forms = Forms(self.settings)
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

    # What people do in it

    def add_location(
        self,
        name: str = "Location",
        *,
        company_id: str | None = None,
        timezone: str = "UTC",
        country: str = "US",
        id: str | None = None,  # noqa: A002
    ) -> Location:
        """Without a company: of the first there is. Installed with the company where that chose so."""
        with self.lock:
            company = self.companies[company_id or next(iter(self.companies))]
            location = Location(id or new_id(), company.id, name, timezone, country)
            self.locations[location.id] = location
            self._locations_by_company[company.id].append(location)
            installs.arrive(self, location)
            return location

    def move_location(self, location_id: str, company_id: str, *, ends_tokens: bool = False) -> None:
        """HighLevel gives a sub-account to another agency: what is installed in it stays."""
        with self.lock:
            location = self.locations[location_id]
            self._locations_by_company[location.company_id].remove(location)
            location.company_id = company_id
            location.life += ends_tokens
            self._locations_by_company[company_id].append(location)

    def grant(
        self,
        user_type: UserType,
        resource_id: str,
        scopes: tuple[str, ...] = ALL_SCOPES,
        *,
        approved: Collection[str] = (),
        excluded: Collection[str] = (),
    ) -> Grant:
        """A consent of the location; or of the company, for all its locations, those approved or those left over."""
        with self.lock:
            if user_type == "Location":
                return installs.install(self, self.locations[resource_id], scopes)
            choice = installs.Choice(frozenset(approved), frozenset(excluded))
            return installs.install_company(self, self.companies[resource_id], scopes, choice)

    def issue_location_token(self, location_id: str, scopes: tuple[str, ...] = ALL_SCOPES) -> dict[str, Any]:
        """An install without the browser: the token answer a callback would have received."""
        with self.lock:
            return self.tokens.issue(self.grant("Location", location_id, scopes), "direct")

    def issue_company_token(
        self,
        company_id: str,
        scopes: tuple[str, ...] = ALL_SCOPES,
        *,
        approved: Collection[str] = (),
        excluded: Collection[str] = (),
    ) -> dict[str, Any]:
        with self.lock:
            grant = self.grant("Company", company_id, scopes, approved=approved, excluded=excluded)
            return self.tokens.issue(grant, "direct")

    def issue_private_token(self, location_id: str, scopes: tuple[str, ...] = LOCATION_SCOPES) -> str:
        """What somebody makes in the location's settings: no install, no end, until it is revoked."""
        with self.lock:
            location = self.locations[location_id]
            grant = Grant("Location", location.company_id, location.id, scopes, user_id="", private=True)
            return self.tokens.issue_private(grant)

    def revoke_private_tokens(self, location_id: str) -> None:
        with self.lock:
            self.tokens.revoke_private(location_id)

    def revoke_tokens(self, resource_id: str, *, refresh: bool = False) -> None:
        """Refuse the access tokens of a location or company; with `refresh`, its refresh tokens too."""
        with self.lock:
            self.tokens.revoke_access(resource_id)
            if refresh:
                self.tokens.revoke_refresh(resource_id)

    def uninstall(self, location_id: str) -> None:
        """Access tokens then meet a 403, refresh tokens an invalid grant, also after another install."""
        with self.lock:
            installs.uninstall(self, self.locations[location_id])

    def uninstall_company(self, company_id: str) -> None:
        """And with it the locations that came with it, but not those in which the app was installed directly."""
        with self.lock:
            installs.uninstall_company(self, self.companies[company_id])

    def update_version(
        self, resource_id: str, version_id: str, scopes: tuple[str, ...] | None = None
    ) -> None:
        """What pressing Update does in a location, or in a company for all that came with it."""
        with self.lock:
            if resource_id in self.companies:
                installs.update_company(self, self.companies[resource_id], version_id, scopes)
            else:
                installs.update(self, self.locations[resource_id], version_id, scopes)

    def staff_book(
        self,
        calendar_id: str,
        contact_id: str,
        starts_at: datetime,
        title: str = "",
        source: str = staff.SOURCE,
    ) -> Appointment:
        with self.lock:
            calendar = self.calendars[calendar_id]
            return staff.book(self, calendar, contact_id, starts_at, title=title, source=source)

    def staff_change(self, event_id: str, **changes: Unpack[staff.Changes]) -> list[Appointment]:
        """An appointment, an instance, or a whole series by its master's id; what is not named stays."""
        with self.lock:
            return staff.change(self, event_id, changes)

    def staff_delete(self, event_id: str) -> None:
        with self.lock:
            staff.delete(self, event_id)
