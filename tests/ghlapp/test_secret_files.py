"""Each secret can be read from a file that NAME_FILE names, and goes before the secret itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.servers import SETTINGS

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = (
    *(
        "SECRET_KEY",
        "SECRET_KEY_FALLBACKS",
        "TOKEN_ENCRYPTION_KEYS",
        "GHL_CLIENT_SECRET",
        "GHL_SHARED_SECRET",
    ),
    *("DATABASE_URL", "REDIS_URL"),
)
SHOW = f"""
import json, django
django.setup()
from django.conf import settings
print(json.dumps({{name: getattr(settings, name) for name in {NAMES}}} | settings.DATABASES["default"]))
"""


def test_every_secret_is_read_from_its_file(tmp_path: Path) -> None:
    values = {name: f"{name.lower()}-in-a-file" for name in NAMES} | {
        "DATABASE_URL": "postgres://somebody:sesame@elsewhere/bookings?sslmode=require",
        "REDIS_URL": "rediss://:sesame@elsewhere/3",
    }
    environment = {**os.environ, **SETTINGS, **dict.fromkeys(NAMES, "not-this")}
    for name, value in values.items():
        (tmp_path / name).write_text(f"{value}\n")
        environment[f"{name}_FILE"] = str(tmp_path / name)

    shown = subprocess.run(
        [sys.executable, "-c", SHOW], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )

    read = json.loads(shown.stdout)
    for name in ("SECRET_KEY", "GHL_CLIENT_SECRET", "GHL_SHARED_SECRET", "DATABASE_URL", "REDIS_URL"):
        assert read[name] == values[name]
    for name in ("SECRET_KEY_FALLBACKS", "TOKEN_ENCRYPTION_KEYS"):
        assert read[name] == [values[name]]
    assert (read["HOST"], read["PASSWORD"], read["OPTIONS"]["sslmode"]) == ("elsewhere", "sesame", "require")
