"""The application of the web process, as granian runs it (ghlapp/local/commands.py)."""

from ghlapp import wsgi
from ghlapp.wsgi_bridge import WSGIBridge

application = WSGIBridge(wsgi.application)
