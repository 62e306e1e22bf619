"""The WSGI application of the web process; a wrong configuration stops it before it serves anything."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ghlapp.settings")
application = get_wsgi_application()

from ghlapp.checks import stop_on_errors  # noqa: E402  (checks need the apps that the line above loads)

stop_on_errors()
