"""The real PostgreSQL and Redis of a test run, and the settings the tests run with.
Started by conftest.py before Django reads its settings; nothing here is a fixture."""

import atexit
import base64
import os
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from ghlapp.local.files import FOLDER
from ghlapp.local.servers import LocalServers, TakenError
from sandbox import PUBLIC_KEY_PEM

SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "ghlapp.settings",
    # Empty is unset, also where a developer's .env says otherwise.
    "DEBUG": "",
    "ALLOWED_HOSTS": "",
    "SECRET_KEY": "only-for-tests-" + "0" * 50,
    "TOKEN_ENCRYPTION_KEYS": base64.b64encode(b"only for tests, thirty-two bytes").decode(),
    "GHL_CLIENT_ID": "665c6bb13d4e5364bdec0e2f-test1234",
    "GHL_CLIENT_SECRET": "00000000-0000-4000-8000-000000000000",
    "GHL_API_BASE_URL": "http://127.0.0.1:9",
    "GHL_INSTALL_URL": "",
    "GHL_WEBHOOK_PUBLIC_KEYS": PUBLIC_KEY_PEM,
    "PUBLIC_URL": "http://testserver",
    "GHL_TIMEOUT_SECONDS": "2",
    "GHL_SETTLE_SECONDS": "1",
}
SERVERS = ("DATABASE_URL", "REDIS_URL")


def provide() -> None:
    """Put the run's settings into the environment; processes of pytest-xdist inherit its servers from it."""
    os.environ.update(SETTINGS)
    missing = [name for name in SERVERS if not os.environ.get(name)]
    if missing:
        servers = _started(missing)
        os.environ.update(servers.urls)
        atexit.register(servers.stop)
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        os.environ["REDIS_URL"] = _with_number(os.environ["REDIS_URL"], int(worker.removeprefix("gw")) + 1)


def _started(missing: list[str]) -> LocalServers:
    """Forgetful servers in the first folder that no other test run uses."""
    for number in count():
        servers = LocalServers(_folder(number), missing, durable=False)
        try:
            return servers.__enter__()
        except TakenError:
            continue
    raise AssertionError("count() does not end")


def _folder(number: int) -> Path:
    return FOLDER / (f"test-{number}" if number else "test")


def _with_number(redis_url: str, number: int) -> str:
    return urlunsplit(urlsplit(redis_url)._replace(path=f"/{number}"))
