"""The stack as production runs it, started on servers of its own: web, two workers, beat, and the sandbox.
What is done to it is faults.py; what is asked of it is tenants.py."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, LiteralString, Self
from urllib.parse import parse_qsl, urlsplit

import httpx2
import psycopg
import redis

from ghlapp.local import commands
from ghlapp.local.processes import StartError, last_lines, wait_until
from ghlapp.local.server import LOOPBACK, LocalServer, free_port
from ghlapp.local.servers import LocalServers
from tests.chaos.desk import Desk
from tests.chaos.messages import COMPARISONS, send
from tests.chaos.processes import ROOT, Process
from tests.servers import SETTINGS

# The promise's condition: HighLevel is done with a call, and shows it in its lists, within these two together.
TIMEOUT_SECONDS, SETTLE_SECONDS = 1, 3
LIST_LAG_SECONDS = 1.0
TOKEN_SECONDS = 86_399
# HighLevel's own: calls in any ten seconds, and in a day.
BURST, DAILY_QUOTA = 100, 200_000
READY_SECONDS = 60
INSTALLS = 3
TENANTS = ("acme", "globex")
WORKERS = ("worker-1", "worker-2")
DOOR = ("python", "-m", "tests.chaos.door")
FAKETIME = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")


CUT_SHORT = """
UPDATE oauth_location SET not_before = statement_timestamp()
WHERE not_before > statement_timestamp() AND waiting_for IN ('daily_quota', 'suspended')
"""


COMPARE = """
INSERT INTO appointments_comparison (location_id, due_at, calls, calendar_id, starts_at)
SELECT DISTINCT ON (location_id) location_id, statement_timestamp(), 0, calendar_id, %s::timestamptz
FROM appointments_booking WHERE location_id = ANY(%s)
ON CONFLICT (location_id) DO UPDATE
SET due_at = excluded.due_at, calls = 0, calendar_id = excluded.calendar_id, starts_at = excluded.starts_at
"""
# One that is done is to begin with no calendar in particular.
NOT_COMPARED = (
    "SELECT location_id FROM appointments_comparison WHERE location_id = ANY(%s) AND calendar_id <> ''"
)
COMPARE_SECONDS = 150


@dataclass(frozen=True)
class Place:
    """A connected location, the tenant who books there, and what there is to book with."""

    tenant: str
    location_id: str
    calendar_id: str
    user_id: str
    contact_id: str
    seats: int


class Stack:
    """A context manager: everything runs inside it, and `places` are connected to it."""

    def __init__(self, instance: Path, locations: int) -> None:
        self.instance, self._count = instance, locations
        self.places: list[Place] = []
        self.keys: dict[str, str] = {}
        self.news: list[str] = []
        # What a batch's faults have to say: worth telling, or not as it should be.
        self.remarks: list[str] = []
        self.complaints: list[str] = []
        # Since when HighLevel answers again.
        self.back_at: datetime | None = None
        self.faketime = next(iter(sorted(FAKETIME)), None)
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as closing:
            self._servers = closing.enter_context(LocalServers(self.instance))
            self.redis = redis.Redis.from_url(self._servers.urls["REDIS_URL"], socket_timeout=5)
            closing.callback(self.redis.close)
            self._prepare()
            closing.callback(self.close)
            for process in self.processes.values():
                process.start()
            self._wait_until_ready()
            self._connect()
            self._closing = closing.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def close(self) -> None:
        self.thaw()
        for process in self.processes.values():
            process.kill()
        self.desk.close()

    @property
    def postgres(self) -> LocalServer:
        return self._servers.running("DATABASE_URL")

    @property
    def valkey(self) -> LocalServer:
        return self._servers.running("REDIS_URL")

    @property
    def redis_url(self) -> str:
        return self._servers.urls["REDIS_URL"]

    @property
    def logs(self) -> Path:
        return self.instance / "logs"

    def clock_file(self, process: str) -> Path:
        """What libfaketime reads a process's wall clock from."""
        return self.instance / f"clock-{process}"

    def thaw(self) -> None:
        if self.valkey.process and self.valkey.process.poll() is None:
            self.valkey.process.send_signal(signal.SIGCONT)

    def shut_door(self) -> None:
        """Connections to the sandbox are refused; the control desk has an entrance of its own."""
        self.processes["door"].signal(signal.SIGUSR1)

    def open_door(self) -> None:
        self.processes["door"].signal(signal.SIGUSR2)

    def restore(self) -> None:
        """Everything as it was before any fault; whoever had ended without our doing is started again, and noted."""
        for server in (self.postgres, self.valkey):
            ensure_running(server)
        self.thaw()
        self.redis.config_set("maxmemory", 0)
        for name, process in self.processes.items():
            if self.clock_file(name).exists():
                process.stop()
                self.clock_file(name).unlink()
        self.news += filter(None, [process.ensure() for process in self.processes.values()])
        self.open_door()
        self.desk.clear()
        self.desk.set(
            list_lag_seconds=LIST_LAG_SECONDS,
            latency_seconds=0,
            access_token_seconds=TOKEN_SECONDS,
            rate_limit_burst=BURST,
            rate_limit_daily=DAILY_QUOTA,
            letters_lost_share=0,
            letters_doubled_share=0,
            letters_shuffled_seconds=0,
        )

    def cut_waits_short(self) -> None:
        """As an operator does who knows that HighLevel would answer now: by itself it is asked once an hour."""
        self._sql(CUT_SHORT)

    def compare(self, places: Iterable[Place], since: datetime) -> bool:
        """Have bookings and calendars compared now, which is done by itself in a quarter of an hour.

        From `since` on: the calendars are long in the end. False where it is not done in time.
        """
        chosen = [each.location_id for each in places]
        self._sql(COMPARE, since, chosen)
        return wait_until(lambda: self._is_compared(chosen), COMPARE_SECONDS, 1)

    def _is_compared(self, location_ids: list[str]) -> bool:
        send(self.redis_url, COMPARISONS)
        return not self._sql(NOT_COMPARED, location_ids)

    def _sql(self, text: LiteralString, *values: Any) -> list[Any]:
        with psycopg.connect(self._servers.urls["DATABASE_URL"], autocommit=True) as database:
            done = database.execute(text, values)
            return done.fetchall() if done.description else []

    # --- Coming up ----------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        port, sandbox_port, self._door_port = free_port(0), free_port(0), free_port(0)
        self.url, self.desk = f"http://{LOOPBACK}:{port}", Desk(f"http://{LOOPBACK}:{sandbox_port}")
        for folder in (self.logs, self.instance / "metrics"):
            folder.mkdir(exist_ok=True)
        self._settings = self._environment()
        self._manage("migrate", "--no-input")
        values = {
            "host": LOOPBACK,
            "port": port,
            "state": self.instance,
            "sandbox_port": sandbox_port,
            "client_id": SETTINGS["GHL_CLIENT_ID"],
            "client_secret": SETTINGS["GHL_CLIENT_SECRET"],
            "public_url": self.url,
        }
        serve = commands.SERVE
        table = {
            "sandbox": (*commands.SANDBOX, *commands.LETTERS),
            "door": (*DOOR, "--port", str(self._door_port), "--behind", str(sandbox_port)),
            "web": serve["web"],
            **{name: (*serve["worker"], "--hostname", f"{name}@%h") for name in WORKERS},
            "beat": serve["beat"],
        }
        self.processes = {
            name: Process(name, commands.filled(command, values), self._settings, self.logs)
            for name, command in table.items()
        }

    def _environment(self) -> dict[str, str]:
        ours = {
            **SETTINGS,
            **self._servers.urls,
            "PUBLIC_URL": self.url,
            "GHL_API_BASE_URL": f"http://{LOOPBACK}:{self._door_port}",
            "GHL_INSTALL_URL": f"{self.desk.url}/v2/oauth/chooselocation",
            "GHL_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
            "GHL_SETTLE_SECONDS": str(SETTLE_SECONDS),
            "PROMETHEUS_MULTIPROC_DIR": str(self.instance / "metrics"),
            "PYTHONPATH": str(ROOT),
        }
        # A NAME_FILE of the caller's would be read before the NAME given here.
        kept = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in ours}
        return {**kept, **ours}

    def _wait_until_ready(self) -> None:
        workers = [self.processes[name].log for name in WORKERS]
        ready = wait_until(
            lambda: self.is_ready() and all(" ready." in log.read_text(errors="replace") for log in workers),
            READY_SECONDS,
            0.1,
        )
        if not ready:
            said = "\n".join(last_lines(process.log) for process in self.processes.values())
            raise StartError(f"The stack was not ready after {READY_SECONDS} s:\n{said}")

    def is_ready(self) -> bool:
        try:
            return bool(httpx2.get(f"{self.url}/readyz", timeout=2).json()["status"] == "ready")
        except (httpx2.HTTPError, ValueError):
            return False

    def _connect(self) -> None:
        """Install the app in every location, by the sandbox's consent form and our OAuth callback."""
        self.desk.set(list_lag_seconds=LIST_LAG_SECONDS)
        made = self.desk.add_locations(self._count)
        # Every third calendar takes three at a time.
        self.places = [
            _place(each, TENANTS[number % 2], 3 if number % 3 == 0 else 1) for number, each in enumerate(made)
        ]
        for place in self.places:
            self.desk.set_seats(place.calendar_id, place.seats)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self.install, self.places))
            self.keys = dict(zip(TENANTS, pool.map(self._issue_key, TENANTS), strict=True))

    def _issue_key(self, tenant: str) -> str:
        theirs = [place.location_id for place in self.places if place.tenant == tenant]
        named = [word for each in theirs for word in ("--location", each)]
        return self._manage("issue_api_key", "--tenant", tenant, *named).strip()

    def install(self, place: Place) -> None:
        # As a person would: the exchange may take a second in all, which is little on a busy machine, and so many
        # installs at once may be too many.
        said = ""
        for _ in range(INSTALLS):
            try:
                answer = self._come_back(place)
            except httpx2.HTTPError as error:
                said = repr(error)
                continue
            if answer.status_code == 200:
                return
            said = f"{answer.status_code}: {answer.text}"
            time.sleep(float(answer.headers.get("Retry-After", 0)))
        raise StartError(f"No install succeeded; the last one ended with {said}")

    def _come_back(self, place: Place) -> httpx2.Response:
        """What the callback answers a person who begins the install here and chooses this location."""
        with httpx2.Client(timeout=20) as browser:
            begun = browser.get(f"{self.url}/oauth/install").headers["Location"]
            form = {
                **dict(parse_qsl(urlsplit(begun).query)),
                "choice": f"location:{place.location_id}",
                "decision": "allow",
            }
            consent = browser.post(f"{self.desk.url}/v2/oauth/chooselocation", data=form)
            return browser.get(consent.headers["Location"])

    def _manage(self, *words: str) -> str:
        command = [sys.executable, "manage.py", *words]
        done = subprocess.run(
            command, cwd=ROOT, env=self._settings, capture_output=True, text=True, check=False, timeout=120
        )
        if done.returncode != 0:
            raise StartError(f"`manage.py {words[0]}` failed:\n{done.stderr}")
        return done.stdout


def _place(made: dict[str, Any], tenant: str, seats: int) -> Place:
    return Place(tenant, made["id"], made["calendar_id"], made["user_id"], made["contact_id"], seats)


def ensure_running(server: LocalServer) -> None:
    if server.process is None or server.process.poll() is not None:
        server.start()
        server.wait_until_ready()
