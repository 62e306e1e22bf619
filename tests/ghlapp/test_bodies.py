"""Bodies that do not arrive, with the web process as it is deployed: they hold few threads, and not for long."""

import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import pytest

from appointments.models import Booking
from ghlapp import bodies
from ghlapp.local.processes import wait_until
from tests import web
from tests.fixtures import Persona, booking_body

pytestmark = pytest.mark.django_db(transaction=True)

BODY_SECONDS = 3
STALLED = 40
# Generous, for machines that do other things too; a web process that is stopped never answers.
ANSWER_SECONDS = 5


@pytest.fixture(scope="module")
def port(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The web process with its database, as `make serve` starts it."""
    log = tmp_path_factory.mktemp("web") / "web.log"
    settings = {
        "BODY_TIMEOUT_SECONDS": str(BODY_SECONDS),
        "TRUSTED_PROXY_COUNT": "1",
        "INTERNAL_NETWORKS": "127.0.0.0/8",
    }
    with web.serve(log, **settings) as number:
        yield number


def head(path: str, key: str = "", length: int | None = None, **headers: str) -> bytes:
    """The head of a POST; without a length its body comes in chunks."""
    sent = {"Host": "testserver", "Content-Type": "application/json", **headers}
    sent |= {"Authorization": f"Bearer {key}"} if key else {}
    sent |= {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
    return "\r\n".join([f"POST {path} HTTP/1.1", *(f"{k}: {v}" for k, v in sent.items()), "", ""]).encode()


def answer_on(client: socket.socket, seconds: float = ANSWER_SECONDS) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and what came of the body, once the server has closed the connection."""
    client.settimeout(seconds)
    received = b""
    while part := client.recv(65536):
        received += part
    top, _, body = received.partition(b"\r\n\r\n")
    line, *lines = top.decode().split("\r\n")
    return int(line.split()[1]), dict(each.lower().split(": ", 1) for each in lines), body


def statuses(clients: list[socket.socket]) -> list[int]:
    """Of those that were answered so far."""
    found = []
    for client in clients:
        client.setblocking(False)
        try:
            start = client.recv(12, socket.MSG_PEEK)
        except BlockingIOError:
            continue
        found.append(int(start.split()[1]))
    return found


@contextmanager
def stalled(port: int, beginning: bytes, count: int = STALLED) -> Iterator[list[socket.socket]]:
    """Connections that send the beginning of a request and then nothing."""
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]
        for client in clients:
            client.sendall(beginning)
        yield clients


def everybody_else_is_served(port: int, acme: Persona) -> None:
    with httpx2.Client(
        base_url=f"http://127.0.0.1:{port}",
        headers={"Host": "testserver", "Authorization": f"Bearer {acme.text}"},
        timeout=ANSWER_SECONDS,
    ) as client:
        for _ in range(2 * web.PROCESSES):
            assert client.get("/livez").status_code == 200
            assert client.get("/api/v1/bookings").status_code == 200
            # Where the head comes well before the body, a thread must wait, and none may.
            booked = lambda: client.post("/api/v1/bookings", json=booking_body()).status_code == 202  # noqa: E731
            assert wait_until(booked, ANSWER_SECONDS, 0.05)


def test_it_answers_before_a_body_that_no_one_reads(port: int, acme: Persona) -> None:
    for path, key, status in (
        ("/livez", "", 405),
        ("/metrics", "", 405),
        ("/nothing", "", 404),
        ("/api/v1/nothing", acme.text, 404),
        ("/api/v1/bookings", "", 401),
        ("/api/v1/bookings", "wrong", 401),
        (f"/api/v1/bookings/{'0' * 8}-0000-4000-8000-{'0' * 12}/cancel", acme.text, 404),
    ):
        for length, rest in ((None, b"5\r\nab"), (50, b"ab")):
            with stalled(port, head(path, key, length) + rest, 1) as (client,):
                assert answer_on(client)[0] == status, path


@pytest.mark.parametrize(
    ("path", "key", "length"),
    [
        ("/livez", "", None),
        ("/webhooks/highlevel", "", 50),
        ("/webhooks/highlevel", "", None),
        ("/api/v1/bookings", "wrong", None),
        ("/api/v1/bookings", "good", None),
        ("/api/v1/bookings", "good", 50),
    ],
)
def test_it_serves_everybody_else_beside_stalled_bodies(
    port: int, acme: Persona, path: str, key: str, length: int | None
) -> None:
    key = acme.text if key == "good" else key
    rest = b"5\r\nab" if length is None else b"ab"
    with stalled(port, head(path, key, length) + rest) as clients:
        everybody_else_is_served(port, acme)

        assert wait_until(lambda: len(statuses(clients)) == STALLED, BODY_SECONDS + ANSWER_SECONDS, 0.1)
        answers = Counter(statuses(clients))
    if unread := {"/livez": 405, "wrong": 401}.get(path if path == "/livez" else key):
        assert answers == {unread: STALLED}
    else:
        assert set(answers) == {429, 408}
        assert answers[408] <= web.PROCESSES * bodies.SHARE


def test_it_tells_strangers_beyond_their_share_when_to_come_back(port: int) -> None:
    with stalled(port, head("/webhooks/highlevel", length=50) + b"ab") as clients:
        assert wait_until(lambda: 429 in statuses(clients), ANSWER_SECONDS, 0.05)
        refused = next(client for client in clients if statuses([client]) == [429])
        _, headers, body = answer_on(refused)

    assert int(headers["retry-after"]) > 0
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["code"] == "throttled"


@pytest.mark.parametrize("length", [None, 500])
def test_it_ends_a_body_that_drips(port: int, acme: Persona, length: int | None) -> None:
    began = time.monotonic()
    drop = b"1\r\n \r\n" if length is None else b" "
    with stalled(port, head("/api/v1/bookings", acme.text, length), 1) as (client,):
        while not statuses([client]):
            assert time.monotonic() - began < BODY_SECONDS + ANSWER_SECONDS
            client.setblocking(True)
            client.sendall(drop)
            time.sleep(0.02)
        status, _, body = answer_on(client)

    assert status == 408
    assert json.loads(body)["code"] == "body_timeout"


def in_chunks(body: bytes, size: int = 400) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])


def test_it_takes_chunked_and_late_bodies(port: int, acme: Persona) -> None:
    body = json.dumps(booking_body()).encode()
    for sent in (head("/api/v1/bookings", acme.text) + in_chunks(body, 7),
                 head("/api/v1/bookings", acme.text, len(body)) + body):  # fmt: skip
        with stalled(port, sent[:-20], 1) as (client,):
            time.sleep(2 * bodies.GRACE_SECONDS)  # so long that it needs a share of the threads
            client.sendall(sent[-20:])
            client.settimeout(ANSWER_SECONDS)
            assert client.recv(12) == b"HTTP/1.1 202"
    with stalled(port, head("/webhooks/highlevel", Connection="close") + in_chunks(body), 1) as (client,):
        assert answer_on(client)[0] == 401  # read, and not signed

    assert Booking.objects.count() == 2


def test_strangers_leave_key_holders_their_share(port: int, acme: Persona) -> None:
    body = json.dumps(booking_body()).encode()
    with stalled(port, head("/webhooks/highlevel", length=50) + b"ab") as strangers:
        assert wait_until(lambda: 429 in statuses(strangers), ANSWER_SECONDS, 0.05)
        with stalled(port, head("/api/v1/bookings", acme.text, len(body)), 1) as (client,):
            time.sleep(2 * bodies.GRACE_SECONDS)  # so long that it needs a share of the threads
            client.sendall(body)
            client.settimeout(ANSWER_SECONDS)
            assert client.recv(12) == b"HTTP/1.1 202"


@pytest.mark.parametrize("megabytes", [1, 3])
def test_it_refuses_a_chunked_body_that_is_too_large(port: int, acme: Persona, megabytes: int) -> None:
    answer = httpx2.post(
        f"http://127.0.0.1:{port}/api/v1/bookings",
        content=iter([b" " * 1024] * (megabytes * 1024)),
        headers={
            "Authorization": f"Bearer {acme.text}",
            "Content-Type": "application/json",
            "Host": "testserver",
        },
        timeout=30,
    )

    assert answer.status_code == 413
    assert answer.json()["code"] == "body_too_large"


def test_it_refuses_long_heads_and_speaks_http_1_alone(port: int) -> None:
    def answered(sent: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(ANSWER_SECONDS)
            try:
                client.sendall(sent)
                return client.recv(12)
            except ConnectionError:
                return b""

    refused: Callable[[bytes], Any] = lambda sent: answered(sent) in {b"HTTP/1.1 431", b""}  # noqa: E731
    get = b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Long: %s\r\n\r\n"
    assert answered(get % (b"a" * 8_000)) == b"HTTP/1.1 200"
    assert refused(get % (b"a" * 100_000))
    assert refused(get % (b"a" * 500_000))
    assert not answered(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0").startswith(b"\0")


def test_it_takes_no_header_that_it_cannot_read_for_absent(port: int, acme: Persona) -> None:
    def answered(method: str, path: str, **headers: str) -> httpx2.Response:
        given = {"Host": "testserver", "Authorization": f"Bearer {acme.text}", **headers}
        return httpx2.request(
            method,
            f"http://127.0.0.1:{port}{path}",
            json=booking_body() if method == "POST" else {"title": "Later"},
            headers={name: value.encode() for name, value in given.items()},
            timeout=30,
        )

    refused = answered("POST", "/api/v1/bookings", **{"Idempotency-Key": "Café 1"})
    booked = answered("POST", "/api/v1/bookings").headers["Location"]

    assert refused.status_code == 400
    assert Booking.objects.count() == 1
    assert answered("PATCH", booked, **{"If-Match": '"Café"'}).status_code == 412
    # A proxy appends to what a client wrote; what it hides is no inside address.
    metrics = {"Host": "testserver", "X-Forwarded-For": "Café, 203.0.113.9".encode()}
    assert httpx2.get(f"http://127.0.0.1:{port}/metrics", headers=metrics).status_code == 404


def test_it_hands_on_no_header_that_only_looks_like_a_proxys(port: int) -> None:
    def status(header: str) -> int:
        headers = {"Host": "10.42.8.201:8000", header: "203.0.113.9"}
        return httpx2.get(
            f"http://127.0.0.1:{port}/metrics", headers=headers, timeout=ANSWER_SECONDS
        ).status_code

    assert status("X-Forwarded-For") == 404  # not from inside, and so hidden
    assert status("X_Forwarded_For") == 200
