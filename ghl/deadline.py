"""The total time of one call, kept where bytes move: name, connection, TLS, every write and every read.

No HTTP and no errors of ours. An HTTP client's time-outs count per read: a dribbling server outlives them.
"""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpcore2

# One TLS record, and less than a socket's buffer: a piece goes out in one send or not within the time.
PIECE = 16 * 1024


@dataclass(slots=True)
class Deadline:
    """When the call in hand must end, in monotonic seconds, and whether a byte of it may have left."""

    ends_at: float
    sending: bool = False


# httpcore does all of a call's work in the thread that made it, so a context variable reaches the stream.
# No default: a connection of this backend is for use within `total` alone.
_current: ContextVar[Deadline] = ContextVar("ghl_deadline")


@contextmanager
def total(seconds: float) -> Iterator[None]:
    """Bound everything done on a `DeadlineBackend`'s connections in this block."""
    previous = _current.set(Deadline(time.monotonic() + seconds))
    try:
        yield
    finally:
        _current.reset(previous)


def _left(timeout: float | None, error: type[httpcore2.TimeoutException]) -> float:
    left = _current.get().ends_at - time.monotonic()
    if left <= 0:
        raise error("the call's total time is over")
    return left if timeout is None else min(left, timeout)


class DeadlineStream(httpcore2.NetworkStream):
    """A connection whose waits end with the call that waits."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        deadline = _current.get()
        for start in range(0, len(buffer), PIECE):
            # Time that runs out before the first byte counts as not connected: nothing was sent.
            error = httpcore2.WriteTimeout if deadline.sending else httpcore2.ConnectTimeout
            left = _left(timeout, error)
            deadline.sending = True
            self._stream.write(buffer[start : start + PIECE], left)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        # Python's handshake keeps one deadline over all its reads and writes.
        left = _left(timeout, httpcore2.ConnectTimeout)
        return DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class DeadlineBackend(httpcore2.NetworkBackend):
    """Connects over TCP, the name's look-up and all its addresses within the time of the call."""

    def __init__(self) -> None:
        self._backend = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        addresses = _addresses(host, port, _left(timeout, httpcore2.ConnectTimeout))
        failure: Exception = httpcore2.ConnectError(f"{host} has no address")
        for index, address in enumerate(addresses):
            left = _left(timeout, httpcore2.ConnectTimeout)
            # An even share each, so that a black hole in front leaves time for the ones behind it.
            share = left / (len(addresses) - index)
            try:
                stream = self._backend.connect_tcp(address, port, share, local_address, socket_options)
                return DeadlineStream(stream)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


def _addresses(host: str, port: int, timeout: float) -> list[str]:
    """The host's addresses. The system's resolver knows no time-out: it is asked in a thread we can leave."""
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except OSError:
        return _resolved(host, port, timeout)
    return [host]


def _resolved(host: str, port: int, timeout: float) -> list[str]:
    answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()
    threading.Thread(target=_resolve, args=(host, port, answers), name="ghl-resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        raise httpcore2.ConnectTimeout(f"the look-up of {host} took too long") from None
    if isinstance(answer, OSError):
        raise httpcore2.ConnectError(answer) from answer
    return answer


def _resolve(host: str, port: int, answers: "queue.SimpleQueue[list[str] | OSError]") -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        answers.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))
    except OSError as error:
        answers.put(error)
