"""What processes have used of the processor. No time of day."""

import os
from pathlib import Path


def seconds_used(process_ids: list[int]) -> float:
    """By these processes so far, in Linux; elsewhere nobody is asked, and it is nothing."""
    return sum(_seconds_used(Path(f"/proc/{process_id}/stat")) for process_id in process_ids)


def _seconds_used(stat: Path) -> float:
    if not stat.exists():
        return 0.0
    # After the name, which may hold anything: user and system time are the twelfth and thirteenth field.
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
