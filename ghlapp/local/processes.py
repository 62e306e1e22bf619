"""Starting a child so that it cannot outlive us, and stopping it.
Which programs are started, and when, is decided elsewhere."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1


class StartError(Exception):
    """Something of the local stack could not be started; the message says what to do about it."""


def leash(death_signal: signal.Signals) -> Callable[[], None] | None:
    """For `preexec_fn`: Linux sends the child `death_signal` when we die, even by kill -9.

    It is tied to the *thread* that starts the child, so children are started by the main thread.
    Elsewhere there is no such thing; what was left running is then found by the next start.
    """
    if sys.platform != "linux":
        return None
    libc, launcher = ctypes.CDLL(None), os.getpid()

    def fasten() -> None:
        libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != launcher:  # we died before the line above
            os.kill(os.getpid(), signal.SIGKILL)

    return fasten


def stop(process: "subprocess.Popen[bytes]", with_signal: signal.Signals, patience_seconds: float) -> None:
    """Ask the process to end, wait, and kill its whole group when it has not."""
    if process.poll() is None:
        process.send_signal(with_signal)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_seconds)
    kill_group(process.pid)
    process.wait()


def kill_group(process_id: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nobody left; macOS says so with the second
        os.killpg(process_id, signal.SIGKILL)


def last_lines(log: Path, count: int = 15) -> str:
    try:
        with log.open(errors="replace") as lines:
            return "".join(deque(lines, count)).rstrip()
    except OSError:
        return ""


def wait_until(condition: Callable[[], bool], seconds: float, pause_seconds: float = 0.02) -> bool:
    """Whether `condition` came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause_seconds)
    return True
