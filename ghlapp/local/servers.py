"""The local servers of one instance (`serve`, `demo`, `test`): locks, ports and password, start and stop.
What runs on top of them is stack.py; how each is started is postgres.py and valkey.py."""

import fcntl
import os
import secrets
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Self

from ghlapp.local import ground
from ghlapp.local.files import read_private, write_private
from ghlapp.local.postgres import Postgres
from ghlapp.local.processes import StartError, wait_until
from ghlapp.local.server import LocalServer, free_port
from ghlapp.local.valkey import Valkey

KINDS: tuple[type[LocalServer], ...] = (Postgres, Valkey)
ORPHAN_SECONDS = 15
# A launcher that was killed just now may still hold its lock.
DYING_SECONDS = 0.5


class TakenError(StartError):
    """Another launcher runs this instance."""


def _nothing(line: str) -> None:
    """Tests start servers without a word."""


class LocalServers:
    """A context manager: the servers named in `wanted` run inside it, `urls` tells where.

    Two locks keep order. One is held by the launcher: there is one at a time. The other is inherited by the
    servers: it is free only when none of them lives any more, whatever became of their launcher.
    """

    def __init__(
        self,
        instance: Path,
        wanted: Collection[str] = ("DATABASE_URL", "REDIS_URL"),
        *,
        durable: bool = True,
        say: Callable[[str], None] = _nothing,
    ):
        self.instance, self.wanted, self.durable, self.say = instance.resolve(), wanted, durable, say
        self.urls: dict[str, str] = {}
        self._servers: list[LocalServer] = []
        self._locks: list[int] = []

    def __enter__(self) -> Self:
        try:
            self.instance.mkdir(parents=True, exist_ok=True)
            self._lock_launcher()
            self._start(self._lock_servers())
        except OSError as error:
            self.stop()
            raise StartError(f"{error}. Did another user start it here before?") from error
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        while self._servers:
            self._servers.pop().stop()
        while self._locks:
            os.close(self._locks.pop())

    def running(self, setting: str) -> LocalServer:
        """The server that `setting` names, for those who stop it to see what follows."""
        return next(server for server in self._servers if server.setting == setting)

    def remove(self) -> None:
        """Delete the instance's data; not while somebody runs it."""
        try:
            self._lock_launcher()
            self._lock_servers()
            ground.remove(self.instance)
        finally:
            self.stop()

    def _start(self, lock: int) -> None:
        place = ground.choose(self.instance, lock)
        if place.home != self.instance:
            self.say(f"Data is kept in {place.home}: the servers' user may not enter {self.instance}.")
        state = read_private(place.home / "state.json")
        state.setdefault("password", secrets.token_hex(24))
        for kind in KINDS:
            if kind.setting in self.wanted:
                self._launch(kind, place, state)
        write_private(place.home / "state.json", state)
        for server in self._servers:
            server.wait_until_ready()
            self.urls[server.setting] = server.url
            self.say(f"{server.title} runs on port {server.port}.")

    def _launch(self, kind: type[LocalServer], place: ground.Ground, state: dict[str, str]) -> None:
        self.say(f"Starting {kind.title} ...")
        port = free_port(preferred=int(state.get(kind.setting, "0")))
        log = self.instance / f"{kind.title.lower()}.log"
        server = kind(place, log, state["password"], port, durable=self.durable)
        self._servers.append(server)
        state[f"{kind.title} process"] = str(server.start())
        state[kind.setting] = str(port)

    def _lock_launcher(self) -> None:
        lock = self._open("launcher.lock")
        if not wait_until(lambda: _try(lock), DYING_SECONDS):
            launcher = os.pread(lock, 20, 0).decode() or "unknown"
            raise TakenError(f"{self.instance} is in use by process {launcher}: stop that first.")
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)

    def _lock_servers(self) -> int:
        lock = self._open("servers.lock")
        if not _try(lock):
            self.say("Waiting for the servers of an earlier run to stop.")
            if not wait_until(lambda: _try(lock), ORPHAN_SECONDS):
                raise StartError(f"They still run{self._orphans(lock)}: stop them first.")
        return lock

    def _orphans(self, lock: int) -> str:
        state = read_private(ground.choose(self.instance, lock).home / "state.json")
        processes = [state[name] for name in state if name.endswith(" process")]
        return f" (processes {' and '.join(processes)})" if processes else ""

    def _open(self, name: str) -> int:
        lock = os.open(self.instance / name, os.O_RDWR | os.O_CREAT, 0o600)
        self._locks.append(lock)
        return lock


def _try(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
