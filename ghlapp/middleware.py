"""One log line for each request, under a request id that answers and logs share.
No behaviour of the product lives here."""

import structlog
from django.http import HttpRequest, HttpResponse
from django_structlog.middlewares import RequestMiddleware


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
