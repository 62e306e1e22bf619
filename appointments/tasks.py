"""Celery's way into this room."""

from celery import shared_task

from appointments import bookings, sweeping


@shared_task
def converge_location(location_id: str) -> None:
    bookings.converge_due(location_id)


@shared_task
def sweep() -> None:
    sweeping.sweep()
