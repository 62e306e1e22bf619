"""The client's address comes from as many proxies as are configured, never from the client."""

import logging
from typing import Any

import pytest
from django.test import Client, RequestFactory

from ghlapp.addresses import UNKNOWN, client_address

PEER = "10.0.0.7"


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, None, PEER),
        (0, "203.0.113.9", PEER),
        (1, None, PEER),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.1, 203.0.113.9,10.0.0.3", "203.0.113.9"),
        (2, "203.0.113.9", "203.0.113.9"),
        (1, "203.0.113.9:52100", "203.0.113.9"),
        (1, "2001:db8::1", "2001:db8::1"),
        (1, "[2001:DB8::1]:443", "2001:db8::1"),
        (1, "unknown", UNKNOWN),
        (1, "203.0.113.9, ' OR 1=1", UNKNOWN),
        (1, "", PEER),
        (1, ",,,", UNKNOWN),
    ],
)
def test_it_believes_as_many_proxies_as_are_configured(
    settings: Any, proxies: int, forwarded: str | None, address: str
) -> None:
    settings.TRUSTED_PROXY_COUNT = proxies
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    request = RequestFactory().get("/livez", headers=headers, REMOTE_ADDR=PEER)

    assert client_address(request) == address


@pytest.mark.parametrize(("proxies", "address"), [(0, "127.0.0.1"), (1, "203.0.113.9")])
def test_it_is_the_address_in_the_log(
    settings: Any, caplog: pytest.LogCaptureFixture, proxies: int, address: str
) -> None:
    settings.TRUSTED_PROXY_COUNT = proxies

    with caplog.at_level(logging.INFO):
        Client().get("/livez", headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.9"})

    assert f'"ip": "{address}"' in caplog.text
