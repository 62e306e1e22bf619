# One image for web, worker, beat, the migrations and the sandbox; docker-compose.yml says which is which.
FROM python:3.13-slim AS build

COPY requirements/runtime.txt /tmp/
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r /tmp/runtime.txt \
    && /opt/venv/bin/pip check

FROM python:3.13-slim

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DJANGO_SETTINGS_MODULE=ghlapp.settings

RUN useradd --system --uid 10001 --no-create-home app
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY . .

USER 10001
EXPOSE 8000
# The web process, as in ghlapp/local/commands.py; a test holds the two together.
CMD ["python", "-m", "granian", "--interface", "wsgi", "ghlapp.wsgi:application", \
     "--host", "0.0.0.0", "--port", "8000", \
     "--workers", "2", "--blocking-threads", "16", "--backlog", "2048", \
     "--respawn-failed-workers", "--workers-kill-timeout", "10", "--no-ws"]
