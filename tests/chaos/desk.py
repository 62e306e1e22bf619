"""The sandbox's control desk, spoken to as its module's docstring says: faults, settings, books.
Not here: what is ordered there (faults.py), what the books are compared with (books.py)."""

from typing import Any

import httpx2

SECONDS = 30


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

    def revoke_tokens(self, location_id: str) -> None:
        self._post(f"/locations/{location_id}", {"revoke_tokens": True})

    def appointments(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._get("/appointments")["appointments"]
        return found

    def calls_about(self, location_id: str, text: str) -> list[dict[str, Any]]:
        """The calls of a location that name `text` in their body or their path, oldest first."""
        answer = self._http.get("/calls", params={"location_id": location_id})
        calls = answer.raise_for_status().json()["calls"]
        return [call for call in calls if text in str(call["body"]) or text in call["path"]]

    def _get(self, path: str) -> Any:
        return self._http.get(path).raise_for_status().json()

    def _post(self, path: str, body: Any) -> Any:
        return self._http.post(path, json=body).raise_for_status().json()
