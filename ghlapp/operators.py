"""Operators of the admin: how long their sessions last, what they are told when locked out, and what the audit log
says of their sign-ins and changes. How they sign in is admin_site.py's."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from axes.signals import user_locked_out
from django.conf import settings
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth import SESSION_KEY, logout
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django_otp.forms import otp_verification_failed

from oauth import audit

MAX_SESSION = timedelta(hours=8)
MAX_IDLE = timedelta(hours=1)
# How often a session in use is written.
SEEN_STEP = timedelta(minutes=1)
SIGNED_IN_AT, SEEN_AT = "signed_in_at", "seen_at"
MAX_NAME_LENGTH = 150
ACTIONS = {ADDITION: "added", CHANGE: "changed", DELETION: "deleted"}


class OperatorSessions:
    """Signs an operator out after an hour without a request, and eight hours after the sign-in."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if SESSION_KEY in request.session:
            now = time.time()
            signed_in_at, seen_at = (request.session.get(name, 0.0) for name in (SIGNED_IN_AT, SEEN_AT))
            if now - signed_in_at > MAX_SESSION.total_seconds() or now - seen_at > MAX_IDLE.total_seconds():
                logout(request)
            elif now - seen_at > SEEN_STEP.total_seconds():
                request.session[SEEN_AT] = now
        return self.get_response(request)


def attempted_name(request: HttpRequest, credentials: dict[str, Any] | None) -> str | None:
    """The name of a sign-in as django-axes counts and stores it: no longer than an operator's can be.

    A NUL, which is refused before a password is looked at, must not reach its look-ups either.
    """
    given = credentials or request.POST
    name = given.get("username")
    return None if name is None else str(name).replace("\0", "")[:MAX_NAME_LENGTH]


@never_cache
def locked_out(request: HttpRequest, response: HttpResponse, credentials: Any) -> HttpResponse:
    """What django-axes answers to a sign-in that comes after too many failures."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    page = render(request, "ghlapp/locked_out.html", {"minutes": seconds // 60}, status=429)
    page.headers["Retry-After"] = str(seconds)
    return page


@receiver(user_logged_in)
def _signed_in(request: HttpRequest, user: Any, **_: Any) -> None:
    request.session[SIGNED_IN_AT] = request.session[SEEN_AT] = time.time()
    audit.record("admin.signed_in", by=user.get_username())


@receiver(user_logged_out)
def _signed_out(user: Any, **_: Any) -> None:
    if user is not None:
        audit.record("admin.signed_out", by=user.get_username())


@receiver(user_login_failed)
def _sign_in_failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    # Of what is tried while locked out no password is looked at, and `_locked_out` has told of it.
    if not getattr(request, "axes_locked_out", False):
        _refused("wrong_credentials", str(credentials.get("username") or ""))


@receiver(otp_verification_failed)
def _second_factor_failed(user: Any, **_: Any) -> None:
    _refused("wrong_second_factor", user.get_username())


@receiver(user_locked_out)
def _locked_out(username: str | None, **_: Any) -> None:
    _refused("locked_out", username or "")


def _refused(reason: str, name: str) -> None:
    if (suppressed := audit.sign_in_refusals.admit()) is not None:
        audit.record_refusal(
            "admin.sign_in_failed", suppressed=suppressed, reason=reason, by=name[:MAX_NAME_LENGTH]
        )


@receiver(post_save, sender=LogEntry)
def _changed(instance: LogEntry, **_: Any) -> None:
    content_type = instance.content_type
    audit.record(
        "admin.changed",
        by=instance.user.get_username(),
        action=ACTIONS[instance.action_flag],
        model=f"{content_type.app_label}.{content_type.model}" if content_type else "",
        object_id=str(instance.object_id),
        change=instance.get_change_message()[:200],
    )
