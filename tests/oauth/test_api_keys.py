"""API keys: shown once, checked on each request, good for what they cover and for as long as they last."""

import hashlib
import hmac
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone
from rest_framework.test import APIClient

from oauth import keys
from oauth.models import Agency, ApiKey, Location, Tenant
from oauth.scopes import BOOKINGS_READ, BOOKINGS_WRITE
from sandbox.seed import COMPANY, THIRD_LOCATION
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona, booking_body

BOOKINGS = "/api/v1/bookings"


def call(header: str | None) -> Any:
    return APIClient().get(BOOKINGS, headers={} if header is None else {"Authorization": header})


def covered(key: ApiKey) -> set[str]:
    return set(Location.objects.covered_by(key).values_list("pk", flat=True))


# --- Issued -----------------------------------------------------------------------------------------------


def test_it_is_a_prefix_and_a_secret_of_256_bits(acme: Persona) -> None:
    name, prefix, secret = acme.text.split("_", 2)

    assert (name, prefix) == ("bk", acme.key.prefix)
    assert len(prefix) == 12
    assert len(secret) == 43  # 32 bytes in base64


def test_only_its_digest_is_kept(acme: Persona) -> None:
    secret = acme.text.split("_", 2)[2]

    row = ApiKey.objects.filter(pk=acme.key.pk).values().get()

    assert bytes(row["digest"]) == hashlib.sha256(secret.encode()).digest()
    assert not any(secret in str(value) for value in row.values())


def test_no_two_keys_are_alike(acme: Persona) -> None:
    texts = {keys.issue(acme.tenant)[1] for _ in range(20)}

    assert len({text[:15] for text in texts}) == len({text[16:] for text in texts}) == 20


# --- Checked ----------------------------------------------------------------------------------------------


def test_it_opens_the_api_for_its_tenant(acme: Persona, globex: Persona) -> None:
    acme.book()

    assert [entry["locationId"] for entry in acme.api.get(BOOKINGS).json()["results"]] == [ACME_LOCATION]
    assert globex.api.get(BOOKINGS).json()["results"] == []


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Bearer   "])
def test_it_is_shown_as_a_bearer_token(acme: Persona, scheme: str) -> None:
    assert call(scheme + acme.text).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "{key}",
        "Bearer",
        "Bearer ",
        "Token {key}",
        "Basic {key}",
        "Bearer {key} x",
        "Bearer bk_{prefix}_",
        "Bearer bk_{prefix}",
        "Bearer {prefix}_{secret}",
        "Bearer bk_{secret}_{prefix}",
        "Bearer bk_{prefix}_{secret}x",
        "Bearer bk_{prefix}_x{secret}",
        "Bearer bk_zzzzzzzzzzzz_{secret}",
        "Bearer bk_{prefix}_{of_globex}",
        "Bearer bk_\x00bcdefghijkl_{secret}",
        "Bearer bk_{prefix}_\xe9",
        "Bearer \xff\xfe",
    ],
)
def test_it_refuses_everything_else(acme: Persona, globex: Persona, header: str | None) -> None:
    parts = {
        "key": acme.text,
        "prefix": acme.key.prefix,
        "secret": acme.text.split("_", 2)[2],
        "of_globex": globex.text.split("_", 2)[2],
    }

    answer = call(header and header.format(**parts))

    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="bookings"'
    assert answer.json()["code"] == "unauthorized"
    assert not ApiKey.objects.filter(last_used_at__isnull=False).exists()


def test_the_secret_is_compared_in_constant_time(acme: Persona, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(keys, "hmac", type("hmac", (), {"compare_digest": staticmethod(compare)}))

    assert keys.find(acme.text) == acme.key
    assert keys.find(acme.text + "x") is None
    assert keys.find(f"bk_zzzzzzzzzzzz_{acme.text.split('_', 2)[2]}") is None

    # Also where no row was found, so that the time does not tell which prefixes exist.
    assert compared == [(32, 32)] * 3


def test_what_is_no_key_costs_no_query(
    acme: Persona, django_assert_num_queries: Callable[[int], Any]
) -> None:
    with django_assert_num_queries(0):
        assert keys.find("Bearer of bad news") is None
    with django_assert_num_queries(1):
        assert keys.find(acme.text) == acme.key


def test_it_ends_when_it_expires(acme: Persona, globex: Persona) -> None:
    _, text = keys.issue(acme.tenant, expires_at=timezone.now() + timedelta(hours=1))

    assert call(f"Bearer {text}").status_code == 200
    with time_machine.travel(timezone.now() + timedelta(minutes=61)):
        assert call(f"Bearer {text}").status_code == 401
        assert globex.api.get(BOOKINGS).status_code == 200


def test_it_ends_when_it_is_revoked(acme: Persona, globex: Persona) -> None:
    keys.revoke(acme.key)

    assert acme.api.get(BOOKINGS).status_code == 401
    assert globex.api.get(BOOKINGS).status_code == 200


def test_it_is_revoked_once(acme: Persona) -> None:
    keys.revoke(acme.key)
    first = ApiKey.objects.get(pk=acme.key.pk).revoked_at
    keys.revoke(acme.key)

    assert ApiKey.objects.get(pk=acme.key.pk).revoked_at == first is not None


# --- What it may do ---------------------------------------------------------------------------------------


def test_it_may_do_what_its_scopes_say(acme: Persona, globex: Persona) -> None:
    _, text = keys.issue(acme.tenant, locations=[acme.location], scopes=[BOOKINGS_READ])
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")

    assert client.get(BOOKINGS).status_code == 200
    answer = client.post(BOOKINGS, booking_body(), format="json")

    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "insufficient_scope"
    assert BOOKINGS_WRITE in answer.json()["detail"]


def test_it_may_read_and_write_bookings_for_a_year_unless_told_otherwise(acme: Persona) -> None:
    key, _ = keys.issue(acme.tenant, locations=[acme.location])

    assert key.scopes == [BOOKINGS_READ, BOOKINGS_WRITE]
    assert key.expires_at is not None
    assert key.expires_at > timezone.now() + timedelta(days=364)
    assert keys.issue(acme.tenant, never_expires=True)[0].expires_at is None


def test_it_covers_the_locations_it_names(acme: Persona, globex: Persona) -> None:
    both, _ = keys.issue(acme.tenant, locations=[acme.location, globex.location])

    assert covered(acme.key) == {ACME_LOCATION}
    assert covered(globex.key) == {GLOBEX_LOCATION}
    assert covered(both) == {ACME_LOCATION, GLOBEX_LOCATION}
    assert acme.book(booking_body(locationId=GLOBEX_LOCATION)).json()["code"] == "location_not_allowed"


def test_it_covers_the_locations_its_agency_gains_later(
    acme: Persona, globex: Persona, connect: Callable[[str], Location]
) -> None:
    key, _ = keys.issue(acme.tenant, agency=Agency.objects.get(pk=COMPANY))
    assert covered(key) == {ACME_LOCATION, GLOBEX_LOCATION}

    connect(THIRD_LOCATION)
    other = Agency.objects.create(pk="another-company")
    Location.objects.filter(pk=GLOBEX_LOCATION).update(agency=other)
    Location.objects.create(pk="of-nobody")

    assert covered(key) == {ACME_LOCATION, THIRD_LOCATION}


def test_a_key_without_locations_covers_none(acme: Persona) -> None:
    Location.objects.create(pk="of-nobody")

    assert covered(keys.issue(acme.tenant)[0]) == set()


# --- Its last use -----------------------------------------------------------------------------------------


def test_its_last_use_is_noted_once_a_minute(acme: Persona, globex: Persona) -> None:
    start = timezone.now()
    noted = []
    for seconds in (0, 30, 59, 61, 90):
        with time_machine.travel(start + timedelta(seconds=seconds), tick=False):
            acme.api.get(BOOKINGS)
        last = ApiKey.objects.get(pk=acme.key.pk).last_used_at
        assert last is not None
        noted.append(round((last - start).total_seconds()))

    assert noted == [0, 0, 0, 61, 61]
    assert ApiKey.objects.get(pk=globex.key.pk).last_used_at is None


def test_it_is_never_logged(acme: Persona, caplog: pytest.LogCaptureFixture) -> None:
    for name in (None, "django", "django.request", "oauth", "rest_framework"):
        caplog.set_level(logging.DEBUG, logger=name)

    acme.api.get(BOOKINGS)
    call(f"Bearer {acme.text}x")
    acme.api.get("/api/v1/nothing")
    acme.book({"locationId": 1})

    assert "GET /api/v1/bookings" in caplog.text
    assert acme.text not in caplog.text
    assert acme.text.split("_", 2)[2] not in caplog.text


def test_its_row_shows_no_secret(acme: Persona) -> None:
    assert str(acme.key) == f"{acme.key.prefix}… of {acme.tenant.pk}"
    assert acme.text.split("_", 2)[2] not in repr(acme.key) + str(acme.key.__dict__)
    assert str(Tenant.objects.get(name="acme")) == "acme"
