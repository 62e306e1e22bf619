"""How `manage.py` commands find the servers that `make serve` or `make demo` runs here.
Only settings are passed on; starting anything is servers.py."""

import os
from pathlib import Path

from ghlapp.local.files import FOLDER, read_private, write_private

NOTICE = FOLDER / "servers.json"


def publish(settings: dict[str, str], notice: Path = NOTICE) -> None:
    """Let this user's other processes find `settings` while we live; of two stacks, the later one's."""
    write_private(notice, {"launcher": str(os.getpid()), **settings})


def withdraw(notice: Path = NOTICE) -> None:
    if read_private(notice).get("launcher") == str(os.getpid()):
        notice.unlink(missing_ok=True)


def settings_of_the_running_stack(notice: Path = NOTICE) -> dict[str, str]:
    """The servers' addresses, and in a demo its secrets too; nothing where no stack runs here."""
    found = read_private(notice)
    return found if _is_alive(found.pop("launcher", "")) else {}


def _is_alive(process_id: str) -> bool:
    # A launcher that was killed could not take its notice down.
    try:
        os.kill(int(process_id), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
