"""Links begin with PUBLIC_URL, also behind a proxy that does not pass on the Host that its clients used."""

import json
from typing import Any

import pytest
from django.conf import settings as configured
from django.test import Client

from tests.fixtures import Persona, booking_body

PUBLIC = "https://bookings.example.com"
BEHIND = {"Host": "127.0.0.1:8000"}


@pytest.fixture(params=[PUBLIC, f"{PUBLIC}/behind"])
def public_url(request: Any, settings: Any) -> str:
    settings.PUBLIC_URL = request.param
    settings.ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
    return str(request.param)


def test_pages_of_a_list_begin_with_it(acme: Persona, public_url: str) -> None:
    for hour in (3, 5, 7):
        acme.book(booking_body(startTime=f"2027-06-23T0{hour}:30:00+05:30", endTime=None))

    first = acme.api.get("/api/v1/bookings", {"limit": 1}, headers=BEHIND).json()
    second = acme.api.get(first["next"].removeprefix(public_url), headers=BEHIND).json()

    for link in (first["next"], second["next"], second["previous"]):
        assert link.startswith(f"{public_url}/api/v1/bookings?")
        assert "limit=1" in link


@pytest.mark.parametrize(
    "path", ["/admin/", "/oauth/install", "/oauth/callback?code=no", "/api/docs/", "/api/schema/", "/nowhere"]
)
def test_no_page_leads_to_the_address_behind_the_proxy(db: None, public_url: str, path: str) -> None:
    answer = Client().get(path, headers=BEHIND)

    for text in (answer.content.decode(), answer.headers.get("Location", "")):
        assert "127.0.0.1:8000" not in text
        assert "testserver" not in text.replace(configured.SPECTACULAR_SETTINGS["SERVERS"][0]["url"], "")


def test_the_schema_names_it_as_the_server(db: None) -> None:
    answer = Client().get("/api/schema/", headers={"Accept": "application/json"})

    assert json.loads(answer.content)["servers"] == [{"url": "http://testserver"}]


def test_signing_in_behind_the_proxy_is_no_forgery(django_user_model: Any, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
    settings.CSRF_TRUSTED_ORIGINS = [PUBLIC]
    django_user_model.objects.create_superuser("operator", password="a long password")
    client = Client(enforce_csrf_checks=True)
    client.get("/admin/login/", headers=BEHIND)
    form = {
        "username": "operator",
        "password": "a long password",
        "csrfmiddlewaretoken": client.cookies["csrftoken"].value,
    }

    answer = client.post("/admin/login/?next=/admin/", form, headers={**BEHIND, "Origin": PUBLIC})

    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/")
