"""A small threaded HTTP/1.1 server: keep-alive, one segment per answer, connections that can be cut.

Not here: the application. werkzeug's development server would close the connection after every answer.
"""

import socket
import sys
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote_to_bytes

from sandbox.app import create_app
from sandbox.faults import ConnectionCut
from sandbox.world import World

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment


class Handler(BaseHTTPRequestHandler):
    server: "Server"
    protocol_version = "HTTP/1.1"
    # Head and body are gathered and sent at once, and not held back: otherwise Nagle's algorithm and delayed
    # acknowledgements cost 40 ms a call.
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Quiet: the application logs the calls itself."""

    def handle_one_request(self) -> None:
        self.close_connection = True
        self.raw_requestline = self.rfile.readline(65_537)
        if self.raw_requestline and self.parse_request():
            try:
                self._answer()
            except ConnectionCut:
                self.close_connection = True

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _error: object = None) -> Any:
            head[:] = status, headers
            return self.wfile.write

        pieces = self.server.app(self._environ(body), start_response)
        try:
            self._send(head, pieces)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()

    def _send(self, head: list[Any], pieces: Iterable[bytes]) -> None:
        status, headers = head
        lines = [f"{self.protocol_version} {status}", f"Date: {self._date()}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if self.close_connection:
            lines.append("Connection: close")
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        for piece in pieces:
            self.wfile.write(piece)
            self.wfile.flush()
        self.wfile.flush()

    def _date(self) -> str:
        # Whoever compares HighLevel's clocks finds one: that of tokens, letters and answers.
        return self.date_time_string(int(self.server.world.clock.epoch()))

    def _environ(self, body: bytes) -> "WSGIEnvironment":
        path, _, query = self.path.partition("?")
        host, port = self.server.server_address[:2]
        environ: WSGIEnvironment = {
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": str(host),
            "SERVER_PORT": str(port),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": self.client_address[0],
        }
        for name, value in self.headers.items():
            environ.setdefault("HTTP_" + name.upper().replace("-", "_"), value)
        return environ


class Server(ThreadingMixIn, TCPServer):
    """A thread per connection; closing ends open connections and waits for their threads.

    The threads are daemons all the same: a server somebody forgot to close must not keep its process alive.
    """

    allow_reuse_address = True
    request_queue_size = 512
    daemon_threads = True

    def __init__(self, world: World, host: str, port: int) -> None:
        self.app: WSGIApplication = create_app(world)
        self.world = world
        self._open: dict[socket.socket, threading.Thread] = {}
        self._open_lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="sandbox", daemon=True)
        super().__init__((host, port), Handler)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        with self._open_lock:
            self._open[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that went away is its own affair, and what many of the faults are there to provoke.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        self.world.closing.set()
        with self._open_lock:
            still_open = dict(self._open)
        for connection in still_open:
            _end(connection)
        for thread in still_open.values():
            thread.join()
        self.world.letters.close()
        super().server_close()
        self.world.closing.clear()


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was first


def serve(world: World, host: str = "127.0.0.1", port: int = 0) -> Server:
    """Serve the world from a thread for as long as `with` lasts; `.url` says where. Port 0 takes a free one."""
    return Server(world, host, port)
