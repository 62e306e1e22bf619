"""Celery's way into this room."""

from celery import shared_task
from celery.worker import state

from appointments import reconciling, sweeping, working


@shared_task
def converge() -> None:
    working.work(is_stopping=_is_stopping)


def _is_stopping() -> bool:
    """Whether the worker was told to end: it waits for its threads, which would otherwise go on for a while."""
    return state.should_stop not in (None, False)


@shared_task
def sweep() -> None:
    sweeping.sweep()


@shared_task
def compare() -> None:
    reconciling.compare_due()
