"""What the tests ask about other processes."""

import sys
from pathlib import Path

import pytest

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")


def is_running(process_id: int) -> bool:
    """Whether the process lives; one that only waits to be reaped does not."""
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
