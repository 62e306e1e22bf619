"""Request bodies: read when a view asks for them, within a total time and a share of the threads.

A body that has arrived is read at once. For one that has not, a thread waits, and a client that sends nothing more
could keep it: so a body has `BODY_TIMEOUT_SECONDS` in all, and only `SHARE` threads of a process wait for the bodies
of clients that have shown no API key, and as many for those that have.
"""

import time
from io import RawIOBase
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import BadRequest
from rest_framework import status
from rest_framework.exceptions import APIException

from oauth.environ import AUTHENTICATED

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# Of one process. Beside the waits for bodies and for `Prefer: wait` some must be left for everything else.
THREADS = 20
SHARE = THREADS // 4
strangers, key_holders = BoundedSemaphore(SHARE), BoundedSemaphore(SHARE)

# What was sent together with the head arrives within that, and needs no share.
GRACE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 0.02


class BodyError(APIException, BadRequest):
    """A body that cannot be had: DRF renders it in views of the API, Django's handler400 everywhere else."""


class TooManyBodies(BodyError):
    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_code = "throttled"
    default_detail = (
        "Too many requests wait for the rest of their bodies. Send the body together with its head."
    )
    wait = 5


class BodyTimeout(BodyError):
    status_code = status.HTTP_408_REQUEST_TIMEOUT
    default_code = "body_timeout"
    default_detail = "The body did not arrive in time."


class BodyCutShort(BodyError):
    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "invalid_request"
    default_detail = "The body is shorter than its Content-Length."


class Body(RawIOBase):
    """The body of one request as a raw stream over granian's frames; `length` is None for a chunked one.

    Raises: TooManyBodies, BodyTimeout, BodyCutShort.
    """

    def __init__(self, protocol: Any, environ: "WSGIEnvironment", length: int | None) -> None:
        self._protocol, self._environ, self._left = protocol, environ, length
        self._frames: Any = None
        self._frame = memoryview(b"")
        self._share: BoundedSemaphore | None = None
        self._begun_at = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._frame:
            self._frame = memoryview(self._next_frame())
        size = min(len(buffer), len(self._frame))
        buffer[:size] = self._frame[:size]
        self._frame = self._frame[size:]
        return size

    def release(self) -> None:
        """Leave the share of the threads to others."""
        if self._share:
            self._share.release()
            self._share = None

    def _next_frame(self) -> bytes:
        """Empty at the body's end."""
        if self._left == 0:
            return b""
        if self._frames is None:
            self._frames, self._begun_at = aiter(self._protocol), time.monotonic()
        try:
            arriving = anext(self._frames)
        except StopAsyncIteration:
            return b""
        frame = self._arrived(arriving)
        if self._left is not None:
            if not frame:
                raise BodyCutShort
            self._left -= len(frame)
        return frame

    def _arrived(self, arriving: Any) -> bytes:
        # A future of granian's: it is set from another thread, so looking at it needs no event loop.
        pause = 0.0
        while not arriving.done():
            waited = time.monotonic() - self._begun_at
            if waited > settings.BODY_TIMEOUT_SECONDS:
                arriving.cancel()
                raise BodyTimeout
            if waited > GRACE_SECONDS and not self._share and not self._take_share():
                arriving.cancel()
                raise TooManyBodies
            time.sleep(pause)
            pause = min(2 * pause + 0.0001, LONGEST_PAUSE_SECONDS)
        return bytes(arriving.result())

    def _take_share(self) -> bool:
        share = key_holders if self._environ.get(AUTHENTICATED) else strangers
        if share.acquire(blocking=False):
            self._share = share
        return self._share is not None
