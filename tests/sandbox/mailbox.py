"""The app's end of the post: a web server that keeps every letter it gets and answers as it was told.

Not here: what letters say, and when they are sent.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    body: bytes
    headers: dict[str, str]

    @property
    def content(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def webhook_id(self) -> str:
        return str(self.content["webhookId"])


@dataclass
class Mailbox:
    url: str = ""
    received: list[Received] = field(default_factory=list)
    # Given one after the other, then 200.
    statuses: list[int] = field(default_factory=list)
    # Called for each letter before its answer.
    meet: Callable[[Received], object] = field(default=lambda _received: None)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wait_for(self, count: int) -> list[Received]:
        """The letters, once there are so many."""
        deadline = time.monotonic() + 10
        while len(self.received) < count:
            assert time.monotonic() < deadline, f"{len(self.received)} of {count} letters came"
            time.sleep(0.005)
        return self.received

    def take(self, received: Received) -> int:
        with self.lock:
            self.received.append(received)
            status = self.statuses.pop(0) if self.statuses else 200
        self.meet(received)
        return status


@contextmanager
def open_mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox()

    class Server(ThreadingHTTPServer):
        # The usual five make the sixth wait a second for a place.
        request_queue_size = 128

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_arguments: Any) -> None:
            """Quiet."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = mailbox.take(Received(body, {name.lower(): text for name, text in self.headers.items()}))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with Server(("127.0.0.1", 0), Handler) as server:
        mailbox.url = f"http://127.0.0.1:{server.server_address[1]}/webhooks"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield mailbox
        server.shutdown()
