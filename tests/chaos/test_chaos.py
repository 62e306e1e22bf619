"""The short form of `make chaos`: the most telling faults, with few bookings each."""

import pytest

from tests.chaos.conftest import RunChaos

# Waiting for its turn counts too.
pytestmark = pytest.mark.timeout(900)


def test_nothing_is_lost_and_nothing_doubled_whatever_breaks(run_chaos: RunChaos) -> None:
    done = run_chaos("--short")

    assert done.stdout.splitlines()[-1:] == ["lost 0, doubled 0"], done.stdout + done.stderr
    assert done.returncode == 0
