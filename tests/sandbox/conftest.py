"""A seeded world of its own for every test, and clients to it without a network.

Not here: clients over a real connection (the tests that need one serve the world themselves).
"""

from collections.abc import Iterator

import httpx2
import pytest

from sandbox import Settings, World, create_app
from sandbox.seed import COMPANY, LOCATION
from tests.sandbox.asking import Asker


@pytest.fixture
def world() -> World:
    # Its answers always in the first of their forms; the others are in test_forms.py and test_official_schemas.py.
    return World.seeded(Settings(forms_seed=None, bare_contact_dates=False))


@pytest.fixture
def client(world: World) -> Iterator[httpx2.Client]:
    transport = httpx2.WSGITransport(app=create_app(world))
    with httpx2.Client(transport=transport, base_url="http://sandbox") as client:
        yield client


@pytest.fixture
def ask(world: World, client: httpx2.Client) -> Asker:
    """As the app installed on the example's location."""
    return Asker(client, world.issue_location_token(LOCATION)["access_token"])


@pytest.fixture
def ask_as_agency(world: World, client: httpx2.Client) -> Asker:
    return Asker(client, world.issue_company_token(COMPANY)["access_token"])
