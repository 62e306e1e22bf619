"""Django's error pages without secrets: hidden by name, and wherever their values stand."""

import html
import re
from collections.abc import ItemsView, Iterator
from types import FrameType
from typing import Any

from django.conf import settings
from django.http import HttpRequest, QueryDict
from django.utils.safestring import SafeString, mark_safe
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from ghlapp.secret_settings import secrets

BY_DJANGO = SafeExceptionReporterFilter.hidden_settings.pattern
MORE_NAMES = "DATABASE|REDIS|BROKER|CONNINFO|CREDENTIAL|COOKIE"
# What anything shorter hides is too much of a page to read.
SHORTEST = 4
# One-time values in HighLevel's redirect to the callback.
ONE_TIME = ("code", "state")


class Filter(SafeExceptionReporterFilter):
    """Hides by name, also what Django shows on a debug page: variables and fields of forms."""

    hidden_settings = re.compile(f"{BY_DJANGO}|{MORE_NAMES}", re.IGNORECASE)

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        shown: QueryDict | dict[str, Any] = super().get_post_parameters(request)
        return {name: self.cleanse_setting(name, value) for name, value in shown.items()}

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> ItemsView[str, Any]:
        shown = dict(super().get_traceback_frame_variables(request, tb_frame))
        return {
            name: self.cleansed_substitute if self.hidden_settings.search(name) else value
            for name, value in shown.items()
        }.items()


class Reporter(ExceptionReporter):
    """Hides the secrets' values in the whole of the page: in messages, in addresses, in what variables hold."""

    def get_traceback_html(self) -> SafeString:
        return self._redacted(super().get_traceback_html())

    def get_traceback_text(self) -> SafeString:
        return self._redacted(super().get_traceback_text())

    def _redacted(self, page: SafeString) -> SafeString:
        # The longest first: one may be part of another.
        for value in sorted(set(self._values()), key=len, reverse=True):
            if len(value) >= SHORTEST:
                page = mark_safe(page.replace(value, self.filter.cleansed_substitute))  # noqa: S308  (stars)
        return page

    def _values(self) -> Iterator[str]:
        """Every secret that may stand on the page, in the forms in which it may."""
        for secret in self._secrets():
            for form in (secret, repr(secret)[1:-1]):
                yield form
                yield html.escape(form)

    def _secrets(self) -> Iterator[str]:
        yield from (settings.DATABASE_URL, settings.REDIS_URL)
        yield from (secret for _, secret in secrets())
        if self.request is not None:
            authorization = self.request.META.get("HTTP_AUTHORIZATION", "")
            yield from (authorization, authorization.rpartition(" ")[2])
            yield from self.request.COOKIES.values()
            yield from (self.request.GET.get(name, "") for name in ONE_TIME)
            posted = self.request.POST
            yield from (posted[name] for name in posted if self.filter.hidden_settings.search(name))
