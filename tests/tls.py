"""TLS in front of the test run's servers, whose binaries are built without it: a proxy that ends TLS and passes on
what is inside, and remembers what clients sent it, byte by byte."""

import select
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from urllib.parse import urlencode, urlsplit, urlunsplit

import trustme

# What a client of PostgreSQL asks before it says anything else: for TLS, or for Kerberos' encryption.
SSL_REQUEST, GSS_REQUEST = struct.pack("!II", 8, 80877103), struct.pack("!II", 8, 80877104)


@dataclass
class Proxy:
    """Listens on localhost; `from_clients` is what was on the wire, `inside` what TLS had hidden of it."""

    url: str
    context: ssl.SSLContext
    is_postgresql: bool
    from_clients: bytearray = field(default_factory=bytearray)
    inside: bytearray = field(default_factory=bytearray)

    @property
    def server(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 0)

    @property
    def password(self) -> bytes:
        return str(urlsplit(self.url).password).encode()

    def address(self, scheme: str, **options: str | Path) -> str:
        """The server's URL, by way of this proxy."""
        parts = urlsplit(self.url)
        account = parts.netloc.rpartition("@")[0]
        where = f"{account}@localhost:{self.port}"
        query = urlencode({name: str(value) for name, value in options.items()})
        return urlunsplit(parts._replace(scheme=scheme, netloc=where, query=query))

    def listen(self) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = listener.getsockname()[1]
        Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        # Until the listener is closed.
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        # A client that refuses the certificate, or that was refused, ends its connection here.
        with suppress(OSError, ssl.SSLError), client, socket.create_connection(self.server) as server:
            if not self.is_postgresql or self._agrees_on_tls(client):
                self._pass_on(client, server)

    def _agrees_on_tls(self, client: socket.socket) -> bool:
        while (asked := self._read(client, 8)) == GSS_REQUEST:
            client.sendall(b"N")
        if asked == SSL_REQUEST:
            client.sendall(b"S")
        return asked == SSL_REQUEST

    def _read(self, client: socket.socket, limit: int = 65536) -> bytes:
        data = client.recv(limit)
        if not data:
            raise ConnectionError("The client went away.")
        self.from_clients += data
        return data

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        encrypted, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(encrypted, to_client, server_side=True)
        is_open = False
        while True:
            try:
                if not is_open:
                    tls.do_handshake()
                    is_open = True
                while True:
                    plain = tls.read(65536)
                    self.inside += plain
                    server.sendall(plain)
            except ssl.SSLWantReadError:
                pass
            finally:
                client.sendall(to_client.read())
            ready, _, _ = select.select([client, server], [], [])
            if client in ready:
                encrypted.write(self._read(client))
            if server in ready:
                answer = server.recv(65536)
                if not answer:
                    return
                tls.write(answer)
                client.sendall(to_client.read())


@contextmanager
def proxy(
    url: str, authority: trustme.CA, *, name: str = "localhost", client_authority: trustme.CA | None = None
) -> Iterator[Proxy]:
    """TLS in front of the server at `url`, with a certificate of `authority` for the host `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    if client_authority:
        client_authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    opened = Proxy(url, context, is_postgresql=url.startswith("postgres"))
    with opened.listen():
        yield opened


def certificate_of(authority: trustme.CA, folder: Path) -> Path:
    path = folder / f"authority-{id(authority)}.pem"
    authority.cert_pem.write_to_path(path)
    return path


def client_certificate(authority: trustme.CA, folder: Path) -> tuple[Path, Path]:
    """Files of a client's certificate and its private key."""
    certificate, key = folder / "client.pem", folder / "client.key"
    issued = authority.issue_cert("client@example.com")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    key.chmod(0o600)
    return certificate, key
