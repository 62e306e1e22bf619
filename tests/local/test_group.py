"""The process group of `make serve`: lines with names, one end for all, nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ghlapp.local import group
from ghlapp.local.processes import StartError, wait_until
from tests.local.conftest import Launcher
from tests.local.processes import is_running, on_linux

# Runs the commands given as name=code; the first argument is the instance's folder, which is not needed.
RUN_GROUP = """
import os, sys
from ghlapp.local.group import Group
commands = {name: [sys.executable, "-u", "-c", code] for name, code in COMMANDS.items()}
sys.exit(Group(commands, os.environ, **OPTIONS).run())
"""
STAY = "import os, time; print(os.getpid()); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {STAY}"


def code_for(commands: dict[str, str], **options: object) -> str:
    return f"from pathlib import PosixPath\nCOMMANDS = {commands!r}\nOPTIONS = {options!r}\n{RUN_GROUP}"


def started(process: "subprocess.Popen[str]", count: int) -> list[int]:
    """The process ids that `count` members print."""
    return [int(process.stdout.readline().rpartition("|")[2]) for _ in range(count)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_and_is_a_success(launcher: Launcher, number: signal.Signals) -> None:
    running = launcher(code_for({"web": STAY, "worker": STAY}))
    members = started(running, 2)

    running.send_signal(number)

    assert running.wait(10) == 0
    assert not any(is_running(member) for member in members)


def test_members_finish_what_they_do_before_they_end(launcher: Launcher) -> None:
    finishing = (
        "import signal, sys, time\n"
        "def finish(*_): time.sleep(0.5); print('finished'); sys.exit()\n"
        "signal.signal(signal.SIGTERM, finish); print(0); time.sleep(60)"
    )
    running = launcher(code_for({"worker": finishing}))
    started(running, 1)

    running.terminate()

    output, _ = running.communicate(timeout=10)
    assert output == "worker | finished\n"


@pytest.mark.parametrize(("code", "expected"), [("raise SystemExit(3)", 3), ("pass", 1), ("os.abort()", 1)])
def test_when_one_ends_by_itself_the_rest_is_stopped_and_it_is_a_failure(
    launcher: Launcher, tmp_path: Path, code: str, expected: int
) -> None:
    said = f"import os, pathlib, time; said = pathlib.Path({str(tmp_path / 'said')!r}); "
    staying = said + "print(os.getpid(), flush=True); said.touch(); time.sleep(60)"
    waiting = "[time.sleep(0.01) for _ in iter(said.exists, True)]; "
    dying = f"{said}{waiting}print('last words'); {code}"
    running = launcher(code_for({"web": staying, "worker": dying}))

    output, _ = running.communicate(timeout=20)

    assert running.returncode == expected
    assert "worker | last words\n" in output
    web = next(line for line in output.splitlines() if line.startswith("web    | "))
    assert not is_running(int(web.rpartition("|")[2]))


def test_who_does_not_stop_is_killed_at_the_second_signal(launcher: Launcher) -> None:
    running = launcher(code_for({"worker": STUBBORN}))
    (member,) = started(running, 1)

    running.send_signal(signal.SIGINT)
    time.sleep(group.ECHO_SECONDS + 0.3)
    assert is_running(member)
    running.send_signal(signal.SIGINT)

    assert running.wait(10) == 0
    assert not is_running(member)


def test_who_does_not_stop_in_time_is_killed(launcher: Launcher) -> None:
    impatient = "import ghlapp.local.group\nghlapp.local.group.STOP_SECONDS = 0.3\n"
    running = launcher(impatient + code_for({"worker": STUBBORN}))
    (member,) = started(running, 1)

    running.terminate()

    assert running.wait(10) == 0
    assert not is_running(member)


@on_linux
def test_a_killed_launcher_leaves_no_member_running(launcher: Launcher) -> None:
    running = launcher(code_for({"web": STAY, "worker": STAY}))
    members = started(running, 2)

    running.kill()

    assert wait_until(lambda: not any(is_running(member) for member in members), seconds=10)


def test_what_members_leave_behind_is_killed_with_them(launcher: Launcher) -> None:
    parent = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-u', '-c', {STUBBORN!r}]); time.sleep(60)"
    )
    running = launcher(code_for({"web": parent}))
    (grandchild,) = started(running, 1)

    running.terminate()

    assert running.wait(10) == 0
    assert wait_until(lambda: not is_running(grandchild), seconds=5)


def test_with_logs_only_the_guide_is_seen_and_the_last_lines_of_who_failed(
    launcher: Launcher, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    commands = {"web": "print('starting'); raise SystemExit('no settings')", "tour": STAY}
    running = launcher(code_for(commands, logs=tmp_path, guide="tour"))

    output, _ = running.communicate(timeout=20)

    assert running.returncode == 1
    assert output.strip().isdigit() or not output
    assert "starting" in (tmp_path / "web.log").read_text()
    assert "no settings" in capfd.readouterr().err


@pytest.mark.parametrize("code", [0, 4])
def test_once_ends_with_the_guides_exit_code(launcher: Launcher, tmp_path: Path, code: int) -> None:
    commands = {"web": STAY, "tour": f"print('seen'); raise SystemExit({code})"}
    running = launcher(code_for(commands, logs=tmp_path, guide="tour", once=True))

    output, _ = running.communicate(timeout=20)

    assert (running.returncode, output) == (code, "seen\n")


def test_otherwise_the_rest_stays_up_after_the_guide(launcher: Launcher, tmp_path: Path) -> None:
    commands = {"web": STAY, "tour": "print('seen')"}
    running = launcher(code_for(commands, logs=tmp_path, guide="tour"))
    assert running.stdout.readline() == "seen\n"
    time.sleep(0.5)

    assert running.poll() is None
    running.terminate()
    assert running.wait(10) == 0


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    members = {"web": [sys.executable, "-c", STAY], "worker": ["/no/such/program"]}

    with pytest.raises(StartError, match="worker could not be started"):
        group.Group(members, os.environ, logs=tmp_path).run()
