"""`make serve` and `make demo`: local servers where none are named, migrations, then one process group.
The processes are those of commands.py; nothing here knows what they do."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ghlapp import environment
from ghlapp.local import commands, demo, discovery
from ghlapp.local.files import FOLDER
from ghlapp.local.group import Group
from ghlapp.local.processes import StartError, last_lines
from ghlapp.local.server import LOOPBACK, free_port, is_free
from ghlapp.local.servers import LocalServers

SERVERS = ("DATABASE_URL", "REDIS_URL")


def say(line: str) -> None:
    print(line, flush=True)


def serve() -> int:
    """Web, worker and scheduler, configured by the environment and .env."""
    environment.env.read_env(FOLDER.parent / ".env")
    port = environment.read("PORT", environment.port, "8000")
    host = environment.text("LISTEN_HOST", LOOPBACK)
    _refuse_taken(port, host)
    instance = FOLDER / "serve"
    with _servers(instance, {"PORT": str(port)}) as settings:
        values = {"host": host, "port": port, "state": instance}
        group = {name: commands.filled(command, values) for name, command in commands.SERVE.items()}
        return Group(group, settings).run()


def run_demo(*, once: bool) -> int:
    """The same with the sandbox and a tour through both; until Ctrl-C, or with `once` to the tour's end."""
    instance = FOLDER / "demo"
    instance.mkdir(parents=True, exist_ok=True)
    port, sandbox_port = _port("PORT", 8000), _port("SANDBOX_PORT", 8800)
    public_url, sandbox_url = f"http://localhost:{port}", f"http://{LOOPBACK}:{sandbox_port}"
    given = {"PORT": str(port), **demo.settings(instance, public_url, sandbox_url)}
    with _servers(instance, given) as settings:
        values = {
            "host": LOOPBACK,
            "port": port,
            "state": instance,
            "sandbox_port": sandbox_port,
            "client_id": given["GHL_CLIENT_ID"],
            "client_secret": given["GHL_CLIENT_SECRET"],
            "public_url": public_url,
            "sandbox_url": sandbox_url,
        }
        processes = {
            "sandbox": (*commands.SANDBOX, *commands.LETTERS),
            **commands.SERVE,
            "tour": commands.TOUR,
        }
        group = {name: commands.filled(command, values) for name, command in processes.items()}
        logs = _fresh(instance / "logs")
        say(f"Starting {', '.join(processes)}; their logs are in {logs}. Ctrl-C stops everything.")
        return Group(group, settings, logs=logs, guide="tour", once=once).run()


def clean() -> int:
    """Delete the data of every instance, also where it is kept outside the checkout."""
    for lock in FOLDER.glob("*/launcher.lock"):
        LocalServers(lock.parent).remove()
    return 0


@contextmanager
def _servers(instance: Path, given: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment for the stack's processes, `given` included, while its servers run."""
    missing = [name for name in SERVERS if not environment.text(name)]
    with LocalServers(instance, missing, say=say) as servers:
        published = {**given, **servers.urls}
        # A NAME_FILE of the caller's would be read before the NAME given here.
        shadowed = {f"{name}_FILE" for name in published}
        kept = {name: value for name, value in os.environ.items() if name not in shadowed}
        settings = {**kept, **published}
        settings.setdefault("PROMETHEUS_MULTIPROC_DIR", str(_fresh(instance / "metrics")))
        say("Applying migrations ...")
        _run(commands.filled(commands.MIGRATE, {}), settings, instance / "migrate.log")
        discovery.publish(published, FOLDER / "servers.json")
        try:
            yield settings
        finally:
            discovery.withdraw(FOLDER / "servers.json")


def _run(command: list[str], settings: dict[str, str], log: Path) -> None:
    with log.open("wb") as output:
        code = subprocess.run(command, env=settings, stdout=output, stderr=output, check=False).returncode
    if code != 0:
        raise StartError(f"`{' '.join(command[1:])}` failed with exit code {code}:\n{last_lines(log, 40)}")


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _port(name: str, default: int) -> int:
    """The port that the environment names, else the usual one, else any that is free."""
    if named := environment.read(name, int, "0"):
        _refuse_taken(named, LOOPBACK)
        return named
    return free_port(default)


def _refuse_taken(port: int, host: str) -> None:
    # Two servers may share a port unnoticed (SO_REUSEPORT), each answering some of the requests.
    if not is_free(port, host):
        raise StartError(f"Port {port} is taken; set PORT to another one.")
