"""The life of an install: consented to, updated, ended, begun anew; on a location itself, or with its company.

Not here: codes and tokens (tokens.py), the pages and endpoints (oauth.py), the letters' words (news.py).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox import news
from sandbox.records import Company, Location
from sandbox.tokens import Grant

if TYPE_CHECKING:
    from sandbox.world import World

Scopes = tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """Which of its locations an agency lets the app into: those approved, or all, but never those excluded."""

    approved: Collection[str] = ()
    excluded: Collection[str] = ()

    @property
    def is_all(self) -> bool:
        return not (self.approved or self.excluded)

    def takes(self, location_id: str) -> bool:
        return location_id not in self.excluded and (not self.approved or location_id in self.approved)


ALL = Choice()


def install(world: "World", location: Location, scopes: Scopes) -> Grant:
    """A consent given in the location: from now on it is installed directly, even if it came with its company."""
    scopes = _allowed(world, scopes)
    _begin(world, location, "Location", world.settings.version_id, scopes)
    news.installed(world, location)
    return grant(location)


def install_company(world: "World", company: Company, scopes: Scopes, choice: Choice = ALL) -> Grant:
    """A consent given by the agency. Locations in which the app was installed directly stay as they are."""
    scopes = _allowed(world, scopes)
    chosen = [location for location in world.locations_of(company.id) if choice.takes(location.id)]
    company.installed_at = company.installed_at or world.clock.now()
    company.version_id, company.scopes = world.settings.version_id, scopes
    news.company_installed(world, company)
    for location in chosen:
        if location.installed_by != "Location":
            _begin(world, location, "Company", company.version_id, scopes)
            news.installed(world, location)
    return Grant(
        "Company",
        company.id,
        None,
        scopes,
        news.INSTALLER,
        company.life,
        approved_locations=tuple(location.id for location in chosen),
        approve_all=choice.is_all,
        install_to_future_locations=company.install_to_future_locations,
    )


def arrive(world: "World", location: Location) -> None:
    """A new location of a company: it has the app at once where the agency ticked that, and a letter says so."""
    company = world.companies[location.company_id]
    if company.installed and company.install_to_future_locations:
        _begin(world, location, "Company", company.version_id, company.scopes)
        news.installed_with_the_company(world, location)


def grant(location: Location) -> Grant:
    """What a token of this install stands for now: one made earlier does not gain what an update brought."""
    return Grant("Location", location.company_id, location.id, location.scopes, news.INSTALLER, location.life)


def uninstall(world: "World", location: Location) -> None:
    if location.installed:
        news.uninstalled(world, location)
    _end(location)


def uninstall_company(world: "World", company: Company) -> None:
    """The app leaves the locations that came with the company, and stays where it was installed directly."""
    if company.installed:
        news.company_uninstalled(world, company)
    company.installed_at = None
    company.life += 1
    for location in world.locations_of(company.id):
        if location.installed_by == "Company":
            _end(location)


def update(world: "World", location: Location, version_id: str, scopes: Scopes | None) -> None:
    """What pressing Update does. Tokens keep their scopes, also through a refresh; new ones get the new scopes."""
    previous, location.version_id = location.version_id, version_id
    location.scopes = location.scopes if scopes is None else scopes
    news.updated(world, location, previous)


def update_company(world: "World", company: Company, version_id: str, scopes: Scopes | None) -> None:
    previous, company.version_id = company.version_id, version_id
    company.scopes = company.scopes if scopes is None else scopes
    news.company_updated(world, company, previous)
    for location in world.locations_of(company.id):
        if location.installed_by == "Company":
            update(world, location, version_id, scopes)


def in_force(world: "World", given: Grant) -> bool:
    """Whether the install that was consented to still lives; a later one does not bring its tokens back."""
    place: Company | Location = (
        world.locations[given.location_id] if given.location_id else world.companies[given.company_id]
    )
    return given.private or (place.installed and place.life == given.life)


def _allowed(world: "World", scopes: Scopes) -> Scopes:
    allowed = world.settings.granted_scopes
    return scopes if allowed is None else tuple(scope for scope in scopes if scope in allowed.split())


def _begin(
    world: "World", location: Location, installed_by: str, version_id: str | None, scopes: Scopes
) -> None:
    location.installed_at = location.installed_at or world.clock.now()
    location.installed_by, location.version_id, location.scopes = installed_by, version_id, scopes


def _end(location: Location) -> None:
    location.installed_at = location.installed_by = None
    location.life += 1
