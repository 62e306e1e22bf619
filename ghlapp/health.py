"""For operators and load balancers: is the process alive, can it accept bookings.
No numbers about bookings live here; rooms define their own metrics."""

import logging

import prometheus_client
import redis
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import multiprocess

from ghlapp.problems import DATABASE_AWAY
from oauth import redis_clients
from oauth.metrics import Locations

log = logging.getLogger(__name__)
REDIS_SECONDS = 0.2


@csrf_exempt
@require_safe
def livez(request: HttpRequest) -> JsonResponse:
    """200 while the process answers at all."""
    return JsonResponse({"status": "alive"})


@csrf_exempt
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 `ready`; 200 `degraded` without Redis (bookings are accepted all the same); 503 without PostgreSQL."""
    database, broker = _database_answers(), _redis_answers()
    state = "ready" if broker else "degraded"
    return JsonResponse(
        {"status": state if database else "unavailable", "postgresql": database, "redis": broker},
        status=200 if database else 503,
    )


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DATABASE_AWAY as error:
        log.warning("PostgreSQL does not answer: %s", type(error).__name__)
        return False
    return True


def _redis_answers() -> bool:
    client = redis_clients.client(REDIS_SECONDS)
    try:
        return bool(client.ping())
    except redis.RedisError as error:
        log.warning("Redis does not answer: %s", type(error).__name__)
        return False
    finally:
        client.close()


@csrf_exempt
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus text of all processes that share PROMETHEUS_MULTIPROC_DIR, or of this one without it."""
    counted = prometheus_client.REGISTRY
    if settings.PROMETHEUS_MULTIPROC_DIR:
        counted = prometheus_client.CollectorRegistry()
        multiprocess.MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    stored = prometheus_client.CollectorRegistry()
    stored.register(Locations())
    text = b"".join(prometheus_client.generate_latest(each) for each in (counted, stored))
    return HttpResponse(text, content_type=prometheus_client.CONTENT_TYPE_LATEST)
