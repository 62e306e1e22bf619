"""Headers that every answer carries. The Content-Security-Policy of pages is a setting, which django-csp adds; what a
single page needs beside it is said at its view."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from ghlapp.middleware import is_program_request

# Answers for programs, and whatever else no page middleware has seen, may load and do nothing in a browser.
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
COMMON = {
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class ResponseHeaders:
    """Adds the headers of this module where an answer has none of its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for name, value in COMMON.items():
            response.headers.setdefault(name, value)
        if is_program_request(request):
            response.headers.setdefault("Cache-Control", "no-store")
        if not settings.DEBUG:  # Django's debug pages have their scripts and styles inline
            response.headers.setdefault("Content-Security-Policy", NOTHING)
        return response
