"""Celery's way into this room."""

from celery import shared_task
from celery.worker import state

from appointments import erasure, reconciling, sweeping, working


@shared_task
def converge() -> None:
    working.work(is_stopping=_is_stopping)


def _is_stopping() -> bool:
    """Whether the worker was told to end: it waits for its threads, which would otherwise go on for a while."""
    # An exit code, which is 0 for a worker that is to end in peace.
    return state.should_stop is not None and state.should_stop is not False


@shared_task
def sweep() -> None:
    sweeping.sweep()


@shared_task
def compare() -> None:
    reconciling.compare_due()


@shared_task
def erase_old() -> None:
    erasure.erase_old()
