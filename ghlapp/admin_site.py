"""The admin's site and how operators sign in to it, with a second factor where ADMIN_SECOND_FACTOR asks for one.
What becomes of a session and what the audit log says of operators is in operators.py."""

from typing import Any

from django.conf import settings
from django.contrib.admin import AdminSite
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest
from django_otp.admin import OTPAdminAuthenticationForm, OTPAdminSite
from django_otp.models import Device
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice


class SecondFactorForm(OTPAdminAuthenticationForm):  # type: ignore[misc]
    """Name, password and token in one step: six digits are an authenticator app's, else it is a backup token."""

    otp_error_messages = {
        **OTPAdminAuthenticationForm.otp_error_messages,
        "device_required": "This account has no second factor. Add one with `manage.py add_second_factor`.",
    }

    def _chosen_device(self, user: AbstractBaseUser) -> Device | None:
        kind = TOTPDevice if self.cleaned_data.get("otp_token", "").isdigit() else StaticDevice
        return kind.objects.devices_for_user(user, confirmed=True).first()

    def _update_form(self, user: AbstractBaseUser) -> None:
        """Nothing is to be chosen, and the password is not to be sent back."""


class Site(OTPAdminSite):  # type: ignore[misc]
    """Django's admin site. Rows are deleted one by one, so that the audit log tells of each."""

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.disable_action("delete_selected")

    @property
    def login_form(self) -> type[SecondFactorForm] | None:
        return SecondFactorForm if settings.ADMIN_SECOND_FACTOR else None

    @property
    def login_template(self) -> str | None:
        return "ghlapp/second_factor.html" if settings.ADMIN_SECOND_FACTOR else None

    def has_permission(self, request: HttpRequest) -> Any:
        if settings.ADMIN_SECOND_FACTOR:
            return super().has_permission(request)
        return AdminSite.has_permission(self, request)
