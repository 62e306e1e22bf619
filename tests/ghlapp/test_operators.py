"""Operators of the admin: passwords, failed sign-ins, sessions, second factor, and what the audit log says."""

import io
import logging
import time
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from ghlapp import operators
from oauth import audit
from oauth.models import Tenant

PASSWORD = "a password of this test"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quick(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    monkeypatch.setattr(audit, "sign_in_refusals", audit.LineLimit(audit.MAX_REFUSALS, 60))


@pytest.fixture
def operator() -> User:
    return User.objects.create_superuser("operator", password=PASSWORD)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:
    """`lines(event)`: the fields of the audit lines of this event."""
    caplog.set_level(logging.DEBUG)

    def of(event: str) -> list[dict[str, Any]]:
        records: list[Any] = [each.msg for each in caplog.records if each.name == audit.LOGGER]
        return [each for each in records if each["event"] == event]

    return of


def sign_in(client: Client, password: str = PASSWORD, name: str = "operator", **more: str) -> Any:
    address = more.pop("address", "192.0.2.1")
    form = {"username": name, "password": password, **more}
    return client.post("/admin/login/?next=/admin/", form, REMOTE_ADDR=address)


def is_signed_in(client: Client) -> bool:
    return client.get("/admin/").status_code == 200


@pytest.mark.parametrize("password", ["short-one-1", "1q2w3e4r5t6y", "1029384756102938", "the-operator-1"])
def test_a_weak_password_is_refused(password: str) -> None:
    with pytest.raises(ValidationError):
        validate_password(password, User(username="the-operator"))


def test_a_good_password_signs_in(operator: User, lines: Any) -> None:
    client = Client()

    assert sign_in(client).headers["Location"] == "/admin/"
    assert is_signed_in(client)
    client.post("/admin/logout/")
    assert not is_signed_in(client)
    assert [each["by"] for each in lines("admin.signed_in") + lines("admin.signed_out")] == ["operator"] * 2


def test_five_failures_lock_a_name_out_from_an_address(
    operator: User, lines: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pages = [sign_in(Client(), "wrong, and secret") for _ in range(5)]
    locked = sign_in(Client())

    assert [page.status_code for page in pages] == [200] * 4 + [429]
    assert (locked.status_code, locked.headers["Retry-After"]) == (429, "900")
    assert "Too many failed sign-ins" in locked.content.decode()
    assert "no-store" in locked.headers["Cache-Control"]
    # Neither from elsewhere nor for others.
    User.objects.create_superuser("other", password=PASSWORD)
    assert sign_in(Client(), address="192.0.2.2").status_code == 302
    assert sign_in(Client(), name="other").status_code == 302
    reasons = [each["reason"] for each in lines("admin.sign_in_failed")]
    assert reasons == ["wrong_credentials"] * 4 + ["locked_out"] * 2
    assert "wrong, and secret" not in caplog.text + str(list(AccessAttempt.objects.values()))


@pytest.mark.parametrize("name", ["x" * 151, "x" * 5_000, "a\x00b", "\u0130" * 5_000])
def test_a_name_that_no_operator_can_have_is_refused(operator: User, name: str) -> None:
    for more in ({}, {"next": name}, {"otp_token": name}):
        assert sign_in(Client(raise_request_exception=False), name=name, **more).status_code in (200, 429), (
            more
        )


def test_a_lock_ends_by_itself(operator: User) -> None:
    start = time.time()
    for _ in range(5):
        sign_in(Client(), "wrong")
    with time_machine.travel(start + 14 * 60):
        assert sign_in(Client()).status_code == 429
    with time_machine.travel(start + 16 * 60):
        assert sign_in(Client()).status_code == 302


def test_a_sign_in_forgives_the_failures_before_it(operator: User) -> None:
    for _ in range(3):
        for _ in range(3):
            sign_in(Client(), "wrong")
        assert sign_in(Client()).status_code == 302


def test_failures_do_not_flood_the_log(operator: User, lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "sign_in_refusals", audit.LineLimit(2, 60))

    for number in range(6):
        sign_in(Client(), "wrong", name=f"somebody {number}")

    assert len(lines("admin.sign_in_failed")) == 2


def test_a_session_ends_after_an_hour_without_use(operator: User) -> None:
    client, start = Client(), time.time()
    sign_in(client)

    for minutes in (50, 100, 150):
        with time_machine.travel(start + minutes * 60):
            assert is_signed_in(client), minutes
    with time_machine.travel(start + 211 * 60):
        assert not is_signed_in(client)


def test_a_session_ends_after_eight_hours_of_use(operator: User) -> None:
    client, start = Client(), time.time()
    sign_in(client)

    for half_hours in range(1, 16):
        with time_machine.travel(start + half_hours * 1800):
            assert is_signed_in(client), half_hours
    with time_machine.travel(start + operators.MAX_SESSION.total_seconds() + 60):
        assert not is_signed_in(client)


def test_the_audit_log_tells_of_changes(operator: User, lines: Any) -> None:
    client = Client()
    client.force_login(operator)

    client.post("/admin/oauth/tenant/add/", {"name": "initech"})
    tenant = Tenant.objects.get()
    client.post(f"/admin/oauth/tenant/{tenant.pk}/change/", {"name": "initrode"})
    client.post(f"/admin/oauth/tenant/{tenant.pk}/delete/", {"post": "yes"})

    changes = [(each["action"], each["model"], each["object_id"]) for each in lines("admin.changed")]
    assert changes == [(action, "oauth.tenant", str(tenant.pk)) for action in ("added", "changed", "deleted")]
    assert all(each["by"] == "operator" and each["request_id"] for each in lines("admin.changed"))


def test_no_rows_are_deleted_in_bulk_past_the_audit_log(operator: User) -> None:
    tenant = Tenant.objects.create(name="initech")
    client = Client()
    client.force_login(operator)

    order = {"action": "delete_selected", "_selected_action": [tenant.pk], "post": "yes"}
    client.post("/admin/oauth/tenant/", order)

    assert Tenant.objects.filter(pk=tenant.pk).exists()


# --- The second factor ------------------------------------------------------------------------------------


@pytest.fixture
def second_factor(settings: Any, operator: User) -> str:
    """It is asked for, and the operator has one; what the command printed."""
    settings.ADMIN_SECOND_FACTOR = True
    output = io.StringIO()
    call_command("add_second_factor", "operator", stdout=output)
    return output.getvalue()


def code_of_the_app(skew: int = 0) -> str:
    device = TOTPDevice.objects.get()
    token = TOTP(device.bin_key, device.step, device.t0, device.digits, device.drift).token()
    return f"{(token + skew) % 1_000_000:06d}"


def test_the_command_shows_the_app_and_the_backup_tokens_once(second_factor: str, lines: Any) -> None:
    assert "otpauth://totp/testserver%3Aoperator?secret=" in second_factor
    assert "█" in second_factor or "▄" in second_factor
    tokens = second_factor.strip().splitlines()[-8:]
    assert sorted(tokens) == sorted(StaticToken.objects.values_list("token", flat=True))

    before = TOTPDevice.objects.get().key
    call_command("add_second_factor", "operator", stdout=io.StringIO())
    assert TOTPDevice.objects.get().key != before
    (line,) = lines("admin.second_factor_added")
    assert line["operator"] == "operator"
    assert TOTPDevice.objects.get().key not in str(line)


def test_the_command_knows_no_stranger() -> None:
    with pytest.raises(CommandError, match="no operator"):
        call_command("add_second_factor", "nobody")


def test_a_password_alone_does_not_sign_in(second_factor: str, lines: Any) -> None:
    client = Client()

    for more in ({}, {"otp_token": ""}, {"otp_token": "made-up"}):
        page = sign_in(client, **more)
        assert page.status_code == 200
        assert PASSWORD not in page.content.decode()
    assert not is_signed_in(client)
    assert [each["reason"] for each in lines("admin.sign_in_failed")] == ["wrong_second_factor"]


def test_a_session_from_before_needs_the_second_factor_too(operator: User, settings: Any) -> None:
    client = Client()
    sign_in(client)
    assert is_signed_in(client)

    settings.ADMIN_SECOND_FACTOR = True

    assert not is_signed_in(client)


def test_password_and_code_sign_in_once(second_factor: str) -> None:
    client, code = Client(), code_of_the_app()

    assert sign_in(client, otp_token=code).status_code == 302
    assert is_signed_in(client)
    assert sign_in(Client(), otp_token=code).status_code == 200  # the code is used up


def test_a_backup_token_signs_in_once(second_factor: str) -> None:
    token = second_factor.strip().splitlines()[-1]

    assert sign_in(Client(), otp_token=token).status_code == 302
    assert sign_in(Client(), otp_token=token).status_code == 200


def test_wrong_codes_are_slowed_down(second_factor: str) -> None:
    assert sign_in(Client(), otp_token=code_of_the_app(skew=1)).status_code == 200

    assert sign_in(Client(), otp_token=code_of_the_app()).status_code == 200
    with time_machine.travel(time.time() + timedelta(minutes=1).total_seconds()):
        assert sign_in(Client(), otp_token=code_of_the_app()).status_code == 302


def test_an_operator_without_a_second_factor_is_told_how_to_get_one(operator: User, settings: Any) -> None:
    settings.ADMIN_SECOND_FACTOR = True

    assert "manage.py add_second_factor" in sign_in(Client(), otp_token="123456").content.decode()


def test_the_admin_shows_no_key_of_an_app(second_factor: str) -> None:
    client = Client()
    sign_in(client, otp_token=code_of_the_app())
    device = TOTPDevice.objects.get()

    for path in ("", f"{device.pk}/change/", f"{device.pk}/config/", f"{device.pk}/qrcode/"):
        assert device.key not in client.get(f"/admin/otp_totp/totpdevice/{path}").content.decode()
