"""What tests of several rooms stand on: HighLevel's world, connected locations, and two tenants, always two."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone
from rest_framework.test import APIClient

from appointments import turns, working
from appointments.models import Booking
from ghl.types import parse_token_grant
from oauth import installs, keys, pace
from oauth.models import ApiKey, Location, Tenant
from sandbox import World, seed
from tests.highlevel import WORLD, forms_seed

ACME_LOCATION, ACME_CALENDAR, ACME_CONTACT = seed.LOCATION, seed.CALENDAR, seed.CONTACT
GLOBEX_LOCATION, GLOBEX_CALENDAR = seed.SECOND_LOCATION, seed.SECOND_CALENDAR
GLOBEX_CONTACT = seed.SECOND_CONTACT


@pytest.fixture
def highlevel(request: pytest.FixtureRequest) -> Iterator[World]:
    """A fresh world with an agency and three locations, none of them connected to us yet.

    Its answers take the forms that the test's own seed draws (sandbox/forms.py), which a failure tells.
    """
    WORLD.reset()
    WORLD.settings.forms_seed = forms_seed(request.node.nodeid)
    yield WORLD
    # What still hangs in a fault of this test must not reach into the next one.
    WORLD.faults.clear()


@pytest.fixture
def connect(db: None, highlevel: World) -> Callable[[str], Location]:
    """`connect(location_id)`: an install without the browser."""
    return lambda location_id: installs.complete(
        parse_token_grant(highlevel.issue_location_token(location_id))
    )


@dataclass
class Persona:
    """A tenant with a key for one location, and its way to call the API."""

    tenant: Tenant
    location: Location
    key: ApiKey
    text: str

    @property
    def api(self) -> APIClient:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {self.text}")
        return client

    def book(self, body: dict[str, Any] | None = None, /, **headers: str) -> Any:
        return self.api.post("/api/v1/bookings", body or booking_body(), format="json", headers=headers)


def _persona(name: str, location: Location) -> Persona:
    tenant = Tenant.objects.create(name=name)
    key, text = keys.issue(tenant, locations=[location], name=f"{name}'s system")
    return Persona(tenant, location, key, text)


@pytest.fixture
def acme(connect: Callable[[str], Location]) -> Persona:
    return _persona("acme", connect(ACME_LOCATION))


@pytest.fixture
def globex(connect: Callable[[str], Location]) -> Persona:
    return _persona("globex", connect(GLOBEX_LOCATION))


def booking_body(**changes: Any) -> dict[str, Any]:
    """The smallest booking in acme's calendar; a field given as None is left out."""
    body = {
        "calendarId": ACME_CALENDAR,
        "locationId": ACME_LOCATION,
        "contactId": ACME_CONTACT,
        "startTime": "2027-06-23T03:30:00+05:30",
        "endTime": "2027-06-23T04:30:00+05:30",
        "title": "Test Event",
    }
    return {name: value for name, value in {**body, **changes}.items() if value is not None}


def from_now(**span: float) -> str:
    """The time after this span of `timedelta`, as a request writes it."""
    return f"{timezone.now() + timedelta(**span):%Y-%m-%dT%H:%M:%SZ}"


def work_once(location_id: str = ACME_LOCATION) -> None:
    """What one woken worker does for a location: one step of each booking that is due."""
    for _ in range(20):
        if not working.serve(turn_of(location_id)):
            return


def turn_of(location_id: str) -> turns.Turn:
    """As a woken worker takes one, whosever turn it is."""
    try:
        return turns.Turn(location_id, pace.take(pace.location(location_id), pace.Use.BOOKING))
    except pace.NoSlot as error:
        return turns.Turn(location_id, None, error.retry_after)


def hurry(booking: Booking) -> Booking:
    """Let a booking's wait be over, and have a worker take the next step."""
    Booking.objects.filter(pk=booking.pk).update(next_attempt_at=Now())
    end_brake(booking.location_id)
    work_once(booking.location_id)
    booking.refresh_from_db()
    return booking


def end_brake(location_id: str = ACME_LOCATION) -> None:
    """The location's wait is over: PostgreSQL's, and the pace's after a 429."""
    Location.objects.filter(pk=location_id).update(not_before=None)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.hdel(f"pace:location:{location_id}:state", "not_before")


def only_booking() -> Booking:
    return Booking.objects.get()
