"""What the containers of PostgreSQL and Valkey are started with, run here against the test run's servers."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest
import redis

from ghlapp.local import binaries
from ghlapp.local.processes import wait_until
from ghlapp.local.server import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPTS = ROOT / "containers"
ROLE, PASSWORD = "role of a container", 'it\'s a "password" with \\ and $x'
SERVER = urlsplit(os.environ["DATABASE_URL"])


def admin(statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def role() -> Iterator[str]:
    yield ROLE
    admin(f'DROP DATABASE IF EXISTS "{ROLE}" WITH (FORCE)')
    admin(f'DROP ROLE IF EXISTS "{ROLE}"')


def create_role(**environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", str(SCRIPTS / "create-role.sh")],
        env={
            "PATH": f"{binaries.postgres_folder()}:{os.environ['PATH']}",
            "PGHOST": str(SERVER.hostname),
            "PGPORT": str(SERVER.port),
            "PGPASSWORD": str(SERVER.password),
            "POSTGRES_USER": str(SERVER.username),
            "POSTGRES_DB": SERVER.path.removeprefix("/"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("as_file", [False, True])
def test_the_service_migrates_with_a_role_that_is_no_superuser(
    role: str, tmp_path: Path, as_file: bool
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    secret = {"DATABASE_PASSWORD_FILE": str(file)} if as_file else {"DATABASE_PASSWORD": PASSWORD}

    made = create_role(DATABASE_USER=role, **secret)

    assert made.returncode == 0, made.stderr
    rights = admin(
        f"SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication FROM pg_roles WHERE rolname = '{role}'"
    )
    assert rights == [(False, False, False, False)]
    url = f"postgres://{quote(role)}:{quote(PASSWORD)}@{SERVER.hostname}:{SERVER.port}/{quote(role)}"
    if as_file:
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (role,)
        return
    migrated = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--no-input"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert migrated.returncode == 0, migrated.stderr


def test_no_role_is_made_without_a_password(role: str) -> None:
    made = create_role(DATABASE_USER=role)

    assert made.returncode != 0
    assert "DATABASE_PASSWORD" in made.stderr
    assert admin(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'") == []


@pytest.mark.parametrize("given", [{}, {"DATABASE_PASSWORD_FILE": "/nowhere/at/all"}])
def test_no_database_is_made_without_the_roles_password(tmp_path: Path, given: dict[str, str]) -> None:
    """`docker-entrypoint.sh`, the image's own, makes it: it must not be reached."""
    entrypoint = tmp_path / "docker-entrypoint.sh"
    entrypoint.write_text("#!/bin/sh\necho made with $@\n")
    entrypoint.chmod(0o755)

    def started(environment: dict[str, str]) -> str:
        return subprocess.run(
            ["sh", str(SCRIPTS / "start-postgres.sh"), "postgres", "-c", "x"],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **environment},
            capture_output=True,
            text=True,
            check=False,
        ).stdout

    assert started(given) == ""
    assert started({"DATABASE_PASSWORD": "x"}) == "made with postgres -c x\n"
    assert started({"DATABASE_PASSWORD_FILE": __file__}) == "made with postgres -c x\n"


@contextmanager
def valkey(folder: Path, port: int, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    (folder / "bin").mkdir()
    (folder / "bin" / "valkey-server").symlink_to(binaries.valkey_server())
    process = subprocess.Popen(
        ["sh", str(SCRIPTS / "start-redis.sh"), "--port", str(port), "--save", "", "--dir", str(folder)],
        env={"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(folder), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def refuses(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            client.ping()
    except redis.AuthenticationError:
        return True
    except redis.ConnectionError:
        pass
    return False


@pytest.mark.parametrize("as_file", [False, True])
def test_redis_wants_a_password_that_nobody_sees(tmp_path: Path, as_file: bool) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    secret = {"REDIS_PASSWORD_FILE": str(file)} if as_file else {"REDIS_PASSWORD": PASSWORD}
    port = free_port(0)

    with valkey(tmp_path, port, **secret) as process:
        assert wait_until(lambda: refuses(port), 20, 0.05)
        with redis.Redis(port=port, password=PASSWORD) as client:
            assert client.ping()
        command = Path(f"/proc/{process.pid}/cmdline")
        assert not command.exists() or PASSWORD not in command.read_text()
        assert (tmp_path / "redis-password.conf").stat().st_mode & 0o077 == 0
        if shutil.which("valkey-cli") or shutil.which("redis-cli"):
            assert is_healthy(tmp_path, port, **secret)
            assert not is_healthy(tmp_path, port, REDIS_PASSWORD="another")


def is_healthy(folder: Path, port: int, **environment: str) -> bool:
    client = folder / "bin" / "valkey-cli"
    if not client.exists():
        client.symlink_to(str(shutil.which("valkey-cli") or shutil.which("redis-cli")))
    asked = subprocess.run(
        ["sh", str(SCRIPTS / "redis-is-healthy.sh"), "-p", str(port)],
        env={"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", **environment},
        capture_output=True,
        check=False,
    )
    return asked.returncode == 0


def test_redis_does_not_start_without_a_password(tmp_path: Path) -> None:
    with valkey(tmp_path, free_port(0)) as process:
        assert process.wait(20) != 0
