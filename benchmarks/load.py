"""`python -m benchmarks.load ADDRESS PORT CONNECTIONS SECONDS`: requests over keep-alive connections, in a process
of its own. Reads the requests to send from standard input, and writes what came of them there as JSON.

It writes bytes that are ready and reads no more of an answer than its status and its length, a tenth of a
processor's time at a thousand answers a second: it is not itself what is measured.
"""

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
SEPARATOR = b"\x00\x00"
# More of its time than this, and what is measured may be the generator.
MOST_BUSY = 0.5


@dataclass(frozen=True)
class Load:
    """What came of it: seconds of each answer, in order, over how long all of it took."""

    seconds: float
    latencies: list[float]
    statuses: dict[str, int]
    busy: float

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def only(self, *statuses: int) -> "Load":
        assert set(self.statuses) <= {str(status) for status in statuses}, self.statuses
        assert self.busy < MOST_BUSY, f"the generator was busy for {self.busy:.0%} of the time"
        return self


def request(method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def put(port: int, requests: list[bytes], seconds: float, connections: int = 16) -> Load:
    """Send the requests in turn, each on whichever connection is free, until they are used up or the time is."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.load",
        "127.0.0.1",
        str(port),
        str(connections),
        str(seconds),
    ]
    run = subprocess.run(command, input=SEPARATOR.join(requests), capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    return Load(**json.loads(run.stdout))


def answer(port: int, request: bytes) -> Any:
    """The JSON that one request is answered with."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as client,
        client.makefile("rb") as answered,
    ):
        client.sendall(request)
        head = iter(answered.readline, b"\r\n")
        length = LENGTH.search(b"\r\n".join(head))
        assert length
        return json.loads(answered.read(int(length[1])))


class Connection(asyncio.Protocol):
    """One connection, with one request on its way at a time."""

    def __init__(
        self, requests: Iterator[bytes], until: float, latencies: list[float], statuses: Counter[str]
    ) -> None:
        self._requests, self._until = requests, until
        self._latencies, self._statuses = latencies, statuses
        self._answer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        request = next(self._requests, None) if self._sent_at < self._until else None
        if request is None:
            self._transport.close()
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found:
            return
        status, length = STATUS.match(head), LENGTH.search(head)
        assert status, head
        assert length, head
        if len(body) < int(length[1]):
            return
        self._latencies.append(time.perf_counter() - self._sent_at)
        self._statuses[status[1].decode()] += 1
        self._answer = b""
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if error:
            self.done.set_exception(error)
        elif self._answer:
            self.done.set_exception(ConnectionError("closed in the middle of an answer"))
        else:
            self.done.set_result(None)


async def _put(address: str, port: int, connections: int, seconds: float, requests: list[bytes]) -> Load:
    latencies, statuses, rest = list[float](), Counter[str](), iter(requests)
    began, used = time.perf_counter(), time.process_time()
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(
            lambda: Connection(rest, began + seconds, latencies, statuses), address, port
        )
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))
    took = time.perf_counter() - began
    return Load(took, latencies, dict(statuses), (time.process_time() - used) / took)


def main() -> None:
    address, port, connections, seconds = sys.argv[1:]
    requests = sys.stdin.buffer.read().split(SEPARATOR)
    load = asyncio.run(_put(address, int(port), int(connections), float(seconds), requests))
    print(json.dumps(vars(load)))


if __name__ == "__main__":
    main()
