"""The sandbox is reached over a network, from a thread or as a process of its own."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from sandbox import Fault, World
from sandbox.seed import LOCATION
from sandbox.server import Server, serve
from tests.sandbox.asking import EVENTS, Asker, example

ROOT = Path(__file__).parents[2]
STATE = b"GET /_sandbox/state HTTP/1.1\r\nHost: sandbox\r\n\r\n"


def connect(server: Server) -> socket.socket:
    where = urlsplit(server.url)
    return socket.create_connection((where.hostname, where.port), timeout=5)


def test_it_answers_call_after_call_on_one_connection(world: World) -> None:
    with serve(world) as server, connect(server) as connection:
        for _ in range(3):
            connection.sendall(STATE)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_it_sends_an_answer_in_one_piece(world: World) -> None:
    with serve(world) as server, connect(server) as connection:
        connection.sendall(STATE)
        head, _, body = connection.recv(65_536).partition(b"\r\n\r\n")

    length = re.search(rb"Content-Length: (\d+)", head)
    assert length is not None
    assert len(body) == int(length[1])


def test_it_dates_answers_by_the_worlds_clock(world: World) -> None:
    world.clock.advance(-3 * 86_400)
    with serve(world) as server:
        answer = httpx2.get(f"{server.url}/_sandbox/state")

    dated = parsedate_to_datetime(answer.headers["Date"])
    assert abs((dated - world.clock.now()).total_seconds()) < 30


def test_it_closes_the_connection_when_asked_to(world: World) -> None:
    with serve(world) as server, connect(server) as connection:
        connection.sendall(STATE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))

    assert b"Connection: close" in answer


def test_it_serves_two_hundred_connections_at_once(world: World) -> None:
    token = world.issue_location_token(LOCATION)["access_token"]
    world.settings.latency_seconds = 0.3
    world.settings.rate_limit_burst = 1_000
    started = time.monotonic()

    with (
        serve(world) as server,
        httpx2.Client(base_url=server.url, timeout=30, limits=httpx2.Limits(max_connections=200)) as client,
        ThreadPoolExecutor(200) as pool,
    ):
        ask = Asker(client, token)
        statuses = set(pool.map(lambda _: ask.post(EVENTS, example()).status_code, range(200)))

    assert statuses == {200}
    assert len(world.diary.everything()) == 200
    # One after the other would take a minute.
    assert time.monotonic() - started < 20


@pytest.mark.timeout(10)
def test_it_stops_though_a_connection_is_idle(world: World) -> None:
    with serve(world) as server:
        connection = connect(server)
        connection.sendall(STATE)
        connection.recv(65_536)

    assert connection.recv(1) == b""
    connection.close()


def test_it_stops_though_a_call_hangs(world: World) -> None:
    token = world.issue_location_token(LOCATION)["access_token"]
    world.faults.add(Fault("hang_after", seconds=600))
    with httpx2.Client() as client:
        with serve(world) as server:
            ask = Asker(client, token)
            caller = threading.Thread(target=lambda: _meet_the_end(ask, server.url))
            caller.start()
            deadline = time.monotonic() + 5
            while not world.calls.records:
                assert time.monotonic() < deadline
                time.sleep(0.001)
        caller.join(5)

    assert not caller.is_alive()
    assert world.diary.everything() == []


def _meet_the_end(ask: Asker, url: str) -> None:
    with pytest.raises(httpx2.TransportError):
        ask.post(url + EVENTS, example())


def test_it_does_not_keep_a_process_alive_that_forgot_it() -> None:
    forgetful = (
        "import socket; from sandbox import World; from sandbox.server import serve\n"
        "held = serve(World.seeded()); server = held.__enter__()\n"
        "connection = socket.create_connection(server.server_address)\n"
        f"connection.sendall({STATE!r}); connection.recv(1)"
    )

    subprocess.run([sys.executable, "-c", forgetful], cwd=ROOT, check=True, timeout=10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_as_a_process_of_its_own(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--client-id", "mine-1", "--verbose"]
    command += ["--webhook-url", "http://127.0.0.1:9/letters"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        state = httpx2.get(f"{url}/_sandbox/state").json()
        httpx2.get(f"{url}/locations/{LOCATION}")
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)

    assert process.returncode == 0
    assert state["settings"]["client_id"] == "mine-1"
    assert state["settings"]["webhook_url"] == "http://127.0.0.1:9/letters"
    assert errors.strip().endswith(f"GET /locations/{LOCATION} -> 401")
