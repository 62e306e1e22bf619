"""The sandbox's control desk, spoken to as its module's docstring says: faults, settings, books.
Not here: what is ordered there (faults.py), what the books are compared with (books.py)."""

from collections import Counter
from datetime import datetime
from typing import Any

import httpx2

SECONDS = 30
# Of the log of calls, enough for a batch.
NEWEST = 5000


class Desk:
    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx2.Client(base_url=f"{url}/_sandbox", timeout=SECONDS)

    def close(self) -> None:
        self._http.close()

    def order(self, faults: list[dict[str, Any]]) -> None:
        if faults:
            self._post("/faults", faults)

    def clear(self) -> None:
        self._http.delete("/faults").raise_for_status()

    def set(self, **settings: float) -> None:
        self._post("/settings", settings)

    def add_locations(self, count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._post("/locations", {"count": count})["locations"]
        return found

    def set_seats(self, calendar_id: str, seats: int) -> None:
        self._post(f"/calendars/{calendar_id}", {"seats": seats})

    def change_location(self, location_id: str, **levers: bool) -> None:
        self._post(f"/locations/{location_id}", levers)

    def revoke_tokens(self, location_id: str) -> None:
        self.change_location(location_id, revoke_tokens=True)

    def change_appointment(self, event_id: str, changes: dict[str, Any]) -> None:
        """As staff does, in HighLevel's own calendar."""
        self._post(f"/appointments/{event_id}", changes)

    def appointments(self, **narrowed: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._get("/appointments", **narrowed)["appointments"]
        return found

    def letters_on_their_way(self) -> int:
        """Those that will still come, by themselves."""
        return int(self._get("/state")["letters"].get("pending", 0))

    def calls_since(self, moment: datetime) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = self._get("/calls", limit=str(NEWEST))["calls"]
        return [call for call in calls if datetime.fromisoformat(call["at"]) >= moment]

    def calls_by_location(self) -> "Counter[str]":
        """How many of the newest calls were each location's."""
        calls = self._get("/calls", limit=str(NEWEST))["calls"]
        return Counter(call["location_id"] for call in calls if call["location_id"])

    def calls_about(self, location_id: str, text: str) -> list[dict[str, Any]]:
        """The calls of a location that name `text` in their body or their path, oldest first."""
        calls = self._get("/calls", location_id=location_id)["calls"]
        return [call for call in calls if text in str(call["body"]) or text in call["path"]]

    def _get(self, path: str, **query: str) -> Any:
        return self._http.get(path, params=query).raise_for_status().json()

    def _post(self, path: str, body: Any) -> Any:
        return self._http.post(path, json=body).raise_for_status().json()
