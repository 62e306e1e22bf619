"""The runner is worth something only if it notices: with a rule switched off in a scratch copy it reports doubles.
The rules are docs/CONVERGE.md; that the whole ones hold is test_chaos.py."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ghlapp.local.files import FOLDER
from ghlapp.local.servers import LocalServers
from tests.chaos.conftest import RunChaos

pytestmark = pytest.mark.timeout(900)
SMALL = ("--seed", "1", "--locations", "6", "--seconds", "5")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A copy of the checkout's rooms that a test may damage."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="chaos-") as folder:
        Path(folder).chmod(0o755)
        copy = Path(folder) / "checkout"
        shutil.copytree(FOLDER.parent, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        yield copy
        for lock in copy.glob(".local/*/launcher.lock"):
            LocalServers(lock.parent).remove()


def switch_off(module: Path, function: str, instead: str) -> None:
    """The one function of that name in `module` does nothing but `instead`."""
    head = re.compile(rf"^( *)def {function}\(.*?\) -> [^\n]+:\n", re.MULTILINE | re.DOTALL)
    text, count = head.subn(lambda found: f"{found[0]}{found[1]}    {instead}\n", module.read_text())
    assert count == 1, f"{module.name} no longer has one function {function}: this test must follow it"
    module.write_text(text)


def doubled(done: "subprocess.CompletedProcess[str]") -> int:
    """As its last line says."""
    said = re.search(r"^lost \d+, doubled (\d+)\n\Z", done.stdout, re.MULTILINE)
    assert said, done.stdout + done.stderr
    return int(said[1])


def test_it_reports_doubles_without_an_intent_before_the_effect(run_chaos: RunChaos, scratch: Path) -> None:
    switch_off(scratch / "appointments/attempts.py", "_arm", "return")

    done = run_chaos(*SMALL, "--fault", "cut_after", "--bookings", "24", root=scratch)

    assert doubled(done) > 0
    assert done.returncode == 1


def test_it_reports_doubles_without_time_to_settle(run_chaos: RunChaos, scratch: Path) -> None:
    # "Not found" is then believed at the first look, and that comes at once: a second later most calls would be done.
    look = scratch / "appointments/look.py"
    switch_off(look, "next_look", "return None")
    text, count = re.subn(
        r"^(FIRST_LOOK_AFTER = ).*$", r"\1timedelta(0)", look.read_text(), flags=re.MULTILINE
    )
    assert count == 1
    look.write_text(text)

    done = run_chaos(*SMALL, "--fault", "hang_then_done", "--bookings", "48", root=scratch)

    assert doubled(done) > 0
    assert done.returncode == 1


def test_it_reports_doubles_without_one_unresolved_twin_at_a_time(run_chaos: RunChaos, scratch: Path) -> None:
    # No two creates are then for the same slot.
    switch_off(scratch / "appointments/attempts.py", "_slot", "return str(__import__('uuid').uuid4())")

    done = run_chaos(*SMALL, "--fault", "twins_in_doubt", "--bookings", "12", root=scratch)

    assert doubled(done) > 0
    assert done.returncode == 1
