"""Problems as the API's callers see them: RFC 9457 problem+json, rendered in this one place, and the strict
JSON parser in front of them. What can go wrong is defined where the fact is known, in the rooms."""

import json
import logging
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.defaults import bad_request as bad_request_page
from django.views.defaults import page_not_found, server_error
from psycopg_pool import PoolTimeout
from rest_framework import exceptions, status
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from ghl.reading import finite, no_constant
from ghlapp.middleware import request_id

log = logging.getLogger(__name__)
CONTENT_TYPE = "application/problem+json"
# Their errors are never pages.
ROUTES_OF_PROGRAMS = ("/api/", "/webhooks/")
LARGEST_BODY = 256 * 1024
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)
TITLES = {
    "invalid_request": "The request is not valid",
    "unauthorized": "No valid API key",
    "insufficient_scope": "The API key lacks a scope",
    "location_not_allowed": "The API key does not cover this location",
    "location_disconnected": "The location is disconnected",
    "not_found": "Not found",
    "body_too_large": "The body is too large",
    "body_timeout": "The body did not arrive in time",
    "throttled": "Too many requests",
    "unsupported_media_type": "The body is not JSON",
    "method_not_allowed": "Method not allowed",
    "unavailable": "Temporarily unavailable",
    "internal_error": "Internal error",
}


class BodyTooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "body_too_large"
    default_detail = "The body is larger than this route takes."


class NeverRefusing(DefaultContentNegotiation):
    """A client whose `Accept` leaves out all we have is better served with the first of it than with a 406."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        if request.META.get("HTTP_ACCEPT", "*/*") == "*/*":
            first = next(iter(renderers))
            return first, first.media_type or ""
        try:
            renderer, media_type = super().select_renderer(request, renderers, format_suffix)
        except exceptions.NotAcceptable:
            first = next(iter(renderers))
            return first, first.media_type or ""
        return renderer, media_type


class StrictJSONParser(BaseParser):
    """JSON as RFC 8259 has it: UTF-8, no key twice, and numbers that are numbers.

    A view with `largest_body` bytes other than the usual says so.
    """

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        largest = getattr((parser_context or {}).get("view"), "largest_body", LARGEST_BODY)
        body = stream.read(largest + 1)
        if len(body) > largest:
            raise BodyTooLarge
        try:
            return json.loads(
                body.decode(),
                object_pairs_hook=_without_repeats,
                parse_constant=no_constant,
                parse_float=finite,
            )
        except RecursionError:
            raise exceptions.ParseError("The body is nested too deeply.") from None
        except ValueError as error:
            raise exceptions.ParseError(f"The body is not valid JSON: {error}") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return unique


def problem(status_code: int, code: str, detail: str, **more: Any) -> dict[str, Any]:
    """The members of a problem: `type`, `title`, `status`, `detail`, `code`, `requestId` and what is given."""
    return {
        "type": f"{settings.PUBLIC_URL}/api/docs/#problem-{code.replace('_', '-')}",
        "title": TITLES.get(code, code.replace("_", " ").capitalize()),
        "status": status_code,
        "detail": detail,
        "code": code,
        "requestId": request_id(),
        **more,
    }


def handle(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler: every error of the API, whatever it is, as a problem."""
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    elif isinstance(error, DATABASE_AWAY):
        log.warning("PostgreSQL is away: %s", type(error).__name__)
        error = DatabaseAway()
    elif not isinstance(error, exceptions.APIException):
        log.error("A request failed unforeseen", exc_info=error)
        error = exceptions.APIException(code="internal_error")
    body = problem(error.status_code, _code(error), _detail(error), **getattr(error, "more", {}))
    return Response(body, status=error.status_code, headers=_headers(error), content_type=CONTENT_TYPE)


class DatabaseAway(exceptions.APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "The database cannot be reached at the moment; nothing was accepted. Try again."
    default_code = "unavailable"
    wait = 5


_CODES: dict[type[exceptions.APIException], str] = {
    exceptions.ParseError: "invalid_request",
    exceptions.ValidationError: "invalid_request",
    exceptions.NotAuthenticated: "unauthorized",
    exceptions.AuthenticationFailed: "unauthorized",
    exceptions.MethodNotAllowed: "method_not_allowed",
    exceptions.UnsupportedMediaType: "unsupported_media_type",
}


def _code(error: exceptions.APIException) -> str:
    fallback = getattr(error.detail, "code", None) or error.default_code
    return "internal_error" if error.status_code == 500 else _CODES.get(type(error), str(fallback))


def _detail(error: exceptions.APIException) -> str:
    if error.status_code == 500:
        return "Something unforeseen happened; it was logged under this requestId."
    return str(error.detail)


def _headers(error: exceptions.APIException) -> dict[str, str]:
    headers = dict(getattr(error, "headers", {}))
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait))
    return headers


def _respond(request: HttpRequest, status_code: int, code: str, detail: str, **more: Any) -> JsonResponse:
    return JsonResponse(
        problem(status_code, code, detail, **more), status=status_code, content_type=CONTENT_TYPE
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400: a wrong Host header, a body above the limit Django itself enforces or not to be had."""
    if isinstance(exception, exceptions.APIException):
        answer = handle(exception, {})
        return JsonResponse(
            answer.data, status=answer.status_code, headers=answer.headers, content_type=CONTENT_TYPE
        )
    if not isinstance(exception, BadRequest):
        return _respond(request, 400, "invalid_request", "The request could not be read.")
    if request.path.startswith(ROUTES_OF_PROGRAMS):
        detail = str(exception)
        odd = [name for name, values in request.GET.lists() if "\0" in name + "".join(values)]
        errors = [{"pointer": f"/{name}", "detail": detail} for name in odd]
        return _respond(request, 400, "invalid_request", detail, **({"errors": errors} if errors else {}))
    return bad_request_page(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404: JSON for programs, a page for browsers elsewhere."""
    if request.path.startswith(ROUTES_OF_PROGRAMS):
        return _respond(request, 404, "not_found", "There is no such route.")
    return page_not_found(request, exception)


def failed(request: HttpRequest) -> HttpResponse:
    """Django's handler500: what no view of the API caught, such as a middleware without its database."""
    if request.path.startswith(ROUTES_OF_PROGRAMS):
        return _respond(request, 500, "internal_error", "Something unforeseen happened; it was logged.")
    return server_error(request)
