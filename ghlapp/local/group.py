"""Several processes run as one in the foreground: they start together, and when one ends all are stopped.
Which processes those are is commands.py and stack.py."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ghlapp.local.processes import StartError, kill_group, last_lines, leash

# A worker finishes its calls first, and one call to HighLevel may take 30 seconds.
STOP_SECONDS = 35
PAUSE_SECONDS = 0.1
READER_SECONDS = 2
# `make` and `timeout` both pass a signal on: within this time two are one.
ECHO_SECONDS = 1


class Group:
    """`commands` by name, all with the environment `environment`.

    With `logs` each writes to a file there; otherwise their lines are shown with the name in front.
    `guide` is one of them that may end: it writes to the screen as it is, and its exit code is the group's
    when `once` is set.
    """

    def __init__(
        self,
        commands: Mapping[str, list[str]],
        environment: Mapping[str, str],
        *,
        logs: Path | None = None,
        guide: str | None = None,
        once: bool = False,
    ):
        self.commands, self.environment = commands, environment
        self.logs, self.guide, self.once = logs, guide, once
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.signals = 0
        self._readers: list[threading.Thread] = []
        self._screen = threading.Lock()
        self._width = max(map(len, commands))

    def run(self) -> int:
        """0 after Ctrl-C or SIGTERM, the guide's exit code, or not 0 when a process ended by itself."""
        with self._counting_signals():
            try:
                self._start()
                return self._watch()
            finally:
                self._stop()

    def _start(self) -> None:
        for name, command in self.commands.items():
            self.processes[name] = self._spawn(name, command)
        # Only now: no process is started while threads run.
        for name, process in self.processes.items():
            if process.stdout:
                reader = threading.Thread(target=self._show, args=(name, process.stdout), daemon=True)
                reader.start()
                self._readers.append(reader)

    def _spawn(self, name: str, command: list[str]) -> "subprocess.Popen[bytes]":
        output = self._output(name)
        try:
            return subprocess.Popen(
                command,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches us alone, and we tell the others; a session can be killed as a whole.
                start_new_session=True,
                preexec_fn=leash(signal.SIGTERM),  # noqa: PLW1509 (no thread of ours runs yet)
            )
        except OSError as error:
            raise StartError(f"{name} could not be started: {error}") from error
        finally:
            if output is not None and output >= 0:
                os.close(output)

    def _output(self, name: str) -> int | None:
        if name == self.guide:
            return None
        if self.logs:
            return os.open(self.logs / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        return subprocess.PIPE

    def _watch(self) -> int:
        running = dict(self.processes)
        while not self.signals:
            for name, process in list(running.items()):
                if process.poll() is None:
                    continue
                if name != self.guide or self.once:
                    return self._ended(name, process.returncode)
                del running[name]
            time.sleep(PAUSE_SECONDS)
        return 0

    def _ended(self, name: str, code: int) -> int:
        if name == self.guide:
            return code
        self._say(f"{name} ended by itself with exit code {code}; stopping the rest.")
        if self.logs:
            log = self.logs / f"{name}.log"
            self._say(f"The end of {log}:\n{last_lines(log)}")
        return code if code > 0 else 1

    def _stop(self) -> None:
        """Everybody is asked to finish; who has not after a while, or at the second Ctrl-C, is killed."""
        asked_at, patience = time.monotonic(), max(self.signals, 1)
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        while any(process.poll() is None for process in self.processes.values()):
            if time.monotonic() - asked_at > STOP_SECONDS or self.signals > patience:
                break
            time.sleep(PAUSE_SECONDS)
        for name, process in self.processes.items():
            if process.poll() is None:
                self._say(f"{name} did not stop; killing it.")
            kill_group(process.pid)
            process.wait()
        for reader in self._readers:
            reader.join(READER_SECONDS)

    def _show(self, name: str, lines: "Iterator[bytes]") -> None:
        for line in lines:
            with self._screen:
                sys.stdout.buffer.write(f"{name:<{self._width}} | ".encode() + line.rstrip(b"\r\n") + b"\n")
                sys.stdout.buffer.flush()

    def _say(self, line: str) -> None:
        with self._screen:
            print(line, file=sys.stderr, flush=True)

    @contextmanager
    def _counting_signals(self) -> Iterator[None]:
        last = float("-inf")

        def count(_number: int, _frame: FrameType | None) -> None:
            nonlocal last
            if time.monotonic() - last > ECHO_SECONDS:
                self.signals += 1
            last = time.monotonic()

        before = {number: signal.signal(number, count) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
