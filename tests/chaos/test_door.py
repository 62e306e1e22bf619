"""What goes through the door arrives, and nobody gets in while it is shut."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from ghlapp.local.processes import wait_until
from ghlapp.local.server import free_port
from tests.chaos.processes import Process


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Half of what it promises, where it is asked for half."""
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"x" * (50_000 if self.path == "/half" else 100_000))
        self.close_connection = self.path == "/half"

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def inside() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def door(inside: int, tmp_path: Path) -> Iterator[tuple[Process, str]]:
    port = free_port(0)
    command = [sys.executable, "-m", "tests.chaos.door", "--port", str(port), "--behind", str(inside)]
    process = Process("door", command, os.environ, tmp_path)
    process.start()
    url = f"http://127.0.0.1:{port}"
    assert wait_until(lambda: is_open(url), 20, 0.05)
    yield process, url
    process.kill()


def is_open(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5).is_success
    except httpx2.ConnectError:
        return False


def test_it_lets_everything_through(door: tuple[Process, str]) -> None:
    assert len(httpx2.get(door[1], timeout=5).content) == 100_000


def test_an_answer_cut_short_stays_short(door: tuple[Process, str]) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.get(f"{door[1]}/half", timeout=5)


def test_it_refuses_connections_while_it_is_shut(door: tuple[Process, str]) -> None:
    process, url = door
    with httpx2.Client(timeout=5) as before:
        before.get(url)

        process.signal(signal.SIGUSR1)
        assert wait_until(lambda: not is_open(url), 20, 0.05)
        with pytest.raises(httpx2.TransportError):
            before.get(url)

        process.signal(signal.SIGUSR2)
        assert wait_until(lambda: is_open(url), 20, 0.05)
        assert before.get(url).is_success
