"""One request out, one answer in: connections, their time, how much is read, and what a broken wire means.

No endpoints and no tokens: a request comes ready and an answer leaves unread.
"""

import ssl
from dataclasses import dataclass
from functools import lru_cache

import httpcore2
import httpx2

from .deadline import DeadlineBackend, total
from .errors import ConnectFailed, ConnectionLost, HighLevelError, TimedOut, UnreadableAnswer
from .refusals import shown

LARGEST_BODY = 4 * 1024 * 1024
# Below what any gateway keeps an idle connection for: one that dies under a create leaves its outcome
# unknown, which costs far more than a handshake.
IDLE_SECONDS = 5.0


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """The process's one TLS context: loading the authorities takes 30 to 50 ms."""
    return httpx2.create_ssl_context()


class Transport(httpx2.HTTPTransport):
    """httpx2's transport over connections that keep the call's deadline.

    It opens as many connections as there are calls at once: callers bound their threads, and a call that
    waits for a connection spends its time on nothing. It never sends a request twice: httpcore takes another
    connection only where the first was taken away before a byte was written.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        context = tls or tls_context()
        super().__init__(verify=context)
        # httpx2 offers no place for a network backend, so its pool is replaced by its own pool with ours.
        self._pool = httpcore2.ConnectionPool(
            ssl_context=context,
            max_connections=None,
            keepalive_expiry=IDLE_SECONDS,
            retries=0,
            network_backend=DeadlineBackend(),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as bytes, decompressed. `whole` is false where it was longer than we read."""

    status: int
    headers: httpx2.Headers
    body: bytes
    whole: bool

    @property
    def is_yes(self) -> bool:
        return 200 <= self.status < 300


def exchange(transport: httpx2.BaseTransport, request: httpx2.Request, seconds: float) -> Answer:
    """Send and read within `seconds` in all. NotSent or OutcomeUnknown where the wire breaks.

    The transport is asked directly: a client above it would follow redirects, keep cookies and read the
    environment, none of which an API call should do.
    """
    request.extensions["timeout"] = httpx2.Timeout(seconds).as_dict()
    try:
        with total(seconds):
            response = transport.handle_request(request)
            try:
                body, whole = _read(response)
            finally:
                response.close()
    except httpx2.HTTPError as error:
        raise _broken(error) from error
    return Answer(response.status_code, response.headers, body, whole)


def _read(response: httpx2.Response) -> tuple[bytes, bool]:
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > LARGEST_BODY:
            return bytes(body[:LARGEST_BODY]), False
    return bytes(body), True


def _broken(error: httpx2.HTTPError) -> HighLevelError:
    """Only what fails before the first byte of the request is known not to have happened."""
    said = shown(f"{type(error).__name__}: {error}")
    match error:
        case (
            httpx2.ConnectError()
            | httpx2.ConnectTimeout()
            | httpx2.PoolTimeout()
            | httpx2.UnsupportedProtocol()
        ):
            return ConnectFailed(said)
        case httpx2.TimeoutException():
            return TimedOut(said)
        case httpx2.DecodingError():
            return UnreadableAnswer(said)
        case _:
            return ConnectionLost(said)
