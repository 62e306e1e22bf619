"""A client whose HighLevel is a function, or a server that misbehaves; no sandbox and no Django."""

from collections.abc import Callable, Iterator

import httpx2
import pytest

from ghl.client import Client

from .servers import Behaviour, Server

Answering = Callable[..., Client]


def client_for(base_url: str, **arguments: object) -> Client:
    settings = {"client_id": "app1-abc", "client_secret": "a-client-secret", "timeout": 5.0, **arguments}
    return Client(base_url=base_url, **settings)


@pytest.fixture
def answering() -> Answering:
    """`answering(200, json={…})` is a client that gets this answer, `answering(function)` asks there."""

    def make(status: int | Callable[[httpx2.Request], httpx2.Response] = 200, **answer: object) -> Client:
        on_call = answer.pop("on_call", None)
        handler = status if callable(status) else lambda _: httpx2.Response(status, **answer)
        return client_for("https://highlevel.test", transport=httpx2.MockTransport(handler), on_call=on_call)

    return make


@pytest.fixture
def serve() -> Iterator[Callable[[Behaviour], Server]]:
    """`serve(behaviour)` is a TCP server on the loopback that treats every connection like that."""
    servers = []

    def start(behaviour: Behaviour) -> Server:
        servers.append(Server(behaviour))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
