"""DATABASE_URL and REDIS_URL count with everything in them, and TLS is verified by every client of both."""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import trustme
from celery import current_app
from django.core.checks import run_checks
from django.db import connection
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.utils import ConnectionHandler
from django.test import Client
from kombu.exceptions import OperationalError as BrokerAway

from appointments import turns
from appointments.models import Booking
from ghlapp import database_url
from ghlapp.local import commands
from ghlapp.local.server import free_port
from oauth import pace, redis_clients, wakeups
from tests import tls
from tests.appointments.conftest import forget_the_broker, until
from tests.fixtures import Persona, booking_body

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = ("ghlapp", "appointments", "webhooks", "oauth")
SWEEP = wakeups.WakeUp("appointments.tasks.sweep")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def stranger() -> trustme.CA:
    """Another authority, which this deployment does not trust."""
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> Path:
    return tls.certificate_of(authority, tmp_path)


# --- Redis ------------------------------------------------------------------------------------------------


def is_ready() -> bool:
    return bool(Client().get("/readyz").json()["redis"])


def keeps_flags() -> bool:
    before = wakeups.metrics.wake_ups.labels(SWEEP.task, "failed")._value.get()
    SWEEP.send()
    return bool(before == wakeups.metrics.wake_ups.labels(SWEEP.task, "failed")._value.get())


def publishes() -> bool:
    try:
        SWEEP.publish()
    except (redis.RedisError, BrokerAway, OSError):
        return False
    return True


def paces() -> bool:
    try:
        pace.take(pace.location("x"), pace.Use.UPKEEP)
    except pace.PaceUnknown:
        return False
    except pace.MustWait:
        pass
    return True


def takes_turns() -> bool:
    try:
        turns.take()
    except turns.Away:
        return False
    return True


CLIENTS = [is_ready, keeps_flags, publishes, paces, takes_turns]


@contextmanager
def reached_by(url: str, settings: Any) -> Iterator[None]:
    settings.REDIS_URL = url
    forget_the_broker()
    try:
        yield
    finally:
        forget_the_broker()


def who_reaches(url: str, settings: Any) -> list[str]:
    """The names of all clients that get an answer."""
    found = []
    for client in CLIENTS:
        with reached_by(url, settings):
            found += [client.__name__] if client() else []
    return found


ALL = [client.__name__ for client in CLIENTS]


@pytest.mark.django_db
def test_each_client_of_redis_takes_a_server_it_can_verify(
    settings: Any, authority: trustme.CA, trusted: Path
) -> None:
    with tls.proxy(settings.REDIS_URL, authority) as proxy:
        assert who_reaches(proxy.address("rediss", ssl_ca_certs=trusted), settings) == ALL

    assert proxy.password in proxy.inside
    assert proxy.password not in proxy.from_clients


@pytest.mark.django_db
@pytest.mark.parametrize("case", ["another authority", "another host", "no authority named"])
def test_no_client_of_redis_takes_a_server_it_cannot_verify(
    settings: Any, authority: trustme.CA, stranger: trustme.CA, trusted: Path, case: str
) -> None:
    issuer = stranger if case == "another authority" else authority
    name = "elsewhere.example" if case == "another host" else "localhost"
    options = {} if case == "no authority named" else {"ssl_ca_certs": trusted}

    with tls.proxy(settings.REDIS_URL, issuer, name=name) as proxy:
        assert who_reaches(proxy.address("rediss", **options), settings) == []

    assert proxy.from_clients
    assert not proxy.inside
    assert proxy.password not in proxy.from_clients


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("localhost", {"ssl_cert_reqs": "none"}),
        ("elsewhere.example", {"ssl_check_hostname": "false", "ssl_ca_certs": "trusted"}),
    ],
)
def test_each_client_of_redis_verifies_less_where_the_url_says_so(
    settings: Any, authority: trustme.CA, trusted: Path, name: str, options: dict[str, str]
) -> None:
    options = {key: str(trusted) if value == "trusted" else value for key, value in options.items()}

    with tls.proxy(settings.REDIS_URL, authority, name=name) as proxy:
        assert who_reaches(proxy.address("rediss", **options), settings) == ALL


@pytest.mark.django_db
def test_each_client_of_redis_shows_its_certificate(
    settings: Any, authority: trustme.CA, trusted: Path, tmp_path: Path
) -> None:
    certificate, key = tls.client_certificate(authority, tmp_path)
    options = {"ssl_ca_certs": trusted, "ssl_certfile": certificate, "ssl_keyfile": key}

    with tls.proxy(settings.REDIS_URL, authority, client_authority=authority) as proxy:
        assert who_reaches(proxy.address("rediss", **options), settings) == ALL
        assert who_reaches(proxy.address("rediss", ssl_ca_certs=trusted), settings) == []


@pytest.mark.django_db
def test_each_client_of_redis_uses_the_database_that_an_option_names(settings: Any) -> None:
    url, _, _ = settings.REDIS_URL.rpartition("/")

    with reached_by(f"{url}/0?db=9", settings):
        SWEEP.send()
        with redis_clients.client(1) as client:
            waiting = client.llen(settings.CELERY_TASK_DEFAULT_QUEUE)
            client.flushdb()

    with redis.Redis.from_url(f"{url}/9") as client:
        assert (waiting, client.dbsize()) == (1, 0)


def test_no_other_module_makes_clients_of_redis() -> None:
    modules = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    texts = {path: path.read_text() for path in modules}
    making = {
        path.name
        for path, text in texts.items()
        if "redis" in text.lower() and re.search(r"\bfrom_url\b|\bRedis\(|Pool\(", text)
    }

    assert making == {"redis_clients.py"}


# --- PostgreSQL -------------------------------------------------------------------------------------------


def opens(url: str) -> bool:
    """Whether a connection, made as Django makes it, gets an answer."""
    entry = database_url.database(url, connect_timeout=3)
    wrapper = DatabaseWrapper(ConnectionHandler({"default": entry}).settings["default"])
    try:
        with wrapper.get_new_connection(wrapper.get_connection_params()) as opened:
            opened.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.parametrize(
    ("issuer", "name", "mode", "is_taken"),
    [
        ("authority", "localhost", "verify-full", True),
        ("authority", "localhost", None, True),
        ("stranger", "localhost", "verify-full", False),
        ("stranger", "localhost", None, False),
        ("authority", "elsewhere.example", "verify-full", False),
        ("authority", "elsewhere.example", None, False),
        ("authority", "elsewhere.example", "verify-ca", True),
    ],
)
def test_the_database_is_verified_as_the_url_says(
    request: pytest.FixtureRequest, issuer: str, name: str, mode: str | None, is_taken: bool
) -> None:
    options = {"sslrootcert": request.getfixturevalue("trusted"), **({"sslmode": mode} if mode else {})}

    with tls.proxy(os.environ["DATABASE_URL"], request.getfixturevalue(issuer), name=name) as proxy:
        assert opens(proxy.address("postgres", **options)) is is_taken

    assert bool(proxy.inside) is is_taken
    assert proxy.password not in proxy.from_clients


def test_the_database_is_not_verified_where_the_url_says_so(stranger: trustme.CA) -> None:
    with tls.proxy(os.environ["DATABASE_URL"], stranger, name="elsewhere.example") as proxy:
        assert opens(proxy.address("postgres", sslmode="require"))

    assert proxy.inside


def test_the_database_is_shown_a_certificate(authority: trustme.CA, trusted: Path, tmp_path: Path) -> None:
    certificate, key = tls.client_certificate(authority, tmp_path)

    with tls.proxy(os.environ["DATABASE_URL"], authority, client_authority=authority) as proxy:
        assert opens(proxy.address("postgres", sslrootcert=trusted, sslcert=certificate, sslkey=key))
        assert not opens(proxy.address("postgres", sslrootcert=trusted))


def test_every_parameter_of_the_url_reaches_the_database() -> None:
    said = "application_name=ours&options=-c%20search_path%3Dtheirs&connect_timeout=7"
    url = f"{os.environ['DATABASE_URL']}?{said}"

    entry = database_url.database(url, connect_timeout=3, application_name="default", pool={})

    assert entry["OPTIONS"] == {
        "application_name": "ours",
        "options": "-c search_path=theirs",
        "connect_timeout": "7",
        "pool": {},
    }
    assert opens(url)


# --- The whole stack --------------------------------------------------------------------------------------


@contextmanager
def running(name: str, environment: dict[str, str], log: Path, **values: Any) -> Iterator[None]:
    """A process of the stack, as `make serve` starts it."""
    command = commands.filled(commands.SERVE[name], {"host": "127.0.0.1", "state": log.parent, **values})
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.mark.django_db(transaction=True)
def test_web_worker_and_scheduler_work_with_nothing_but_tls(
    acme: Persona, settings: Any, authority: trustme.CA, trusted: Path, tmp_path: Path
) -> None:
    test_database = os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{connection.settings_dict['NAME']}"
    port = free_port(8000)
    with (
        tls.proxy(settings.REDIS_URL, authority) as broker,
        tls.proxy(test_database, authority) as database,
    ):
        environment = {
            **os.environ,
            "DATABASE_URL": database.address("postgres", sslmode="verify-full", sslrootcert=trusted),
            "REDIS_URL": broker.address("rediss", ssl_ca_certs=trusted),
        }
        with ExitStack() as stack:
            for name in ("web", "worker", "beat"):
                stack.enter_context(running(name, environment, tmp_path / name, port=port))
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/api/v1/bookings",
                json.dumps(booking_body()).encode(),
                {"Authorization": f"Bearer {acme.text}", "Content-Type": "application/json"},
            )
            assert until(lambda: answered(request), 90) == 202
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as ready:
                assert json.load(ready) == {"status": "ready", "postgresql": True, "redis": True}
            until(lambda: Booking.objects.get().attempts, 90)
            # Only the scheduler sends this one.
            until(lambda: b"appointments.tasks.sweep" in broker.inside, 90)
            with reached_by(environment["REDIS_URL"], settings), current_app.connection_for_write() as opened:
                assert current_app.control.ping(connection=opened, timeout=30, limit=1)
    for proxy in (broker, database):
        assert proxy.inside
        assert proxy.password not in proxy.from_clients
    for name in ("web", "worker", "beat"):
        log = (tmp_path / name).read_bytes()
        assert broker.password not in log
        assert database.password not in log


def answered(request: urllib.request.Request) -> int:
    with suppress(urllib.error.URLError, ConnectionError):
        return int(urllib.request.urlopen(request, timeout=10).status)
    return 0


def test_no_process_gives_its_password_to_a_broker_it_cannot_verify(
    settings: Any, stranger: trustme.CA, trusted: Path, tmp_path: Path
) -> None:
    with tls.proxy(settings.REDIS_URL, stranger) as broker:
        environment = {**os.environ, "REDIS_URL": broker.address("rediss", ssl_ca_certs=trusted)}
        logs = [tmp_path / name for name in ("worker", "beat")]
        with running("worker", environment, logs[0]), running("beat", environment, logs[1]):
            until(lambda: all("CERTIFICATE_VERIFY_FAILED" in log.read_text() for log in logs), 60)

    assert not broker.inside
    assert broker.password not in broker.from_clients


# --- Refused at the start ---------------------------------------------------------------------------------


def complaint(settings: Any, name: str, value: str) -> str:
    setattr(settings, name, value)
    [message] = run_checks()
    assert message.id == "ghlapp.E005"
    assert message.hint
    assert "sesame" not in f"{message.msg} {message.hint}"
    return message.msg


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("rediss://:sesame@localhost?ssl_cert_req=none", "ssl_cert_req"),
        ("rediss://:sesame@localhost?socket_timeout=9", "socket_timeout"),
        ("rediss://:sesame@localhost?ssl_cert_reqs=perhaps", "perhaps"),
        ("rediss://:sesame@localhost?ssl_ca_certs=", "ssl_ca_certs"),
        ("rediss://:sesame@localhost?ssl_cert_reqs=none&ssl_cert_reqs=required", "once"),
        ("rediss://:sesame@localhost?ssl_ca_certs=/nowhere/at/all", "cannot be read"),
        ("rediss://:sesame@localhost?ssl_ca_certs=/dev/null", "cannot be read"),
        ("rediss://:sesame@localhost?ssl_certfile=/nowhere/at/all", "cannot be read"),
        ("redis://:sesame@localhost?ssl_ca_certs=/nowhere/at/all", "need rediss://"),
        ("redis://:sesame@localhost/zero", "database's number"),
        ("redis://:sesame@localhost?db=zero", "db"),
        ("redis://:sesame#word@localhost", "percent-encoded"),
        ("redis://:sesame@localhost;redis://:sesame@other", "percent-encoded"),
        ("redis://:sesame@localhost:sesame", "percent-encoded"),
        ("redis://[:sesame@localhost", "percent-encoded"),
        ("unix:///sesame", "redis://"),
    ],
)
def test_a_redis_url_that_does_not_count_stops_the_start(settings: Any, value: str, reason: str) -> None:
    assert reason in complaint(settings, "REDIS_URL", value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("postgres://u:sesame@localhost/db?sslmod=require", "sslmod"),
        ("postgres://u:sesame@localhost/db?sslmode=verify_full", "sslmode"),
        ("postgres://u:sesame@localhost/db?sslrootcert=/nowhere/at/all", "sslrootcert"),
        ("postgres://u:sesame@localhost/db?sslcert=/nowhere/at/all", "sslcert"),
        ("postgres://u:sesame@localhost/db?sslkey=/nowhere/at/all", "sslkey"),
        ("postgres://u:sesame@localhost:port/db", "port"),
        ("postgres://u:sesame%zz@localhost/db", "percent-encoded"),
        ("postgres://u:sesame@localhost", "database"),
        ("mysql://u:sesame@localhost/db", "postgres://"),
    ],
)
def test_a_database_url_that_does_not_count_stops_the_start(settings: Any, value: str, reason: str) -> None:
    assert reason in complaint(settings, "DATABASE_URL", value)


def test_wrong_urls_end_a_process_before_it_connects() -> None:
    wrong = {"DATABASE_URL": "mysql://u:sesame@h/db", "REDIS_URL": "redis://:sesame@h/x"}

    ended = subprocess.run(
        [sys.executable, "manage.py", "migrate"],
        cwd=ROOT, env={**os.environ, **wrong}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ended.returncode == 1
    assert ended.stderr.count("ghlapp.E005") == 2
    assert "Traceback" not in ended.stderr
    assert "sesame" not in ended.stderr
