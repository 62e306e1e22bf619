"""TCP servers that do to a client what the internet does."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress

Behaviour = Callable[["Server", socket.socket], None]


class Server:
    """Hands each connection to `behaviour` in a thread; remembers the whole requests it has read."""

    def __init__(self, behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour
        self.requests: list[bytes] = []
        self.connections = 0
        self.closing = threading.Event()
        self._tls = tls
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.append(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ssl.SSLError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                self.behaviour(self, connection)

    def read_request(self, connection: socket.socket) -> bytes:
        """One whole request; empty where the client went away."""
        read = b""
        while b"\r\n\r\n" not in read:
            piece = connection.recv(65536)
            if not piece:
                return b""
            read += piece
        head, _, body = read.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
        )
        while len(body) < length:
            body += connection.recv(65536)
        with self._lock:
            self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def dribble(self, connection: socket.socket, data: bytes, every: float = 0.05) -> None:
        """A byte at a time until the data, the client or the test ends."""
        for index in range(len(data)):
            connection.sendall(data[index : index + 1])
            if self.closing.wait(every):
                return

    def close(self) -> None:
        self.closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(5)


def ok(body: bytes = b'{"id": "apt1"}', *, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s" % (
        headers,
        len(body),
        body,
    )
