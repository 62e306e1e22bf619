"""Celery's way into this room."""

from celery import shared_task

from webhooks import inbox


@shared_task
def process_letters() -> None:
    inbox.process_due()


@shared_task
def clear_old_letters() -> None:
    inbox.clear_old()
