"""Celery's way into this room."""

from celery import shared_task

from appointments import sweeping, working


@shared_task
def converge() -> None:
    working.work()


@shared_task
def sweep() -> None:
    sweeping.sweep()
