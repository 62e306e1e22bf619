"""`make serve` as a whole: real servers, web, worker and beat, configured by the environment."""

import base64
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from ghlapp.local.processes import wait_until
from ghlapp.local.server import free_port
from tests.local.conftest import ROOT, Launcher
from tests.local.processes import on_linux

# With the instances in a folder of the test's own: a developer's may be running.
RUN_COMMAND = """
import sys
from pathlib import Path
from ghlapp.local import __main__, stack
stack.FOLDER = Path(sys.argv[1])
sys.exit(__main__.main(ARGUMENTS))
"""


def command(*arguments: str) -> str:
    return f"ARGUMENTS = {list(arguments)!r}\n{RUN_COMMAND}"


@pytest.fixture
def environment() -> dict[str, str]:
    """The test run's settings, but for its servers."""
    unwanted = {"DATABASE_URL", "REDIS_URL"}
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=2).status_code == 200
    except httpx2.TransportError:
        return False


def test_serve_runs_until_it_is_told_to_stop(
    instance: Path, launcher: Launcher, environment: dict[str, str]
) -> None:
    port = free_port(0)
    running = launcher(command("serve"), **{**environment, "PORT": str(port)})

    assert wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 60, 0.2)
    assert (instance / "servers.json").stat().st_mode & 0o777 == 0o600
    # It listens on loopback alone, for whoever listens on every address has this one too.
    assert not answers(f"http://127.0.0.2:{port}/livez")
    running.terminate()
    output, _ = running.communicate(timeout=60)

    assert running.returncode == 0
    assert not (instance / "servers.json").exists()
    for name in ("web    |", "worker |", "beat   |"):
        assert name in output


def test_a_wrong_configuration_ends_the_start_with_a_hint(
    launcher: Launcher, environment: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    port = str(free_port(0))
    running = launcher(command("serve"), **{**environment, "PORT": port, "GHL_TIMEOUT_SECONDS": "soon"})

    running.communicate(timeout=60)

    assert running.returncode == 1
    assert "GHL_TIMEOUT_SECONDS" in capfd.readouterr().err


def test_a_port_that_is_taken_is_named(
    launcher: Launcher, environment: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    port = str(free_port(0))
    with subprocess.Popen([sys.executable, "-m", "http.server", port], stderr=subprocess.DEVNULL) as other:
        assert wait_until(lambda: answers(f"http://127.0.0.1:{port}/"), 10)
        running = launcher(command("serve"), **{**environment, "PORT": port})
        running.communicate(timeout=20)
        other.terminate()

    assert running.returncode == 1
    assert f"Port {port} is taken" in capfd.readouterr().err


@on_linux
def test_it_listens_where_it_is_told(
    launcher: Launcher, environment: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.2", 0)) as other:
        port = str(other.getsockname()[1])
        running = launcher(command("serve"), **{**environment, "PORT": port, "LISTEN_HOST": "127.0.0.2"})
        running.communicate(timeout=20)

    assert running.returncode == 1
    assert f"Port {port} is taken" in capfd.readouterr().err


def test_clean_deletes_the_data_of_every_instance(
    instance: Path, launcher: Launcher, environment: dict[str, str]
) -> None:
    (instance / "demo" / "postgres").mkdir(parents=True)
    (instance / "demo" / "launcher.lock").touch()

    assert launcher(command("clean"), **environment).wait(20) == 0
    assert not (instance / "demo").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "granian", "--version"],
        ["-m", "celery", "-A", "ghlapp", "worker", "--help"],
        ["-m", "celery", "-A", "ghlapp", "beat", "--help"],
        ["-m", "sandbox", "--help"],
        ["-m", "ghlapp.local", "--help"],
        ["manage.py", "help"],
        ["manage.py", "makemigrations", "--check", "--dry-run"],
    ],
    ids=" ".join,
)
def test_an_entry_point_runs_as_a_plain_command(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_production_configuration_passes_djangos_own_checks() -> None:
    production = {
        **os.environ,
        "PUBLIC_URL": "https://bookings.example.com",
        "SECRET_KEY": "k9" * 15 + "aZ_7-x" * 5,
        "TOKEN_ENCRYPTION_KEYS": base64.b64encode(os.urandom(32)).decode(),
        "GHL_CLIENT_SECRET": "as the developer portal shows it",
        "GHL_API_BASE_URL": "",
        "GHL_INSTALL_URL": "",
        "GHL_WEBHOOK_PUBLIC_KEYS": "",
    }
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]

    done = subprocess.run(command, cwd=ROOT, env=production, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
