"""The WSGI application of the web process; a wrong configuration stops it before it serves anything."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ghlapp.settings")
application = get_wsgi_application()

# Needs the apps that the line above loads.
from ghlapp.checks import stop_on_errors  # noqa: E402

stop_on_errors()

# Before the first connection. Workers have no such limit: a sweep over many rows may take its time.
_options = connections.settings["default"]["OPTIONS"]
_timeout = f"-c statement_timeout={int(settings.WEB_STATEMENT_TIMEOUT_SECONDS * 1000)}"
_options["options"] = f"{_options.get('options', '')} {_timeout}".strip()
