"""The operator's pages: everything can be seen but secrets, and a key can be revoked."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from oauth import keys
from oauth.models import Agency, ApiKey, Location, Tenant, Token
from tests.fixtures import Persona
from tests.oauth.conftest import plain, stored

READ_ONLY: tuple[Any, ...] = (Agency, ApiKey, Location, Token)


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


def pages(model: Any) -> list[str]:
    listed = f"/admin/oauth/{model._meta.model_name}/"
    return [listed, *(f"{listed}{row.pk}/change/" for row in model.objects.all())]


@pytest.mark.parametrize("model", [*READ_ONLY, Tenant])
def test_its_pages_open_and_show_no_secret(
    acme: Persona, globex: Persona, operator: Client, model: Any
) -> None:
    secrets = [
        text
        for token in Token.objects.all()
        for name in ("access_token", "refresh_token")
        for text in (plain(token, name), getattr(token, name).value)
    ]
    secrets += [persona.text.split("_", 2)[2] for persona in (acme, globex)]
    secrets += [bytes(key.digest).hex() for key in ApiKey.objects.all()]

    for address in pages(model):
        page = operator.get(address)

        assert page.status_code == 200, address
        html = page.content.decode()
        assert not any(secret in html for secret in secrets), address
        assert "access_token" not in html


@pytest.mark.parametrize("model", READ_ONLY)
def test_its_pages_change_nothing(acme: Persona, globex: Persona, operator: Client, model: Any) -> None:
    listed, first, *_ = pages(model)
    before = list(model.objects.values())

    assert 'name="_save"' not in operator.get(first).content.decode()
    assert operator.get(f"{listed}add/").status_code == 403
    assert operator.post(first, {"name": "changed", "tenant": globex.tenant.pk}).status_code == 403
    assert operator.post(first.replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
    assert list(model.objects.values()) == before


def test_it_finds_a_location_by_its_agency(acme: Persona, operator: Client) -> None:
    page = operator.get("/admin/oauth/location/", {"q": acme.location.agency_id})

    assert acme.location.pk in page.content.decode()


def test_it_revokes_the_keys_selected(acme: Persona, globex: Persona, operator: Client) -> None:
    order = {"action": "revoke_selected", "_selected_action": [acme.key.pk]}

    page = operator.post("/admin/oauth/apikey/", order, follow=True)

    assert "Revoked." in page.content.decode()
    assert keys.find(acme.text) is None
    assert keys.find(globex.text) == globex.key


def test_an_onlooker_revokes_nothing(acme: Persona) -> None:
    onlooker = User.objects.create_user("onlooker", is_staff=True)
    onlooker.user_permissions.add(Permission.objects.get(codename="view_apikey"))
    client = Client()
    client.force_login(onlooker)

    page = client.post(
        "/admin/oauth/apikey/", {"action": "revoke_selected", "_selected_action": [acme.key.pk]}
    )

    assert page.status_code in {200, 302}
    assert keys.find(acme.text) == acme.key


def test_strangers_see_nothing(acme: Persona) -> None:
    for model in (*READ_ONLY, Tenant):
        for address in pages(model):
            assert Client().get(address).status_code == 302


def test_rows_are_called_what_people_call_them(acme: Persona) -> None:
    assert str(stored()) == f"token of {acme.location.pk}"
    assert str(acme.location) == acme.location.pk
    assert str(Location(pk="1", name="Chai & Co.")) == "Chai & Co."
    assert str(Agency(pk="1")) == "1"
