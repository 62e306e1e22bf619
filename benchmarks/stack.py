"""What a benchmark runs on: real PostgreSQL and Valkey, as durable as in production, and processes as they are
deployed, beside a sandbox in a process of its own. What they are asked is each benchmark's own module."""

import os
import shutil
import signal
import socket
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib import import_module
from types import TracebackType
from typing import Self

import django
import redis
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings

from benchmarks.desk import Desk
from ghlapp.local import commands
from ghlapp.local.files import FOLDER
from ghlapp.local.processes import StartError, last_lines, leash, stop, wait_until
from ghlapp.local.server import LOOPBACK, free_port
from ghlapp.local.servers import LocalServers

INSTANCE = FOLDER / "bench"
READY_SECONDS = 90
STOP_SECONDS = 10
PATIENCE_SECONDS = 300
# What the caller's environment may say otherwise: tests give HighLevel two seconds, which is what it takes here.
USUAL = dict.fromkeys(
    (
        *(
            "ALLOWED_HOSTS",
            "DATABASE_POOL_SIZE",
            "DATABASE_PREPARE",
            "DEBUG",
            "GHL_SETTLE_SECONDS",
            "GHL_TIMEOUT_SECONDS",
        ),
        "SECRET_KEY_FALLBACKS",
    ),
    "",
)
CLIENT_ID, CLIENT_SECRET = "665c6bb13d4e5364bdec0e2f-bench123", "00000000-0000-4000-8000-000000000000"
# HighLevel's, as far as a benchmark is it.
SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(b"a key for letters of benchmarks.")
NEW_KEY, OLD_KEY = b"new key of the benchmarks, 32 by", b"old key of the benchmarks, 32 by"


class Stack:
    """A context manager: inside it the servers run, and Django is set up for them.

    `short`: benchmarks are to show that they work, not figures.
    """

    def __init__(self, *, short: bool = False) -> None:
        self.short = short
        self.logs = INSTANCE / "logs"
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        remove()
        with ExitStack() as closing:
            servers = closing.enter_context(LocalServers(INSTANCE))
            self.logs.mkdir()
            (INSTANCE / "metrics").mkdir()
            self._port = free_port(0)
            self._configure(self._settings(servers.urls))
            self._set_up_django()
            self._closing = closing.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from django.db import connections

        connections.close_all()
        self._closing.close()

    def _settings(self, servers: Mapping[str, str]) -> dict[str, str]:
        url = f"http://{LOOPBACK}:{self._port}"
        return {
            **USUAL,
            **servers,
            "DJANGO_SETTINGS_MODULE": "ghlapp.settings",
            "SECRET_KEY": "only-for-benchmarks-" + "0" * 50,
            "TOKEN_ENCRYPTION_KEYS": ",".join(b64encode(key).decode() for key in (NEW_KEY, OLD_KEY)),
            "PUBLIC_URL": "http://localhost:8000",
            "GHL_API_BASE_URL": url,
            "GHL_INSTALL_URL": f"{url}/v2/oauth/chooselocation",
            "GHL_CLIENT_ID": CLIENT_ID,
            "GHL_CLIENT_SECRET": CLIENT_SECRET,
            "GHL_WEBHOOK_PUBLIC_KEYS": _published(SIGNING_KEY),
            "PROMETHEUS_MULTIPROC_DIR": str(INSTANCE / "metrics"),
            "LOG_LEVEL": "WARNING",
        }

    def _configure(self, settings: dict[str, str]) -> None:
        for name, value in settings.items():
            os.environ[name] = value
            # A NAME_FILE of the caller's would be read first.
            os.environ.pop(f"{name}_FILE", None)

    def _set_up_django(self) -> None:
        django.setup()
        # Without it wake-ups go to a queue that nobody reads.
        import_module("ghlapp.celery")
        from django.core.management import call_command

        call_command("migrate", verbosity=0)

    def empty(self) -> None:
        """No rows and no messages, for the next benchmark."""
        from django.core.management import call_command

        call_command("flush", verbosity=0, interactive=False)
        with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
            client.flushall()

    # --- Processes ----------------------------------------------------------------------------------------

    @contextmanager
    def sandbox(self) -> Iterator[Desk]:
        with (
            self._running("sandbox", commands.SANDBOX, " at http"),
            Desk(os.environ["GHL_API_BASE_URL"]) as desk,
        ):
            # Each run is answered in the same forms as the one it is compared with.
            desk.set(forms_seed=None)
            yield desk

    @contextmanager
    def workers(self, count: int) -> Iterator[list[int]]:
        """So many worker processes, whose ids are given, and beat."""
        with ExitStack() as running:
            running.enter_context(self._running("beat", commands.BEAT, "Starting"))
            yield [
                running.enter_context(self._worker(f"worker-{number}", commands.WORKER))
                for number in range(1, count + 1)
            ]

    @contextmanager
    def bare_workers(self, count: int) -> Iterator[list[int]]:
        """The same with the yardsticks' Celery application, which needs no beat."""
        # As many calls at a time as a worker of ours makes for bookings.
        ours = commands.WORKER[commands.WORKER.index("--concurrency") + 1]
        theirs = {"ghlapp": "benchmarks.bare", ours: str(settings.CONVERGING_THREADS)}
        command = (*(theirs.get(word, word) for word in commands.WORKER), "--queues", "bare")
        with ExitStack() as running:
            yield [
                running.enter_context(self._worker(f"bare-worker-{number}", command))
                for number in range(1, count + 1)
            ]

    @contextmanager
    def web(self) -> Iterator[int]:
        """The web processes as they are deployed; their port is given."""
        with self._web("web", "ghlapp.rsgi:application") as port:
            yield port

    @contextmanager
    def bare_web(self) -> Iterator[int]:
        """The same command with the yardstick's application."""
        with self._web("bare-web", "benchmarks.bare_web:application") as port:
            yield port

    @contextmanager
    def _web(self, name: str, application: str) -> Iterator[int]:
        port = free_port(0)
        command = (*(application if ":application" in word else word for word in commands.WEB),)
        with self._running(name, command, "Started worker-2", port=port):
            wait_for(lambda: _is_listening(port))
            yield port

    def _worker(self, name: str, command: tuple[str, ...]) -> AbstractContextManager[int]:
        return self._running(name, (*command, "--hostname", f"{name}@%h"), " ready.")

    @contextmanager
    def _running(self, name: str, command: tuple[str, ...], ready: str, **more: object) -> Iterator[int]:
        values = {
            **more,
            "host": LOOPBACK,
            "sandbox_port": self._port,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "public_url": os.environ["PUBLIC_URL"],
            "state": INSTANCE,
        }
        log = self.logs / f"{name}.log"
        # Anew: that an earlier one was ready says nothing.
        with log.open("wb") as output:
            process = subprocess.Popen(
                commands.filled(command, values),
                cwd=FOLDER.parent,
                # As deployed; ours are for the table alone.
                env={**os.environ, "LOG_LEVEL": "INFO"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=leash(signal.SIGKILL),  # noqa: PLW1509 (no thread of ours runs yet)
            )
        try:
            if not wait_until(lambda: ready in log.read_text(errors="replace"), READY_SECONDS, 0.1):
                raise StartError(f"{name} was not ready after {READY_SECONDS} s:\n{last_lines(log)}")
            yield process.pid
        finally:
            stop(process, signal.SIGTERM, STOP_SECONDS)


def wait_for(condition: Callable[[], bool], pause_seconds: float = 0.2) -> None:
    """Raises StartError, with what the processes said last, where it does not come true: nothing is measured then."""
    if wait_until(condition, PATIENCE_SECONDS, pause_seconds):
        return
    said = "\n".join(f"{log.name}:\n{last_lines(log)}" for log in sorted((INSTANCE / "logs").glob("*.log")))
    raise StartError(f"what is measured was not done after {PATIENCE_SECONDS} s\n{said}")


def _published(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((LOOPBACK, port)) == 0


def remove() -> None:
    """What a run leaves behind: its servers' data and its logs."""
    if INSTANCE.exists():
        LocalServers(INSTANCE).remove()
        shutil.rmtree(INSTANCE, ignore_errors=True)
