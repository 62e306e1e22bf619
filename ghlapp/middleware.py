"""What stands around every request: one log line under a request id that answers and logs share, and a length
for bodies that come without one. No behaviour of the product lives here."""

from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django_structlog.middlewares import RequestMiddleware

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

    def handle_response(self, request: HttpRequest, response: HttpResponse) -> None:
        response.headers["X-Request-Id"] = request_id()
        super().handle_response(request, response)


def request_id() -> str:
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))
