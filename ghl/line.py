"""How every call is made: signed, sent, understood, accounted for.

No single endpoint's matters: see `endpoints.py` (where to), `answers.py` (what comes back) and `client.py`.
"""

import json
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

import httpx2

from .endpoints import Endpoint
from .errors import HighLevelError, ScopeMissing, UnreadableAnswer
from .reading import Json, json_object, text
from .refusals import from_response
from .transport import Answer, Transport, exchange
from .types import Call, Limits

T = TypeVar("T")

try:
    VERSION = version("ghl-booking-backend")
except PackageNotFoundError:  # run from a checkout that was never installed
    VERSION = "0"

HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    # The edge in front of HighLevel refuses some libraries' own names.
    "User-Agent": f"ghl-booking-backend/{VERSION}",
}
SECRET_FIELDS = ("client_secret", "refresh_token")


class Line:
    """The way to one HighLevel host. Threads may share it."""

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float,
        transport: httpx2.BaseTransport | None,
        on_call: Callable[[Call], None] | None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._transport = transport or Transport()
        self._on_call = on_call

    def close(self) -> None:
        """Close the idle connections."""
        self._transport.close()

    def ask(
        self,
        endpoint: Endpoint,
        read: Callable[[Json], T],
        *,
        ids: tuple[str, ...] = (),
        token: str | None = None,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        form: Mapping[str, str] | None = None,
        timeout: float | None = None,
        calls: list[Call] | None = None,
    ) -> T:
        """One exchange, read by `read` (ValueError: not to be understood), with an account either way."""
        request = httpx2.Request(
            endpoint.method,
            self._base_url + endpoint.path(*ids),
            params=query,
            headers=_headers(endpoint, token, body),
            content=None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode(),
            data=None if form is None else dict(form),
        )
        secrets = [token, *((form or {}).get(name) for name in SECRET_FIELDS)]
        started = time.monotonic()
        answer: Answer | None = None
        try:
            answer = exchange(self._transport, request, self._timeout if timeout is None else timeout)
            result, trace_id = _understood(answer, endpoint, read, secrets)
        except HighLevelError as error:
            if isinstance(error, ScopeMissing):
                error.scope = endpoint.scope
            error.call = self._account(request, started, answer, error.name, error.trace_id, calls)
            raise
        self._account(request, started, answer, "ok", trace_id, calls)
        return result

    def _account(  # noqa: PLR0917 - the fields of a Call
        self,
        request: httpx2.Request,
        started: float,
        answer: Answer | None,
        outcome: str,
        trace_id: str | None,
        calls: list[Call] | None,
    ) -> Call:
        duration = timedelta(seconds=time.monotonic() - started)
        path = request.url.raw_path.partition(b"?")[0].decode()
        status = None if answer is None else answer.status
        limits = None if answer is None else Limits.from_headers(answer.headers)
        call = Call(request.method, path, status, started, duration, outcome, trace_id, limits)
        if calls is not None:
            calls.append(call)
        if self._on_call is not None:
            self._on_call(call)
        return call


def _headers(endpoint: Endpoint, token: str | None, body: Mapping[str, object] | None) -> dict[str, str]:
    headers = dict(HEADERS)
    if endpoint.version is not None:
        headers["Version"] = endpoint.version
    if token is not None:
        headers["Authorization"] = f"Bearer {_printable(token)}"
    if body is not None:
        headers["Content-Type"] = "application/json"
    return headers


def _printable(token: str) -> str:
    """Checked here because the HTTP library's own complaint would quote the whole header."""
    if not (token and token.isascii() and token.isprintable()):
        raise ValueError("an access token is printable ASCII")
    return token


def _understood(
    answer: Answer, endpoint: Endpoint, read: Callable[[Json], T], secrets: list[str | None]
) -> tuple[T, str | None]:
    if not answer.is_yes:
        raise from_response(
            answer.status,
            answer.headers,
            _sealed(answer.body, secrets),
            kind=endpoint.kind,
            not_found=endpoint.not_found,
        )
    data = json_object(answer.body) if answer.whole else None
    if data is None:
        raise UnreadableAnswer("the answer is no JSON object of a readable size", status=answer.status)
    trace_id = text(data, "traceId")
    try:
        return read(data), trace_id
    except ValueError as error:
        raise UnreadableAnswer(str(error), status=answer.status, trace_id=trace_id) from None


def _sealed(body: bytes, secrets: list[str | None]) -> bytes:
    """The body without what we sent in confidence, should HighLevel quote it back."""
    for secret in filter(None, secrets):
        body = body.replace(secret.encode(), b"<sealed>")
    return body
