"""The answers HighLevel gives: JSON bodies, and its refusals with their exact words.

Not here: when they are given (gates.py and the endpoint modules).
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from werkzeug import Response

_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    422: "Unprocessable Entity",
}


def answer(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, headers, content_type="application/json; charset=utf-8")


def trace_id() -> str:
    raw = secrets.token_hex(16)
    return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"


class Refusal(Exception):
    """Raised where the fact is known, turned into the answer in app.py."""

    def __init__(
        self,
        status: int,
        body: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        *,
        is_unknown: bool = False,
    ) -> None:
        super().__init__(status, body)
        # Something that the call names does not exist: seen under more than one status.
        self.is_unknown = is_unknown
        self.status = status
        self.body = body
        self.headers = headers

    def move(self, form: str) -> None:
        """To one of `not_found_status`."""
        if form == "as_seen":
            return
        self.status = int(form)
        about = {"statusCode": self.status, "error": _TITLES[self.status]}
        self.body = {name: about.get(name, value) for name, value in self.body.items()}

    def response(self) -> Response:
        return answer(self.body, self.status, self.headers)


class UnknownClient(Refusal):
    """Cloudflare's refusal of a client it does not like: HTML, no JSON."""

    def __init__(self) -> None:
        super().__init__(403, {})

    def response(self) -> Response:
        return Response("error code: 1010", 403, content_type="text/html; charset=UTF-8")


def refusal(status: int, message: str | list[str]) -> Refusal:
    return Refusal(status, {"statusCode": status, "message": message, "error": _TITLES[status]})


def unknown(status: int, message: str) -> Refusal:
    """Something that the call names does not exist; `status`: as it was seen first."""
    found = refusal(status, message)
    found.is_unknown = True
    return found


def bare_bad_request() -> Refusal:
    return Refusal(400, {"statusCode": 400, "message": "Bad Request"})


def slot_taken() -> Refusal:
    message = "The slot you have selected is no longer available."
    body = {"message": message, "error": "Bad Request", "statusCode": 400, "traceId": trace_id()}
    return Refusal(400, body)


def unknown_event() -> Refusal:
    return Refusal(400, {"message": "The event id is invalid."}, is_unknown=True)


def invalid_token() -> Refusal:
    return Refusal(401, {"statusCode": 401, "message": "Invalid JWT"})


def invalid_private_token() -> Refusal:
    return Refusal(401, {"statusCode": 401, "message": "Invalid Private Integration token"})


def wrong_user_type() -> Refusal:
    return Refusal(401, {"statusCode": 401, "message": "Token's user type mismatch!"})


def scope_missing() -> Refusal:
    return Refusal(401, {"statusCode": 401, "message": "The token is not authorized for this scope."})


def wrong_token_class() -> Refusal:
    message = (
        "This authClass type is not allowed to access this scope. "
        "Please verify your IAM configuration if this is not the case."
    )
    return Refusal(401, {"statusCode": 401, "message": message})


def wrong_location() -> Refusal:
    return Refusal(403, {"statusCode": 403, "message": "The token does not have access to this location."})


def unsupported_route() -> Refusal:
    return Refusal(401, {"statusCode": 401, "message": "This route is not yet supported by the IAM Service."})


def too_many_requests(headers: Mapping[str, str], retry_after: str | None = None) -> Refusal:
    # HighLevel documents neither a body nor Retry-After; the latter comes only where a fault asks for it.
    extra = {} if retry_after is None else {"Retry-After": retry_after}
    return Refusal(429, {"statusCode": 429, "message": "Too Many Requests"}, {**headers, **extra})
