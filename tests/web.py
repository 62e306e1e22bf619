"""The web process as it is deployed, with the test run's database, for tests that speak HTTP to it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from django.db import connection

from ghlapp.local import commands
from ghlapp.local.processes import wait_until
from ghlapp.local.server import free_port

ROOT = Path(__file__).resolve().parent.parent
PROCESSES = 2


@contextmanager
def serve(log: Path, **settings: str) -> Iterator[int]:
    """The port of a web process that `make serve` would start, with these settings beside those of the run."""
    port = free_port(8000)
    database = os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{connection.settings_dict['NAME']}"
    environment = {**os.environ, "DATABASE_URL": database, **settings}
    command = commands.filled(commands.WEB, {"host": "127.0.0.1", "port": port})
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        started = wait_until(
            lambda: log.read_text().count("runtime-1") == PROCESSES and _is_alive(port), 60, 0.1
        )
        assert started, log.read_text()
        yield port
        assert "Traceback" not in log.read_text()
    finally:
        process.terminate()
        process.wait(30)


def _is_alive(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/livez", timeout=2).status_code == 200
    except httpx2.TransportError:
        return False
