# Two images. `production` (the default): web, worker, beat and the migrations; docker-compose.yml says which is which.
# `demo`: the same with the sandbox, which no production needs; for compose.demo.yml.
#
# `.ci/pin-images` writes the digest of the base image behind its name.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS packages

COPY requirements/runtime.txt /tmp/
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r /tmp/runtime.txt \
    && /opt/venv/bin/pip check

FROM packages AS production-packages

# Only the sandbox is served by it.
RUN /opt/venv/bin/pip uninstall --yes werkzeug markupsafe \
    && /opt/venv/bin/pip check

FROM ${PYTHON_IMAGE} AS base

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DJANGO_SETTINGS_MODULE=ghlapp.settings

RUN useradd --system --uid 10001 --no-create-home app
WORKDIR /app
USER 10001
EXPOSE 8000
# The web process, as in ghlapp/local/commands.py; a test holds the two together.
CMD ["python", "-m", "granian", "--interface", "rsgi", "ghlapp.rsgi:application", \
     "--host", "0.0.0.0", "--port", "8000", \
     "--workers", "2", "--backlog", "2048", "--http", "1", "--http1-buffer-size", "32768", \
     "--respawn-failed-workers", "--workers-kill-timeout", "10", "--no-ws"]

FROM base AS demo

COPY --from=packages /opt/venv /opt/venv
COPY . .

FROM base AS production

COPY --from=production-packages /opt/venv /opt/venv
COPY LICENSE manage.py ./
COPY appointments appointments
COPY ghl ghl
COPY ghlapp ghlapp
COPY oauth oauth
COPY webhooks webhooks
