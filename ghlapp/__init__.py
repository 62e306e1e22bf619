"""The hall: settings, routes, Celery and WSGI wiring, health, problem+json. No behaviour and no models."""
