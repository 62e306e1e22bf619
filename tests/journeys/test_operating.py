"""The operator signs in to the admin with a real browser, whose forms are checked as no test client checks them."""

import re
from base64 import b32decode

import pytest
from django_otp.oath import TOTP
from playwright.sync_api import Page, expect

from tests.journeys.conftest import Demo

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("demo")]
OPERATOR, PASSWORD = "operator", "only-for-this-test"


@pytest.fixture(scope="module")
def second_factor(demo: Demo) -> str:
    """What an operator's `add_second_factor` prints; the demo's admin asks for one."""
    login = {"DJANGO_SUPERUSER_USERNAME": OPERATOR, "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    demo.manage("createsuperuser", "--noinput", "--email", "operator@example.com", **login)
    return demo.manage("add_second_factor", OPERATOR)


@pytest.fixture(scope="module")
def backup_tokens(second_factor: str) -> list[str]:
    return second_factor.split()[-8:]


def sign_in(demo: Demo, page: Page, code: str) -> None:
    page.goto(f"{demo.public_url}/admin/")
    page.get_by_label("Username").fill(OPERATOR)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Code of your authenticator app").fill(code)
    page.get_by_role("button", name="Log in").click()


@pytest.fixture
def admin(demo: Demo, backup_tokens: list[str], page: Page) -> Page:
    sign_in(demo, page, backup_tokens.pop())
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    return page


def test_the_operator_signs_in_with_an_authenticator_app(demo: Demo, second_factor: str, page: Page) -> None:
    found = re.search(r"secret=([A-Z2-7]+)", second_factor)
    assert found
    app = TOTP(b32decode(found[1]))

    sign_in(demo, page, f"{app.token():06d}")

    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def test_the_operator_finds_bookings_and_letters(demo: Demo, admin: Page) -> None:
    admin.goto(f"{demo.public_url}/admin/appointments/booking/")
    expect(admin.get_by_role("cell", name="rejected").first).to_be_visible()

    admin.goto(f"{demo.public_url}/admin/webhooks/letter/")
    expect(admin.get_by_role("cell", name=re.compile("INSTALL")).first).to_be_visible()


def test_the_operator_has_a_letter_processed_once_more(demo: Demo, admin: Page) -> None:
    admin.goto(f"{demo.public_url}/admin/webhooks/letter/")
    admin.locator("input[name=_selected_action]").first.check()
    admin.locator("select[name=action]").select_option("replay_selected")
    admin.get_by_role("button", name="Go").click()

    expect(admin.get_by_text("To be processed again: 1.")).to_be_visible()


def test_the_api_page_shows_and_calls_the_api(demo: Demo, page: Page) -> None:
    page.goto(f"{demo.public_url}/api/docs/")
    expect(page.get_by_text("Accept a booking")).to_be_visible()

    page.get_by_role("button", name="Authorize").click()
    page.get_by_label("auth-bearer-value").fill(demo.key)
    page.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").click()
    page.get_by_text("List the locations that the key covers").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()

    expect(page.locator(".live-responses-table .response .response-col_status")).to_have_text(
        re.compile("200")
    )


def test_every_page_of_the_admin_keeps_its_policy(demo: Demo, admin: Page) -> None:
    links = admin.locator("#content a[href^='/admin/']")
    for address in {str(each.get_attribute("href")) for each in links.all()}:
        admin.goto(f"{demo.public_url}{address}")
        expect(admin.get_by_role("button", name="Log out")).to_be_visible()
