"""A process of the stack that can be killed and started again at any moment, and news of one that ended by itself.
Which processes there are is stack.py; PostgreSQL and Valkey are ghlapp.local's."""

import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ghlapp.local.files import FOLDER
from ghlapp.local.processes import kill_group, last_lines, leash, stop

ROOT = FOLDER.parent
STOP_SECONDS = 20


class Process:
    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], logs: Path) -> None:
        self.name, self.command, self.environment = name, command, dict(environment)
        self.log = logs / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **more: str) -> None:
        """From the main thread only: the leash ends the process with the thread that started it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env={**self.environment, **more},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=leash(signal.SIGTERM),  # noqa: PLW1509 (it touches nothing that another thread may hold)
            )

    def kill(self) -> None:
        """`kill -9`, its children included."""
        if self._process:
            kill_group(self._process.pid)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        if self._process:
            stop(self._process, signal.SIGTERM, STOP_SECONDS)
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)

    def ensure(self) -> str | None:
        """Running, whatever was done to it; says so where it had ended without being killed or stopped by us."""
        if self._process is None:
            self.start()
            return None
        code = self._process.poll()
        if code is None:
            return None
        self.start()
        return (
            f"{self.name} ended by itself with exit code {code}; the end of its log:\n{last_lines(self.log)}"
        )
