"""Runs of `python -m tests.chaos` for the tests, one at a time: each takes the whole machine.
What they must say is in the test modules."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ghlapp.local.files import FOLDER

RunChaos = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_chaos() -> Iterator[RunChaos]:
    """`run_chaos(*arguments, root=…)`, in a checkout's root."""
    # Measuring coverage would slow the stack down, and these processes are killed anyway.
    settings = {name: value for name, value in os.environ.items() if not name.startswith("COV")}

    def run(*arguments: str, root: Path = FOLDER.parent) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "tests.chaos", *arguments]
        return subprocess.run(command, cwd=root, env=settings, capture_output=True, text=True, check=False)

    with (FOLDER / "chaos-turn.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield run
