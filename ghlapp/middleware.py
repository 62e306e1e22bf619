"""What stands around every request: one log line under a request id that answers and logs share, a length for
bodies that come without one, links, and the way past what only pages need. No behaviour of the product lives here."""

from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django_structlog.middlewares import RequestMiddleware

from ghlapp.addresses import client_address

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def with_length(application: "WSGIApplication") -> "WSGIApplication":
    """`application`, told the length of chunked bodies too: Django takes a body without one for empty."""

    def measured(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
            # Only so much that what is larger is seen to be too large.
            body = environ["wsgi.input"].read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
            environ = {**environ, "wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        return application(environ, start_response)

    return measured


class RequestLog(RequestMiddleware):
    """django-structlog's middleware, without the query: a callback's query is a secret."""

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        return f"{request.method} {request.path}"

    @classmethod
    def bind_ip(cls, request: HttpRequest) -> None:
        structlog.contextvars.bind_contextvars(ip=client_address(request))

    def handle_response(self, request: HttpRequest, response: HttpResponse) -> None:
        response.headers["X-Request-Id"] = request_id()
        super().handle_response(request, response)


class PublicLinks:
    """Makes absolute links begin with PUBLIC_URL, for a proxy need not pass the Host on that its clients used."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # DRF's pages, Django's redirects and drf-spectacular all ask the request for theirs.
        request.build_absolute_uri = partial(_public_uri, request)  # type: ignore[method-assign]
        return self._get_response(request)


def _public_uri(request: HttpRequest, location: str | None = None) -> str:
    """What `HttpRequest.build_absolute_uri` says, from where HighLevel and browsers stand."""
    location = request.get_full_path() if location is None else location
    if location.startswith("/") and not location.startswith("//"):
        return settings.PUBLIC_URL + location
    return urljoin(settings.PUBLIC_URL + request.path, location)


# Called by programs, which have a key or a signature and neither a session nor a form.
PROGRAM_PATHS = ("/api/v1/", "/webhooks/")


class PagesOnly:
    """Passes requests of programs by all middleware that follows it; answers go through what stands before it.

    Sessions, CSRF, messages and static files cost an API call a third of a millisecond and do nothing for it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._through_all = get_response
        self._past_all = _innermost(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._past_all(request) if is_program_request(request) else self._through_all(request)


def _innermost(get_response: Any) -> Callable[[HttpRequest], HttpResponse]:
    """What calls the view: Django wraps each middleware with `functools.wraps`, which tells what is inside."""
    while inner := getattr(getattr(get_response, "__wrapped__", None), "get_response", None):
        get_response = inner
    innermost: Callable[[HttpRequest], HttpResponse] = get_response
    return innermost


def is_program_request(request: HttpRequest) -> bool:
    return request.path_info.startswith(PROGRAM_PATHS)


def request_id() -> str:
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))
