"""What `make demo` shows: the tour through a running stack and sandbox.
It talks to both over HTTP only, like a tenant's system and a browser would."""

import time

import httpx2

READY_SECONDS = 60


def run(public_url: str, sandbox_url: str) -> int:
    """The exit code: 0 when every step went as it should."""
    if not _is_ready(public_url):
        print(f"{public_url}/readyz did not answer within {READY_SECONDS} seconds.")
        return 1
    print(f"The app runs at {public_url}, the sandbox at {sandbox_url}.")
    return 0


def _is_ready(public_url: str) -> bool:
    deadline = time.monotonic() + READY_SECONDS
    with httpx2.Client(timeout=2) as client:
        while time.monotonic() < deadline:
            try:
                if client.get(f"{public_url}/readyz").status_code == 200:
                    return True
            except httpx2.TransportError:
                pass  # not listening yet
            time.sleep(0.1)
    return False
