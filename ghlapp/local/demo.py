"""The settings of `make demo`: a pretend marketplace app, and secrets that are made once and kept.
What the demo shows is tour.py; what it runs is stack.py."""

import base64
import secrets
from pathlib import Path
from urllib.parse import urlencode

from ghlapp.local.files import read_private, write_private
from oauth import scopes

CLIENT_ID = "665c6bb13d4e5364bdec0e2f-demo1234"
# What the pretend HighLevel signs its letters with; a test compares.
SANDBOX_KEY = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAXlNvnI14TjP928RFMAod6eSL1rPF/iP1XdTUu8pCI0A=
-----END PUBLIC KEY-----
"""


def settings(instance: Path, public_url: str, sandbox_url: str) -> dict[str, str]:
    """The environment of the demo's processes, but for the servers' addresses."""
    return {
        **_kept_secrets(instance / "secrets.json"),
        "PUBLIC_URL": public_url,
        "GHL_CLIENT_ID": CLIENT_ID,
        "GHL_API_BASE_URL": sandbox_url,
        "GHL_INSTALL_URL": install_url(public_url, sandbox_url),
        "GHL_WEBHOOK_PUBLIC_KEYS": SANDBOX_KEY,
        # A sandbox call that hangs is given up soon, so that the tour need not wait for it.
        "GHL_TIMEOUT_SECONDS": "5",
        "GHL_SETTLE_SECONDS": "2",
    }


def _kept_secrets(path: Path) -> dict[str, str]:
    # A second demo must be able to open the tokens that the first one sealed.
    kept = read_private(path)
    kept.setdefault("SECRET_KEY", secrets.token_urlsafe(50))
    kept.setdefault("TOKEN_ENCRYPTION_KEYS", base64.b64encode(secrets.token_bytes(32)).decode())
    kept.setdefault("GHL_CLIENT_SECRET", secrets.token_urlsafe(24))
    write_private(path, kept)
    return kept


def install_url(public_url: str, sandbox_url: str) -> str:
    query = {
        "response_type": "code",
        "redirect_uri": f"{public_url}/oauth/callback",
        "client_id": CLIENT_ID,
        "scope": " ".join(scopes.NEEDED),
    }
    return f"{sandbox_url}/v2/oauth/chooselocation?{urlencode(query)}"
