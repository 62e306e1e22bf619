"""The yardsticks' Celery application: tasks that do what any safe version must, and no more.
Its worker, broker and database pool are those of the product."""

import os
import time
from functools import cache
from typing import Any

import django
import httpx2
from celery import Celery
from django.conf import settings
from django.db import connection, transaction

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ghlapp.settings")
django.setup()

# Wake-ups that a benchmark sends stay the product's.
app = Celery("bare", set_as_current=False)
QUEUE = "bare"
app.config_from_object("django.conf:settings", namespace="CELERY")
# Thousands of messages wait for it, and it is never to stop listening.
app.conf.worker_prefetch_multiplier = 0

TABLES = """
CREATE TABLE IF NOT EXISTS bare_booking (
    id bigint PRIMARY KEY, body jsonb NOT NULL, status text NOT NULL, intent jsonb, appointment_id text,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS bare_history (
    id bigserial PRIMARY KEY, booking_id bigint NOT NULL, at timestamptz NOT NULL, status text NOT NULL
);
CREATE TABLE IF NOT EXISTS bare_request (id bigserial PRIMARY KEY, fields jsonb NOT NULL);
CREATE TABLE IF NOT EXISTS bare_event (id bigserial PRIMARY KEY, body jsonb NOT NULL);
CREATE TABLE IF NOT EXISTS bare_start (number bigint PRIMARY KEY, seconds double precision NOT NULL);
TRUNCATE bare_booking, bare_history, bare_request, bare_event, bare_start;
"""
INTENT = "UPDATE bare_booking SET status = 'calling', intent = body, updated_at = now() WHERE id = %s"
OUTCOME = """
UPDATE bare_booking SET status = 'booked', appointment_id = %s, intent = NULL, updated_at = now() WHERE id = %s
"""
HISTORY = "INSERT INTO bare_history (booking_id, at, status) VALUES (%s, statement_timestamp(), 'booked')"


@app.task(queue=QUEUE)
def book(number: int, token: str, body: dict[str, Any]) -> None:
    """Note down what is about to be sent, send it, note down what came of it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(INTENT, [number])
    answer = _http().post(
        "/calendars/events/appointments",
        json=body,
        headers={"Authorization": f"Bearer {token}", "Version": "2021-04-15"},
    )
    appointment_id = answer.raise_for_status().json()["id"]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(OUTCOME, [appointment_id, number])
        cursor.execute(HISTORY, [number])


@app.task(queue=QUEUE)
def start(number: int, sent_at: float) -> None:
    """How long ago it was sent."""
    seconds = time.time() - sent_at
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO bare_start VALUES (%s, %s)", [number, seconds])


@cache
def _http() -> httpx2.Client:
    limits = httpx2.Limits(max_keepalive_connections=None)
    return httpx2.Client(base_url=settings.GHL_API_BASE_URL, timeout=30, limits=limits)
