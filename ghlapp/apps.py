"""The hall as a Django app: loads the Celery application, so that tasks find their broker, and the checks."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class HallConfig(AppConfig):
    name = "ghlapp"

    def ready(self) -> None:
        from ghlapp import celery, checks, operators, public_checks  # noqa: F401


class OperatorsAdmin(AdminConfig):
    default_site = "ghlapp.admin_site.Site"
