"""Celery's way into this room."""

from celery import shared_task

from oauth import vault


@shared_task
def refresh_due_tokens() -> None:
    vault.refresh_due()
