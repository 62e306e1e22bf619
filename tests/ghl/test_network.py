"""What the wire does, with real sockets: every call ends in time, and says whether it may have happened."""

import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpcore2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ghl import errors
from ghl.client import Client
from ghl.deadline import DeadlineStream, total
from ghl.transport import Transport, tls_context

from .conftest import client_for
from .servers import Behaviour, Server, ok

Serve = Callable[[Behaviour], Server]
TIMEOUT = 0.8
LATE = TIMEOUT + 0.65


def create(client: Client) -> object:
    return client.create_appointment("a-token", {"title": "x"})


def fails(
    url: str, error: type[errors.HighLevelError], body: dict[str, object] | None = None
) -> errors.HighLevelError:
    """The error a create ends with, in time."""
    started = time.monotonic()
    with closing(client_for(url, timeout=TIMEOUT)) as client, pytest.raises(error) as raised:
        client.create_appointment("a-token", body or {})
    assert time.monotonic() - started < LATE
    assert type(raised.value) is error
    return raised.value


def headers_by_the_byte(server: Server, connection: socket.socket) -> None:
    server.read_request(connection)
    server.dribble(connection, ok(headers=b"X-Filler: %s\r\n" % (b"x" * 1000)))


def body_by_the_byte(server: Server, connection: socket.socket) -> None:
    server.read_request(connection)
    head, _, body = ok(b'{"id": "%s"}' % (b"x" * 1000)).partition(b"\r\n\r\n")
    connection.sendall(head + b"\r\n\r\n")
    server.dribble(connection, body)


def progress_without_end(server: Server, connection: socket.socket) -> None:
    server.read_request(connection)
    while not server.closing.wait(0.05):
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")


def silence_after_a_late_start(server: Server, connection: socket.socket) -> None:
    server.read_request(connection)
    server.closing.wait(TIMEOUT - 0.05)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    server.closing.wait()


def silence(server: Server, connection: socket.socket) -> None:
    server.read_request(connection)
    server.closing.wait()


def never_reading(server: Server, connection: socket.socket) -> None:
    server.closing.wait()


SLOW = [headers_by_the_byte, body_by_the_byte, progress_without_end, silence_after_a_late_start, silence]


@pytest.mark.parametrize("behaviour", SLOW, ids=lambda behaviour: behaviour.__name__)
def test_a_server_that_takes_its_time_does_not_get_more_than_the_calls(
    behaviour: Behaviour, serve: Serve
) -> None:
    server = serve(behaviour)

    fails(server.url, errors.TimedOut)

    assert len(server.requests) == 1


def test_a_server_that_does_not_read_does_not_get_more_than_the_calls(serve: Serve) -> None:
    fails(serve(never_reading).url, errors.TimedOut, body={"description": "x" * 12_000_000})


class SlowStream(httpcore2.NetworkStream):
    """Takes whatever it is given, slowly."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.taken.append(len(buffer))
        time.sleep(0.03)


def test_time_that_runs_out_between_two_pieces_of_a_request_leaves_the_outcome_unknown() -> None:
    slow = SlowStream()

    with total(0.1), pytest.raises(httpcore2.WriteTimeout):
        DeadlineStream(slow).write(bytes(1_000_000), timeout=30.0)

    assert 1 < len(slow.taken) < 10


def test_a_slow_answer_within_the_time_is_an_answer(serve: Serve) -> None:
    def slowly(server: Server, connection: socket.socket) -> None:
        server.read_request(connection)
        server.dribble(connection, ok(), every=0.002)

    with closing(client_for(serve(slowly).url)) as client:
        assert client.get_appointment("a-token", "apt1").id == "apt1"


def closing_after_reading(server: Server, connection: socket.socket) -> None:
    server.read_request(connection)


def resetting_after_reading(server: Server, connection: socket.socket) -> None:
    server.read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


def closing_at_once(server: Server, connection: socket.socket) -> None:
    pass


def closing_within_the_body(server: Server, connection: socket.socket) -> None:
    server.read_request(connection)
    connection.sendall(ok()[:-5])


def speaking_something_else(server: Server, connection: socket.socket) -> None:
    server.read_request(connection)
    connection.sendall(b"220 mail.example.test ESMTP\r\n")


LOST = [
    closing_after_reading,
    resetting_after_reading,
    closing_at_once,
    closing_within_the_body,
    speaking_something_else,
]


@pytest.mark.parametrize("behaviour", LOST, ids=lambda behaviour: behaviour.__name__)
def test_a_connection_that_ends_after_sending_leaves_the_outcome_unknown(
    behaviour: Behaviour, serve: Serve
) -> None:
    server = serve(behaviour)

    fails(server.url, errors.ConnectionLost)

    assert server.connections == 1


def test_nobody_listening_means_nothing_happened() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert "refused" in fails(f"http://127.0.0.1:{port}", errors.ConnectFailed).message


def test_a_connection_that_is_never_taken_means_nothing_happened() -> None:
    # A full backlog drops every further SYN, as a black hole does.
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())

        fails(f"http://127.0.0.1:{listener.getsockname()[1]}", errors.ConnectFailed)


def test_connections_are_reused(serve: Serve) -> None:
    server = serve(answering_each)

    with closing(client_for(server.url)) as client:
        for _ in range(3):
            create(client)

    assert (server.connections, len(server.requests)) == (1, 3)


def answering_each(server: Server, connection: socket.socket) -> None:
    while server.read_request(connection):
        connection.sendall(ok())


def test_a_create_on_a_reused_connection_that_dies_is_sent_once(serve: Serve) -> None:
    def dying_on_the_second(server: Server, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(ok())
        server.read_request(connection)

    server = serve(dying_on_the_second)
    with closing(client_for(server.url)) as client:
        create(client)
        with pytest.raises(errors.ConnectionLost):
            create(client)

    assert (server.connections, len(server.requests)) == (1, 2)


def test_a_connection_closed_while_idle_is_not_used_again(serve: Serve) -> None:
    closed = threading.Event()

    def closing_after_one(server: Server, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(ok())
        connection.close()
        closed.set()

    server = serve(closing_after_one)
    with closing(client_for(server.url)) as client:
        create(client)
        assert closed.wait(5)
        create(client)

    assert (server.connections, len(server.requests)) == (2, 2)


def test_a_timed_out_connection_is_not_used_again(serve: Serve) -> None:
    def late(server: Server, connection: socket.socket) -> None:
        server.read_request(connection)
        if server.connections == 1:
            server.closing.wait()
        connection.sendall(ok(b'{"id": "second"}'))

    server = serve(late)
    with closing(client_for(server.url, timeout=TIMEOUT)) as client:
        with pytest.raises(errors.TimedOut):
            create(client)
        assert client.get_appointment("a-token", "apt1").id == "second"

    assert server.connections == 2


def test_a_call_without_time_left_sends_nothing(serve: Serve) -> None:
    server = serve(answering_each)
    with closing(client_for(server.url)) as client:
        create(client)
        with pytest.raises(errors.ConnectFailed):
            client.refresh("an-old-refresh-token", timeout=0.0)
        with pytest.raises(errors.ConnectFailed):
            client.refresh("an-old-refresh-token", timeout=-1.0)

    with closing(client_for(server.url, timeout=0.0)) as client, pytest.raises(errors.ConnectFailed):
        create(client)

    assert len(server.requests) == 1


def test_one_call_may_have_less_time_than_the_others(serve: Serve) -> None:
    started = time.monotonic()
    with closing(client_for(serve(silence).url, timeout=30.0)) as client, pytest.raises(errors.TimedOut):
        client.refresh("an-old-refresh-token", timeout=0.2)

    assert time.monotonic() - started < 1


def test_threads_share_a_client_and_get_their_own_answers(serve: Serve) -> None:
    def echoing(server: Server, connection: socket.socket) -> None:
        while request := server.read_request(connection):
            asked = request.split()[1].rpartition(b"/")[2]
            connection.sendall(ok(b'{"id": "%s"}' % asked))

    server = serve(echoing)
    wrong: list[str] = []

    def ask(client: Client, thread: int) -> None:
        for turn in range(20):
            wanted = f"apt-{thread}-{turn}"
            if client.get_appointment("a-token", wanted).id != wanted:
                wrong.append(wanted)

    with closing(client_for(server.url)) as client:
        threads = [threading.Thread(target=ask, args=(client, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert (wrong, len(server.requests)) == ([], 160)
    assert server.connections <= 8


# Names


def test_a_name_that_does_not_exist_means_nothing_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    assert "not known" in fails("http://highlevel.test", errors.ConnectFailed).message


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(10) and [])

    fails("http://highlevel.test", errors.ConnectFailed)
    over.set()


def test_a_name_without_addresses_means_nothing_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])

    fails("http://highlevel.test", errors.ConnectFailed)


def test_the_second_address_is_tried_where_the_first_is_dead(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(answering_each)
    real = socket.getaddrinfo

    def two(host: str, port: int, *rest: object, **named: object) -> object:
        addresses = ["127.0.0.2", "127.0.0.1"] if host == "highlevel.test" else [host]
        return [found for each in addresses for found in real(each, port, *rest, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    with closing(client_for(f"http://highlevel.test:{server.port}")) as client:
        create(client)

    assert b"Host: highlevel.test" in server.requests[0]


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "highlevel.test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def over_tls(behaviour: Behaviour, certificate: Path) -> Server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return Server(behaviour, tls=context)


def trusting(certificate: Path) -> Transport:
    return Transport(tls=ssl.create_default_context(cafile=certificate))


def test_calls_over_tls_work_and_are_bounded(certificate: Path) -> None:
    def dribbling_on_the_second(server: Server, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(ok())
        server.read_request(connection)
        server.dribble(connection, ok(headers=b"X-Filler: %s\r\n" % (b"x" * 1000)))

    with closing(over_tls(dribbling_on_the_second, certificate)) as server:
        url = f"https://127.0.0.1:{server.port}"
        with closing(client_for(url, timeout=TIMEOUT, transport=trusting(certificate))) as client:
            create(client)
            started = time.monotonic()
            with pytest.raises(errors.TimedOut):
                create(client)

    assert time.monotonic() - started < LATE
    assert server.connections == 1


def test_a_certificate_nobody_vouches_for_means_nothing_happened(certificate: Path) -> None:
    with closing(over_tls(answering_each, certificate)) as server:
        failed = fails(f"https://127.0.0.1:{server.port}", errors.ConnectFailed)

    assert "certificate" in failed.message.lower()
    assert server.requests == []


def handshake_by_the_byte(server: Server, connection: socket.socket) -> None:
    connection.recv(65536)
    server.dribble(connection, b"\x16\x03\x03\x40\x00" + bytes(1000))


@pytest.mark.parametrize(
    "behaviour",
    [handshake_by_the_byte, never_reading, closing_at_once],
    ids=lambda behaviour: behaviour.__name__,
)
def test_a_handshake_that_does_not_end_means_nothing_happened(behaviour: Behaviour, serve: Serve) -> None:
    fails(f"https://127.0.0.1:{serve(behaviour).port}", errors.ConnectFailed)


def test_a_process_loads_the_authorities_once() -> None:
    assert tls_context() is tls_context()
