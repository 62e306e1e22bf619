"""This app's client for HighLevel, configured from the settings."""

from functools import cache
from threading import Lock

from django.conf import settings

from ghl.client import Client

_making = Lock()


def client() -> Client:
    """The process's client, whose connections all threads share and keep open between calls."""
    # A cache alone lets two threads that come first make one each, and lose one.
    with _making:
        return _made()


@cache
def _made() -> Client:
    return Client(
        base_url=settings.GHL_API_BASE_URL,
        client_id=settings.GHL_CLIENT_ID,
        client_secret=settings.GHL_CLIENT_SECRET,
        timeout=settings.GHL_TIMEOUT_SECONDS,
    )
