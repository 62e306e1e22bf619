"""Celery's way into this room."""

from celery import shared_task
from django.core.management import call_command

from oauth import vault


@shared_task
def refresh_due_tokens() -> None:
    vault.refresh_due()


@shared_task
def clear_sessions() -> None:
    """Each visit to the install link leaves a session row, and Django removes none by itself."""
    call_command("clearsessions")
