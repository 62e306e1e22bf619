"""Clients of Redis. All of them are made from REDIS_URL, of which everything counts: with `rediss://` the server's
certificate is verified unless the URL says otherwise."""

import re
import ssl
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import redis
from django.conf import settings
from redis.connection import parse_url

SCHEMES = {"redis", "rediss"}
HOST = r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?"
# The rest of redis-py's options is each client's own: time-outs, decoding, the size of pools.
OPTIONS = {
    *("db", "username", "password", "client_name"),
    *("ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs", "ssl_ca_path", "ssl_ca_data"),
    *("ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_ciphers"),
}


def client(seconds: float, **options: Any) -> redis.Redis:
    """A client that waits no longer than `seconds` for each step: connecting, and each answer."""
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=seconds, socket_connect_timeout=seconds, **options
    )


def connection_options() -> dict[str, Any]:
    """What REDIS_URL says, as redis-py's connection pools take it; for a client that is not made by `client`."""
    return dict(parse_url(settings.REDIS_URL))  # type: ignore[no-untyped-call]


def address(url: str) -> str:
    """The URL without its password and options, for people to read."""
    parts = urlsplit(url if url and not problem(url) else "redis://unset")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def problem(url: str) -> str | None:
    """What is wrong with a REDIS_URL, without anything secret of it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme not in SCHEMES or not re.fullmatch(HOST, host) or parts.fragment:
        return "does not read redis://host or rediss://host; are special characters percent-encoded?"
    if not parts.path.removeprefix("/").isdigit() and parts.path not in {"", "/"}:
        return "has a path that is no database's number"
    given = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in given:
        if name not in OPTIONS:
            return f'has an unknown option: "{name}"; known are {", ".join(sorted(OPTIONS))}'
        if not value or [each for each, _ in given].count(name) > 1:
            return f"must name {name} once, with a value"
    return _refusal(url)


def _refusal(url: str) -> str | None:
    """What redis-py and OpenSSL say of the values, without connecting."""
    try:
        # Values of the wrong kind, and options of TLS without TLS.
        connection = redis.ConnectionPool.from_url(url).make_connection()
        if isinstance(connection, redis.SSLConnection):
            _read_certificates(connection)
    except TypeError:
        return "has ssl options, which need rediss://"
    except (ValueError, redis.RedisError) as error:
        return f"cannot be used: {error}"
    except OSError as error:
        return f"names certificates that cannot be read: {error.strerror or error}"
    return None


def _read_certificates(connection: redis.SSLConnection) -> None:
    """Raises OSError, of which OpenSSL's errors are, where the connection could not read its files."""
    context = ssl.create_default_context()
    authorities = (connection.ca_certs, connection.ca_path, connection.ca_data)
    if any(authorities):
        context.load_verify_locations(*authorities)
    if connection.certfile or connection.keyfile:
        # Without a password here OpenSSL would ask for it at the terminal.
        password = connection.certificate_password or ""
        context.load_cert_chain(connection.certfile, connection.keyfile, password=password)
    if connection.ssl_ciphers:
        context.set_ciphers(connection.ssl_ciphers)
