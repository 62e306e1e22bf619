"""A person installs the app in a real browser and sees the appointment that is booked then."""

import re
import uuid

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import Demo

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("demo")]


def test_somebody_who_allows_the_app_sees_what_is_connected(demo: Demo, page: Page) -> None:
    page.goto(f"{demo.public_url}/oauth/install")
    page.get_by_role("radio", name=re.compile("Lakeside Dental")).check()
    page.get_by_role("button", name="Allow").click()

    expect(page.get_by_role("heading", name="Lakeside Dental Chicago is connected")).to_be_visible()
    expect(page.get_by_text("l1C08ntBrFjLS0elLIYU")).to_be_visible()
    expect(page.get_by_text("What comes next")).to_be_visible()


def test_somebody_who_chooses_the_agency_sees_all_of_it_connected(demo: Demo, page: Page) -> None:
    page.goto(f"{demo.public_url}/oauth/install")
    page.get_by_role("radio", name=re.compile("Marketplace Demo Agency")).check()
    page.get_by_role("button", name="Allow").click()

    expect(page.get_by_text("3 of its sub-accounts are connected")).to_be_visible(timeout=20_000)


def test_somebody_who_denies_it_is_told_so_and_can_start_again(demo: Demo, page: Page) -> None:
    page.goto(f"{demo.public_url}/oauth/install")
    page.get_by_role("button", name="Deny").click()

    expect(page.get_by_text("access_denied")).to_be_visible()
    page.get_by_role("link", name="Start the install again").click()
    expect(page.get_by_role("heading", name="Install the app")).to_be_visible()


def test_a_page_that_is_reloaded_is_still_connected(demo: Demo, page: Page) -> None:
    page.goto(f"{demo.public_url}/oauth/install")
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_text("is connected")).to_be_visible()

    page.reload()

    expect(page.get_by_text("is connected")).to_be_visible()


def test_the_booked_appointment_shows_in_the_calendar(demo: Demo, page: Page) -> None:
    title = f"🎉 مرحبا {uuid.uuid4().hex[:6]}"
    body = {
        "locationId": "C2QujeCh8ZnC7al2InWR",
        "calendarId": "CVokAlI8fgw4WYWoCtQz",
        "contactId": "0007BWpSzSwfiuSl0tR2",
        "startTime": "2030-01-15T10:00:00+05:30",
        "ignoreFreeSlotValidation": True,
        "assignedUserId": "0007BWpSzSwfiuSl0tR2",
        "title": title,
    }
    headers = {"Authorization": f"Bearer {demo.key}", "Prefer": "wait=20"}
    answer = httpx2.post(f"{demo.public_url}/api/v1/bookings", json=body, headers=headers, timeout=30)
    assert answer.status_code == 201, answer.text

    page.goto(demo.sandbox_url)

    expect(page.get_by_text(title)).to_be_visible()


def test_the_api_page_loads_from_this_host_alone(demo: Demo, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.goto(f"{demo.public_url}/api/docs/")

    expect(page.get_by_text("Accept a booking").first).to_be_visible()
    assert [url for url in asked if not url.startswith((demo.public_url, "data:"))] == []
