"""What stands around every request: one log line under a request id that answers and logs share, links,
and the way past what only pages need. No behaviour of the product lives here."""

import json
import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from typing import Any, cast
from urllib.parse import urljoin

import structlog
from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django_structlog.middlewares import RequestMiddleware

from ghlapp.addresses import client_address

# Its lines are put together here: structlog's chain takes 0.1 ms for what has no argument and no traceback.
log = logging.getLogger("ghlapp.requests")
LEVELS = {4: logging.WARNING, 5: logging.ERROR}


class RequestLog(RequestMiddleware):
    """One line for each request, without the query: a callback's query is a secret.

    Failures are django-structlog's to log. Its line for each request reads settings and sends signals that nothing
    listens to, which takes longer than the line itself.
    """

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        return f"{request.method} {request.path}"

    def __call__(self, request: HttpRequest) -> HttpResponse:
        identifier = str(uuid.uuid4())
        bound = structlog.contextvars.bind_contextvars(request_id=identifier, ip=client_address(request))
        response = cast("HttpResponse", self.get_response(request))
        response.headers["X-Request-Id"] = identifier
        self.handle_response(request, response)
        structlog.contextvars.reset_contextvars(**bound)
        return response

    def handle_response(self, request: HttpRequest, response: HttpResponse) -> None:
        if hasattr(request, "_raised_exception"):
            del request._raised_exception
        else:
            level = LEVELS.get(response.status_code // 100, logging.INFO)
            if log.isEnabledFor(level):
                line = _line(level, code=response.status_code, request=self.format_request(request))
                # Without a search through the stack for the caller, which the line does not name.
                log.handle(logging.makeLogRecord({"levelno": level, "msg": line, "name": log.name}))


def _line(level: int, **told: object) -> str:
    """As the other lines of the log."""
    about = {"event": "request_finished", **structlog.contextvars.get_contextvars()}
    about |= {"level": logging.getLevelName(level).lower(), "logger": log.name}
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({**told, **about, "timestamp": at}, ensure_ascii=False)


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


class StorableText:
    """Answers 400 where path or query hold a NUL: PostgreSQL keeps none, so nothing can be found by one.

    A cookie that holds one was not set by this service; without it the browser gets a fresh session.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "\0" in request.path_info or "%00" in request.META.get("QUERY_STRING", ""):
            raise BadRequest("The path or the query holds a NUL character (%00).")
        for name in [name for name, value in request.COOKIES.items() if "\0" in name + value]:
            del request.COOKIES[name]
        return self._get_response(request)


# For the people and machines that run this service.
INTERNAL_PATHS = ("/metrics", "/admin")


class InternalPaths:
    """Hides internal paths from clients outside INTERNAL_NETWORKS, where that is set."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.INTERNAL_NETWORKS and _is_internal(request.path_info) and not _is_from_inside(request):
            raise Http404
        return self._get_response(request)


def _is_internal(path: str) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in INTERNAL_PATHS)


def _is_from_inside(request: HttpRequest) -> bool:
    # A proxy that is not counted hides the client behind its own address, which is often an inside one.
    if not settings.TRUSTED_PROXY_COUNT and "X-Forwarded-For" in request.headers:
        return False
    try:
        address = ip_address(client_address(request))
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in settings.INTERNAL_NETWORKS)


OPERATOR_PATHS = ("/livez", "/readyz", "/metrics")


class OperatorPaths:
    """Passes probes and scrapers by all middleware that follows it, the check of the Host first."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._past_all = _innermost(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return (self._past_all if request.path_info in OPERATOR_PATHS else self.get_response)(request)


# Called by programs, which have a key or a signature and neither a session nor a form.
PROGRAM_PATHS = ("/api/v1/", "/webhooks/")


class PagesOnly:
    """Passes requests of programs by all middleware that follows it; answers go through what stands before it.

    Sessions, CSRF, messages and static files cost an API call a third of a millisecond and do nothing for it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._past_all = _innermost(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._past_all(request) if is_program_request(request) else self.get_response(request)


def _innermost(get_response: Any) -> Callable[[HttpRequest], HttpResponse]:
    """What calls the view: Django wraps each middleware with `functools.wraps`, which tells what is inside.

    Every middleware that follows must keep it under its usual name, `get_response`.
    """
    while inner := getattr(getattr(get_response, "__wrapped__", None), "get_response", None):
        get_response = inner
    innermost: Callable[[HttpRequest], HttpResponse] = get_response
    return innermost


def is_program_request(request: HttpRequest) -> bool:
    return request.path_info.startswith(PROGRAM_PATHS)


def request_id() -> str:
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))
