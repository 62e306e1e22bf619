"""A WSGI application behind granian's RSGI interface, each request in a thread.

granian's own WSGI interface reads bodies without a time-out, and a read that waits cannot be ended. Its RSGI
interface hands a body over frame by frame (bodies.py). https://github.com/emmett-framework/granian
"""

import asyncio
import logging
import sys
from io import BufferedReader, BytesIO
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

from django.conf import settings

from ghlapp import bodies

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

BASE_ENVIRON = {
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
}
# Names that are not `HTTP_` and the header's own (PEP 3333).
VARIABLES = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
# Stands for a value outside ASCII, which granian keeps back: no key, tag or address, but not nothing either.
UNREADABLE = "\xff"


class WSGIBridge:
    """Serves a WSGI application to granian from `bodies.THREADS` threads of each process."""

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application
        self._requests: SimpleQueue[tuple[Any, Any, asyncio.Future[None]]] = SimpleQueue()

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        for number in range(bodies.THREADS):
            Thread(target=self._serve, name=f"request-{number}", daemon=True).start()

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        answered = self._loop.create_future()
        self._requests.put((scope, protocol, answered))
        await answered

    def _serve(self) -> None:
        while True:
            scope, protocol, answered = self._requests.get()
            try:
                self._answer(scope, protocol)
            except Exception:
                log.exception("A request failed outside Django")
                protocol.response_empty(500, [])
            self._loop.call_soon_threadsafe(_finish, answered)
            # Nothing of the request may outlive it: granian closes the connection of an unread body only then.
            del scope, protocol, answered

    def _answer(self, scope: Any, protocol: Any) -> None:
        status, headers = 500, list[tuple[str, str]]()

        def start_response(line: str, given: list[tuple[str, str]], *_: Any) -> Any:
            nonlocal status, headers
            status, headers = int(line[:3]), given

        environ = environ_of(scope)
        body = _body(protocol, environ)
        environ["wsgi.input"] = BufferedReader(body) if body else BytesIO()
        try:
            parts = self._application(environ, start_response)
            try:
                content = b"".join(parts)
            finally:
                # Django ends the request here, and gives its connection to PostgreSQL back.
                getattr(parts, "close", int)()
        finally:
            if body:
                body.release()
        protocol.response_bytes(status, headers, content)


def _finish(answered: "asyncio.Future[None]") -> None:
    # It is cancelled where the client has gone.
    if not answered.done():
        answered.set_result(None)


def environ_of(scope: Any) -> "WSGIEnvironment":
    """The WSGI environment of a request, all but its body (PEP 3333)."""
    host, _, port = scope.server.rpartition(":")
    environ: WSGIEnvironment = {
        **BASE_ENVIRON,
        "REQUEST_METHOD": scope.method,
        # PEP 3333 wants the path's bytes as if they were Latin-1.
        "PATH_INFO": scope.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.url_scheme": scope.scheme,
    }
    for name, value in scope.headers.items():
        # WSGI has one name for X-Forwarded-For and X_Forwarded_For: a client could write what only proxies may.
        if "_" in name:
            continue
        variable = _variable(name)
        separator = "; " if name == "cookie" else ","
        environ[variable] = f"{environ[variable]}{separator}{value}" if variable in environ else value
    for name in scope.headers.keys():  # noqa: SIM118  (names alone, also those that `items` leaves out)
        if "_" not in name:
            environ.setdefault(_variable(name), UNREADABLE)
    return environ


def _variable(name: str) -> str:
    return VARIABLES.get(name) or f"HTTP_{name.upper().replace('-', '_')}"


def _body(protocol: Any, environ: "WSGIEnvironment") -> bodies.Body | None:
    if "HTTP_TRANSFER_ENCODING" in environ:
        # Django takes a body without a length for empty, so it gets one that is too long for forms. The views of
        # programs read no more than they take anyway.
        environ["CONTENT_LENGTH"] = str(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        return bodies.Body(protocol, environ, None)
    length = environ.get("CONTENT_LENGTH", "")
    return bodies.Body(protocol, environ, int(length)) if length.isdecimal() and int(length) else None
