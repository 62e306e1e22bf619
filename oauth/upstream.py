"""This app's client for HighLevel, configured from the settings."""

from functools import cache

from django.conf import settings

from ghl.client import Client


@cache
def client() -> Client:
    """The process's client, whose connections all threads share and keep open between calls."""
    return Client(
        base_url=settings.GHL_API_BASE_URL,
        client_id=settings.GHL_CLIENT_ID,
        client_secret=settings.GHL_CLIENT_SECRET,
        timeout=settings.GHL_TIMEOUT_SECONDS,
    )
