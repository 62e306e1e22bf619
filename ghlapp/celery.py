"""The Celery application. Its options stand in settings.py, tasks in their rooms' tasks.py.
PostgreSQL remembers what is to be done; a message only wakes somebody, so every one of them may be lost."""

import logging.config
import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, celeryd_init, setup_logging, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ghlapp.settings")

app = Celery("ghlapp")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def configure_logging(**_: Any) -> None:
    """Django's LOGGING is the whole configuration; Celery adds none of its own."""
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)


@celeryd_init.connect
@beat_init.connect
def refuse_wrong_configuration(**_: Any) -> None:
    from ghlapp.checks import stop_on_errors

    stop_on_errors()


@worker_ready.connect
def begin(**_: Any) -> None:
    from appointments import working

    working.begin()
