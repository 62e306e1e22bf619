"""What a local PostgreSQL and a local Valkey have in common: a process on a loopback port.
The two differ in postgres.py and valkey.py; servers.py runs both."""

import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from ghlapp.local.ground import Ground
from ghlapp.local.processes import StartError, last_lines, stop, wait_until

LOOPBACK = "127.0.0.1"
# PostgreSQL replays its log after a crash before it answers.
READY_SECONDS = 60
STOP_SECONDS = 15


class LocalServer(ABC):
    title: ClassVar[str]
    setting: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self, ground: Ground, log: Path, password: str, port: int, *, durable: bool):
        self.ground, self.log = ground, log
        self.password, self.port, self.durable = password, port, durable
        self.process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The value of `setting` for those who use this server."""

    @abstractmethod
    def prepare(self) -> Path:
        """Create what the server needs; its data folder."""

    @abstractmethod
    def command(self, data: Path) -> list[str]: ...

    @abstractmethod
    def is_ready(self, data: Path) -> bool: ...

    def start(self) -> int:
        """The process id; the server may need a while yet until it answers."""
        self.data = self.prepare()
        self.process = self._spawn(self.command(self.data), self.data)
        return self.process.pid

    def wait_until_ready(self) -> None:
        def ready_or_gone() -> bool:
            return self._is_gone() or self.is_ready(self.data)

        if not wait_until(ready_or_gone, READY_SECONDS) or self._is_gone():
            raise StartError(f"{self.title} did not start; the end of {self.log}:\n{last_lines(self.log)}")

    def stop(self) -> None:
        if self.process:
            stop(self.process, self.stop_signal, STOP_SECONDS)

    def run(self, command: list[str], cwd: Path, given: bytes = b"") -> None:
        """A program that has to succeed before the server can start."""
        process = self._spawn(command, cwd, stdin=subprocess.PIPE)
        process.communicate(given)
        if process.returncode != 0:
            raise StartError(f"{command[0]} failed; the end of {self.log}:\n{last_lines(self.log)}")

    def _spawn(
        self, command: list[str], cwd: Path, stdin: int = subprocess.DEVNULL
    ) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return self.ground.spawn(command, death_signal=self.stop_signal, log=log, cwd=cwd, stdin=stdin)

    def _is_gone(self) -> bool:
        return self.process is None or self.process.poll() is not None


def is_free(port: int, host: str = LOOPBACK) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # Connections of an earlier server that are still closing do not count; a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(preferred: int, host: str = LOOPBACK) -> int:
    if preferred and is_free(preferred, host):
        return preferred
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
