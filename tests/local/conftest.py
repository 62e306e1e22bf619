"""Fixtures for the tests of ghlapp/local: a folder for an instance, and launchers in processes of their own.
Looking at what is running is processes.py."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ghlapp.local.servers import LocalServers

ROOT = Path(__file__).resolve().parent.parent.parent
# A process that is started with little else must still be able to report its coverage.
MEASURING = {name: value for name, value in os.environ.items() if name.startswith("COV")}
Launcher = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def instance() -> Iterator[Path]:
    """A folder for an instance, with a space in its name; any user may enter it."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="ghlapp test ") as folder:
        Path(folder).chmod(0o755)
        instance = Path(folder) / "instance"
        yield instance
        if instance.exists():
            # Servers whose launcher a test has killed may still be stopping; this waits for them.
            LocalServers(instance).remove()


@pytest.fixture
def launcher(instance: Path) -> Iterator[Launcher]:
    """Runs Python code in a process of its own, with the instance's folder as its first argument."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, **environment: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-u", "-c", code, str(instance)]
        settings = {"PATH": "/usr/bin:/bin", **MEASURING, **environment}
        process = subprocess.Popen(command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
