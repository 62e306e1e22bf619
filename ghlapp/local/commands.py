"""The one table of the stack's processes: `make serve`, `make demo`, docker-compose.yml and CI hold to it.
How processes are kept running is group.py."""

import sys
from collections.abc import Mapping

# The kill time-out also ends a worker that a stop during its start has passed by; a waiting request that it cuts has
# its booking kept. Longer heads than the buffer's 32 KB are answered 431. How many threads: ghlapp/bodies.py.
WEB = (
    *("python", "-m", "granian", "--interface", "rsgi", "ghlapp.rsgi:application"),
    *("--host", "{host}", "--port", "{port}"),
    *("--workers", "2", "--backlog", "2048", "--http", "1", "--http1-buffer-size", "32768"),
    *("--respawn-failed-workers", "--workers-kill-timeout", "10", "--no-ws"),
)
# Several calls to HighLevel in flight in one process (CONVERGING_THREADS of them for bookings); the workers need
# not know of each other.
WORKER = (
    *("python", "-m", "celery", "-A", "ghlapp", "worker", "--pool", "threads", "--concurrency", "30"),
    *("--without-gossip", "--without-mingle", "--loglevel", "INFO"),
)
BEAT = (
    *("python", "-m", "celery", "-A", "ghlapp", "beat", "--loglevel", "INFO"),
    *("--schedule", "{state}/beat-heartbeat", "--pidfile", ""),
)
SANDBOX = (
    *("python", "-m", "sandbox", "--host", "{host}", "--port", "{sandbox_port}"),
    *("--client-id", "{client_id}", "--client-secret", "{client_secret}"),
    *("--redirect-uri", "{public_url}/oauth/callback"),
)
# Not in containers, where the app's public address leads nowhere.
LETTERS = ("--webhook-url", "{public_url}/webhooks/highlevel")
TOUR = ("python", "-m", "ghlapp.local", "tour", "{public_url}", "{sandbox_url}")
MIGRATE = ("python", "manage.py", "migrate", "--no-input")

SERVE = {"web": WEB, "worker": WORKER, "beat": BEAT}


def filled(command: tuple[str, ...], values: Mapping[str, object]) -> list[str]:
    """The command with its {names} filled in, run by the Python that runs us."""
    words = [word.format_map(values) for word in command]
    return [sys.executable if word == "python" else word for word in words]
