"""How the tests ask the sandbox: HighLevel's documented example, headers, short cuts for common calls.

Not here: fixtures (conftest.py).
"""

from typing import Any

import httpx2

from sandbox.seed import CALENDAR, CONTACT, LOCATION, USER
from sandbox.world import World

CALENDARS = "2021-04-15"
OTHERS = "2021-07-28"
EVENTS = "/calendars/events/appointments"

# The example of HighLevel's create-appointment page, its placeholder "rrule" left out.
EXAMPLE: dict[str, Any] = {
    "title": "Test Event",
    "meetingLocationType": "custom",
    "meetingLocationId": "custom_0",
    "overrideLocationConfig": True,
    "appointmentStatus": "confirmed",
    "assignedUserId": USER,
    "description": "Booking a call to discuss the project",
    "address": "Zoom",
    "ignoreDateRange": False,
    "toNotify": False,
    "ignoreFreeSlotValidation": True,
    "calendarId": CALENDAR,
    "locationId": LOCATION,
    "contactId": CONTACT,
    "startTime": "2021-06-23T03:30:00+05:30",
    "endTime": "2021-06-23T04:30:00+05:30",
}


def example(**changes: Any) -> dict[str, Any]:
    """The example, changed; a value of None takes the field out."""
    return {name: value for name, value in {**EXAMPLE, **changes}.items() if value is not None}


def checked(**changes: Any) -> dict[str, Any]:
    """The example with HighLevel's check for a free slot."""
    return example(**{"ignoreFreeSlotValidation": False, **changes})


class Asker:
    """A client with a token: `ask.post(path, json=…)` with the Version its path wants."""

    def __init__(self, client: httpx2.Client, access_token: str) -> None:
        self.client = client
        self.access_token = access_token

    def __call__(self, method: str, path: str, **options: Any) -> httpx2.Response:
        version = CALENDARS if path.startswith("/calendars") else OTHERS
        headers = {"Authorization": f"Bearer {self.access_token}", "Version": version}
        return self.client.request(method, path, headers=headers | options.pop("headers", {}), **options)

    def get(self, path: str, **params: Any) -> httpx2.Response:
        return self("GET", path, params=params)

    def post(self, path: str, body: Any, **options: Any) -> httpx2.Response:
        return self("POST", path, json=body, **options)

    def put(self, path: str, body: Any) -> httpx2.Response:
        return self("PUT", path, json=body)

    def book(self, **changes: Any) -> dict[str, Any]:
        answer = self.post(EVENTS, example(**changes))
        assert answer.status_code in {200, 201}, answer.text
        booked: dict[str, Any] = answer.json()
        return booked

    def events(self, **params: Any) -> list[dict[str, Any]]:
        """All there are of the example's calendar between 1970 and 2100."""
        span = {"startTime": "0", "endTime": "4102444800000"}
        asked = {"locationId": LOCATION, "calendarId": CALENDAR, **span, **params}
        answer = self.get("/calendars/events", **asked)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["events"]
        return found


def token_request(world: World, **fields: str) -> dict[str, str]:
    settings = world.settings
    return {"client_id": settings.client_id, "client_secret": settings.client_secret, **fields}


def refresh(client: httpx2.Client, world: World, refresh_token: str) -> httpx2.Response:
    body = token_request(world, grant_type="refresh_token", refresh_token=refresh_token)
    return client.post("/oauth/token", data=body)
