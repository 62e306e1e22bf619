"""`manage.py issue_api_key` and `revoke_api_key`, as an operator types them."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from oauth import keys
from oauth.models import ApiKey, Location, Tenant
from oauth.scopes import BOOKINGS_READ, CALENDARS_READ
from sandbox.seed import COMPANY
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona


def run(*words: str) -> str:
    output = StringIO()
    call_command(*words, stdout=output)
    return output.getvalue()


def issued(*words: str) -> ApiKey:
    tenant = () if "--tenant" in words else ("--tenant", "default")
    text = run("issue_api_key", *tenant, *words)
    key = keys.find(text.strip())
    assert key is not None, text
    return key


def covered(key: ApiKey) -> set[str]:
    return {location.pk for location in Location.objects.covered_by(key)}


def test_it_prints_the_key_alone(acme: Persona, globex: Persona) -> None:
    text = run("issue_api_key", "--tenant", "acme", "--location", ACME_LOCATION)

    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert keys.find(text.rstrip("\n")) is not None


def test_it_creates_a_tenant_that_is_new(acme: Persona) -> None:
    key = issued("--tenant", "initech", "--location", ACME_LOCATION)

    assert key.tenant.name == "initech"
    assert issued("--tenant", "initech", "--location", ACME_LOCATION).tenant == key.tenant


def test_it_grants_bookings_for_a_year_unless_told_otherwise(acme: Persona) -> None:
    key = issued("--location", ACME_LOCATION)

    assert key.scopes == ["bookings:read", "bookings:write"]
    assert key.name == ""
    assert key.expires_at is not None
    assert abs(key.expires_at - timezone.now() - timedelta(days=365)) < timedelta(minutes=5)


def test_it_issues_a_key_that_never_expires(acme: Persona) -> None:
    assert issued("--location", ACME_LOCATION, "--never-expires").expires_at is None


def test_it_uses_the_tenant_there_is(acme: Persona) -> None:
    assert issued("--tenant", "acme", "--location", ACME_LOCATION).tenant == acme.tenant


def test_it_covers_every_location_named(acme: Persona, globex: Persona) -> None:
    words = ("--location", ACME_LOCATION, "--location", GLOBEX_LOCATION, "--location", ACME_LOCATION)

    assert covered(issued(*words)) == {ACME_LOCATION, GLOBEX_LOCATION}


def test_it_covers_an_agency(acme: Persona, globex: Persona) -> None:
    key = issued("--agency", COMPANY)

    assert key.agency_id == COMPANY
    assert covered(key) == {ACME_LOCATION, GLOBEX_LOCATION}


def test_it_grants_the_scopes_named(acme: Persona) -> None:
    key = issued("--location", ACME_LOCATION, "--scope", BOOKINGS_READ, "--scope", CALENDARS_READ)

    assert key.scopes == [BOOKINGS_READ, CALENDARS_READ]


def test_it_notes_name_and_expiry(acme: Persona) -> None:
    year = timezone.now().year + 2
    key = issued("--location", ACME_LOCATION, "--name", "till", "--expires", f"{year}-01-31T00:00:00+05:30")

    assert key.name == "till"
    assert key.expires_at == datetime(year, 1, 30, 18, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--location", "nowhere"], "Unknown location: nowhere"),
        (["--location", ACME_LOCATION, "--location", "nowhere"], "Unknown location: nowhere"),
        (["--agency", "nobody"], "Unknown agency: nobody"),
        (["--location", ACME_LOCATION, "--expires", "2099-01-31"], "needs an offset"),
        (["--location", ACME_LOCATION, "--expires", "2099-01-31T00:00:00"], "needs an offset"),
        (["--location", ACME_LOCATION, "--expires", "next year"], "not an ISO 8601"),
        (["--location", ACME_LOCATION, "--expires", "2099-01-31T00:00:00+05:75"], "not an ISO 8601"),
        (["--location", ACME_LOCATION, "--expires", "9999-12-31T23:59:59-05:00"], "not an ISO 8601"),
        (["--location", ACME_LOCATION, "--expires", "2020-01-31T00:00:00Z"], "in the past"),
        (["--location", ACME_LOCATION, "--scope", "everything"], "invalid choice"),
        (
            ["--location", ACME_LOCATION, "--expires", "2099-01-31T00:00:00Z", "--never-expires"],
            "not allowed",
        ),
        (["--location", ACME_LOCATION, "--tenant", ""], "--tenant"),
        (["--location", ACME_LOCATION, "--tenant", "x" * 101], "--tenant"),
        (["--location", ACME_LOCATION, "--name", "x" * 101], "--name"),
        # Bytes of an argument that are not UTF-8 come in as halves of surrogate pairs.
        (["--location", ACME_LOCATION, "--tenant", "caf\udce9"], "--tenant"),
        (["--location", "caf\udce9"], "--location"),
        (["--agency", "caf\udce9"], "--agency"),
        (["--location", ACME_LOCATION, "--agency", COMPANY], "not allowed with"),
        ([], "required"),
    ],
)
def test_it_ends_with_an_error_and_issues_nothing(acme: Persona, words: list[str], complaint: str) -> None:
    tenant = () if "--tenant" in words else ("--tenant", "default")
    with pytest.raises(CommandError, match=complaint) as ended:
        run("issue_api_key", *tenant, *words)

    assert ended.value.returncode == 1
    assert ApiKey.objects.get() == acme.key
    assert Tenant.objects.get() == acme.tenant


def test_it_needs_a_tenant(acme: Persona) -> None:
    with pytest.raises(CommandError, match="--tenant"):
        run("issue_api_key", "--location", ACME_LOCATION)

    assert ApiKey.objects.get() == acme.key


@pytest.mark.parametrize("named_by", ["prefix", "text"])
def test_it_revokes_a_key(acme: Persona, globex: Persona, named_by: str) -> None:
    output = run("revoke_api_key", {"prefix": acme.key.prefix, "text": acme.text}[named_by])

    assert output == f"Revoked {acme.key.prefix}.\n"
    assert keys.find(acme.text) is None
    assert keys.find(globex.text) == globex.key


def test_it_does_not_revoke_what_it_cannot_find(acme: Persona) -> None:
    with pytest.raises(CommandError, match="no such key"):
        run("revoke_api_key", "zzzzzzzzzzzz")

    assert keys.find(acme.text) == acme.key


def test_revoking_again_changes_nothing(acme: Persona) -> None:
    run("revoke_api_key", acme.key.prefix)
    first = ApiKey.objects.get().revoked_at
    run("revoke_api_key", acme.key.prefix)

    assert ApiKey.objects.get().revoked_at == first
    assert first is not None
    assert timezone.now() - first < timedelta(minutes=1)


@pytest.mark.parametrize("command", ["issue_api_key", "revoke_api_key"])
def test_it_explains_itself(command: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command(command, "--help")

    assert ended.value.code == 0
    assert "key" in capsys.readouterr().out
