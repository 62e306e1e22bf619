"""The small files of .local/: settings and passwords that only their owner may read.
What the files mean is said where they are written; the servers' own data is not here."""

import json
import os
import secrets
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent.parent / ".local"


def write_private(path: Path, content: object) -> None:
    """Replace `path` with `content` as JSON, in one step and readable by its owner alone."""
    partial = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=1)
    partial.replace(path)


def read_private(path: Path) -> dict[str, str]:
    """The JSON object in `path`; nothing where the file is missing, damaged or somebody else's."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
