"""`make demo`: what it says has happened, and what is running afterwards."""

import httpx2
import pytest

from tests.journeys.conftest import Demo

pytestmark = pytest.mark.xdist_group("demo")


@pytest.mark.parametrize(
    "said",
    [
        "back at /oauth/callback: location C2QujeCh8ZnC7al2InWR is connected",
        "→ booked, appointment ",
        "→ 429 rate_limited",
        "→ 500 server_failed",
        "→ 401 token_rejected",
        "pending → rejected (slot_unavailable)",
        "POST /contacts/ → 20",
        "→ no answer, connection_lost",
        "pending → booked (found)",
        "booked → cancelled (cancelled)",
        "Every step went as it should.",
    ],
)
def test_the_tour_shows(demo: Demo, said: str) -> None:
    assert said in demo.output


def test_the_key_it_prints_lists_its_bookings(demo: Demo) -> None:
    answer = httpx2.get(f"{demo.public_url}/api/v1/bookings", headers={"Authorization": f"Bearer {demo.key}"})

    statuses = [booking["status"] for booking in answer.json()["results"]]
    assert sorted(statuses) == ["booked"] * 6 + ["cancelled", "rejected"]


def test_the_whole_stack_is_ready(demo: Demo) -> None:
    assert httpx2.get(f"{demo.public_url}/readyz").json() == {
        "status": "ready",
        "postgresql": True,
        "redis": True,
    }


def test_the_numbers_of_all_processes_are_scraped_together(demo: Demo) -> None:
    """Accepted in a web process, booked in the worker's: one page of numbers."""
    numbers = httpx2.get(f"{demo.public_url}/metrics").text

    assert "bookings_accepted_total 8.0" in numbers
    assert 'bookings_moved_total{status="booked"} 7.0' in numbers
    assert 'bookings_moved_total{status="rejected"} 1.0' in numbers
