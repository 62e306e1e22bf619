"""The hall as a Django app: loads the Celery application, so that tasks find their broker, and the checks."""

from django.apps import AppConfig


class HallConfig(AppConfig):
    name = "ghlapp"

    def ready(self) -> None:
        from ghlapp import celery, checks, public_checks  # noqa: F401
