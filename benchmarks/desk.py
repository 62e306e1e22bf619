"""The control desk of the sandbox process, as far as benchmarks need it.
What it can do is said in the sandbox's own module."""

from types import TracebackType
from typing import Any, Self

import httpx2

SECONDS = 120
AT_ONCE = 500


class Desk:
    def __init__(self, url: str) -> None:
        self._http = httpx2.Client(base_url=f"{url}/_sandbox", timeout=SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def set(self, **settings: float | None) -> None:
        self._post("/settings", settings)

    def advance(self, seconds: float) -> None:
        self._post("/clock", {"advance_seconds": seconds})

    def locations(self, count: int) -> list[dict[str, Any]]:
        """So many new ones: the ids of their calendar, user and contact, and a token answer."""
        made: list[dict[str, Any]] = []
        while len(made) < count:
            asked = {"count": min(AT_ONCE, count - len(made)), "tokens": True}
            made += self._post("/locations", asked)["locations"]
        return made

    def tokens(self, count: int) -> list[dict[str, Any]]:
        """Token answers of so many new locations."""
        return [each["token"] for each in self.locations(count)]

    def creates(self, **narrowed: str) -> list[dict[str, Any]]:
        """The create calls so far, oldest first; each with `at`, `outcome` and `location_id`."""
        answer = self._http.get("/calls", params={"operation": "create_appointment", **narrowed})
        calls: list[dict[str, Any]] = answer.raise_for_status().json()["calls"]
        return calls

    def in_flight(self) -> int:
        """Create calls that have no answer yet."""
        counts = self._http.get("/state").raise_for_status().json()["calls"].get("create_appointment", {})
        return int(counts.get("in_flight", 0))

    def token_calls(self) -> int:
        """Calls to the token endpoint so far, whatever became of them."""
        calls: dict[str, int] = self._http.get("/state").raise_for_status().json()["calls"].get("token", {})
        return sum(calls.values())

    def _post(self, path: str, body: Any) -> Any:
        return self._http.post(path, json=body).raise_for_status().json()
