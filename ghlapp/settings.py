"""Every setting of the product, read from the environment (documented in .env.example).
What is wrong with a value is said by checks.py, with an id and a hint, before anything starts."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from kombu import Queue

from ghl.signatures import PUBLISHED_KEY
from ghlapp import database_url, environment, scheduler
from ghlapp.local.discovery import settings_of_the_running_stack
from oauth import redis_clients

BASE_DIR = Path(__file__).resolve().parent.parent
environment.env.read_env(BASE_DIR / ".env")
# So that `manage.py` in a second terminal works beside `make serve` or `make demo`. Whoever names a database
# runs something else, which must not get a demo's secrets.
if not environment.text("DATABASE_URL"):
    environment.fill_in(settings_of_the_running_stack())

# --- Django's own -----------------------------------------------------------------------------------------

DEBUG = environment.flag("DEBUG")
# Django refuses an empty key wherever it is read; checks.py stops a production start with this one.
UNSET_SECRET_KEY = "unset-only-for-debug"  # noqa: S105
SECRET_KEY = environment.text("SECRET_KEY", UNSET_SECRET_KEY)
SECRET_KEY_FALLBACKS = environment.words("SECRET_KEY_FALLBACKS")

PORT = environment.read("PORT", environment.port, "8000")
PUBLIC_URL = environment.text("PUBLIC_URL", f"http://localhost:{PORT}").rstrip("/")
_public = urlsplit(PUBLIC_URL)
ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS", f"{_public.hostname or 'localhost'},localhost,127.0.0.1")
# How many proxies stand in front, each of which appends to X-Forwarded-For (ghlapp/addresses.py).
TRUSTED_PROXY_COUNT = environment.read("TRUSTED_PROXY_COUNT", environment.count, "0")
# Where requests for /metrics and /admin/ may come from; empty: from anywhere.
INTERNAL_NETWORKS = environment.read("INTERNAL_NETWORKS", environment.networks, "")

INSTALLED_APPS = [
    "ghlapp.apps.OperatorsAdmin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "django_otp",
    "django_otp.plugins.otp_static",
    "django_otp.plugins.otp_totp",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
    "ghlapp.apps.HallConfig",
    "oauth",
    "webhooks",
    "appointments",
]
MIDDLEWARE = [
    "ghlapp.middleware.RequestLog",
    # Before what refuses requests, whose answers carry these headers too.
    "ghlapp.headers.ResponseHeaders",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "ghlapp.middleware.StorableText",
    "ghlapp.middleware.InternalPaths",
    "ghlapp.middleware.PublicLinks",
    # Checks the Host, which probes and scrapers that come by address do not know.
    "ghlapp.middleware.OperatorPaths",
    "django.middleware.common.CommonMiddleware",
    # What follows serves browsers: requests of programs go past it.
    "ghlapp.middleware.PagesOnly",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "ghlapp.operators.OperatorSessions",
    "django.contrib.messages.middleware.MessageMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "ghlapp.urls"
WSGI_APPLICATION = "ghlapp.wsgi.application"
DEFAULT_EXCEPTION_REPORTER = "ghlapp.redaction.Reporter"
DEFAULT_EXCEPTION_REPORTER_FILTER = "ghlapp.redaction.Filter"
# The API's routes carry no trailing slash and are never redirected to one.
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
# Static files (the admin's and the API page's) come straight from the packages: nothing is to be collected.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _public.scheme == "https"
# Browsers take a cookie of such a name only over https, and from no other host (RFC 6265bis, 4.1.3.2).
COOKIE_NAME_PREFIX = "__Host-" if SESSION_COOKIE_SECURE else ""
SESSION_COOKIE_NAME = f"{COOKIE_NAME_PREFIX}booking_session"
CSRF_COOKIE_NAME = f"{COOKIE_NAME_PREFIX}csrftoken"
CSRF_COOKIE_HTTPONLY = True
# Not in a cookie of their own.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
# How long a session lasts that nothing is written to; operators' are bounded in operators.py too.
SESSION_COOKIE_AGE = 8 * 3600
SECURE_HSTS_SECONDS = 31_536_000 if _public.scheme == "https" else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _public.scheme == "https" else None
CSRF_TRUSTED_ORIGINS = [f"{_public.scheme}://{_public.netloc}"] if _public.netloc else []
# Nobody else is told where somebody came from. Not "no-referrer": browsers then send forms with `Origin: null`, which
# the admin's login refuses as forged.
SECURE_REFERRER_POLICY = "same-origin"
# What a page may load: files of this host. No script or style may stand in a page, so that injected ones do nothing.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        # The API page calls the API where the schema says that it is.
        "connect-src": ["'self'", *([f"{_public.scheme}://{_public.netloc}"] if _public.netloc else [])],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # HSTS for sub-domains is the owner's decision: the product knows its own host only
    "security.W008",  # redirecting to https is the TLS proxy's part; doing it here too can loop
    "security.W021",  # likewise the preload list
]
# The largest accepted body is a batch of 100 bookings; a single booking is bounded in appointments/api.py.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
# How long a body may take to arrive, in all.
BODY_TIMEOUT_SECONDS = environment.seconds("BODY_TIMEOUT_SECONDS", "10")

# --- Operators of the admin ---------------------------------------------------------------------------------

ADMIN_SECOND_FACTOR = environment.flag("ADMIN_SECOND_FACTOR")
# Keys of authenticator apps are shown once, in the terminal.
OTP_ADMIN_HIDE_SENSITIVE_DATA = True
OTP_TOTP_ISSUER = _public.hostname or "bookings"
AUTHENTICATION_BACKENDS = [
    # Refuses a sign-in after too many failures; it signs nobody in itself.
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "ghlapp.addresses.client_address"
AXES_LOCKOUT_CALLABLE = "ghlapp.operators.locked_out"
AXES_USERNAME_CALLABLE = "ghlapp.operators.attempted_name"
AXES_RESET_ON_SUCCESS = True
# What is tried while locked out is neither stored nor prolongs the lock.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
# The audit log tells of sign-ins.
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False
# Never stored with a failure, beside the password.
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "otp_token", "csrfmiddlewaretoken"]

# --- PostgreSQL and Redis ---------------------------------------------------------------------------------

DATABASE_URL = environment.text("DATABASE_URL")
REDIS_URL = environment.text("REDIS_URL")
DATABASE_POOL_SIZE = environment.read("DATABASE_POOL_SIZE", environment.some, "32")
DATABASES = {
    "default": {
        **database_url.database(
            DATABASE_URL,
            pool={"min_size": 1, "max_size": DATABASE_POOL_SIZE, "timeout": 3},
            connect_timeout=3,
            application_name="ghl-booking-backend",
            # For the statements of oauth/rows.py alone; the ORM's are never prepared.
            prepare_threshold=0 if environment.flag("DATABASE_PREPARE", "true") else None,
        ),
        # Whose pool hands out no connection that PostgreSQL's restart broke.
        "ENGINE": "ghlapp.postgresql",
        "CONN_MAX_AGE": 0,
    }
}
# A request must not keep a thread and a connection for longer; what it asks for is answered with a 503 then.
WEB_STATEMENT_TIMEOUT_SECONDS = environment.seconds("WEB_STATEMENT_TIMEOUT_SECONDS", "10")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Celery -----------------------------------------------------------------------------------------------

SWEEP_SECONDS = 5
# What Celery shows in its logs; the transport connects as REDIS_URL says.
CELERY_BROKER_URL = redis_clients.address(REDIS_URL)
CELERY_BROKER_TRANSPORT = "ghlapp.broker:Transport"
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # A frozen broker must not hold a worker for ever; longer than the blocking pop's own second.
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "health_check_interval": 10,
    # Messages in hand are not noted down in Redis to be delivered again: nothing rests on that, and each costs
    # four commands.
    "ack_emulation": False,
    # No message goes before others, so each queue is one list.
    "priority_steps": [0],
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # for ever: a worker that gave up would need somebody to notice
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "wake-ups"
# A wake-up is worth nothing once it is old, the sweep sends new ones: nothing rests on redelivery.
CELERY_TASK_ACKS_LATE = False
# A worker that holds as many messages as it may stops listening, and looks again after up to two seconds (measured:
# 21 tasks of 200 ms a second in 20 threads, instead of 95). So it may hold more than turns.lua lets there be.
CELERY_WORKER_PREFETCH_MULTIPLIER = 8
# Of a worker's threads (ghlapp/local/commands.py). The others refresh, mint, sweep and process letters: what is
# asked of HighLevel for bookings must not keep those waiting.
CONVERGING_THREADS = 20
CELERY_TIMEZONE = "UTC"


# Seconds between two messages of each periodic task.
PERIODIC_TASKS = {
    # Finds what no message woke.
    "appointments.tasks.sweep": SWEEP_SECONDS,
    # Often, for a refresh whose answer was lost must be repeated within HighLevel's 30 seconds of grace.
    "oauth.tasks.refresh_due_tokens": SWEEP_SECONDS,
    "oauth.tasks.mint_due_tokens": SWEEP_SECONDS,
    "webhooks.tasks.process_letters": SWEEP_SECONDS,
    "appointments.tasks.compare": 60,
    "oauth.tasks.check_installs": 60,
    "appointments.tasks.erase_old": 6 * 3600,
    "webhooks.tasks.clear_old_letters": 6 * 3600,
    "oauth.tasks.clear_sessions": 3600,
}
CELERY_BEAT_SCHEDULE = scheduler.periodic(PERIODIC_TASKS)
CELERY_BEAT_SCHEDULER = "ghlapp.scheduler:Scheduler"
CELERY_TASK_QUEUES = [
    Queue(name) for name in (CELERY_TASK_DEFAULT_QUEUE, *map(scheduler.queue_of, PERIODIC_TASKS))
]

# Set by the runner: web and worker processes share their numbers through files there.
PROMETHEUS_MULTIPROC_DIR = environment.text("PROMETHEUS_MULTIPROC_DIR")

# --- HighLevel --------------------------------------------------------------------------------------------

GHL_API_BASE_URL = environment.text("GHL_API_BASE_URL", "https://services.leadconnectorhq.com").rstrip("/")
GHL_CLIENT_ID = environment.text("GHL_CLIENT_ID")
GHL_CLIENT_SECRET = environment.text("GHL_CLIENT_SECRET")
GHL_INSTALL_URL = environment.text("GHL_INSTALL_URL")
GHL_SHARED_SECRET = environment.text("GHL_SHARED_SECRET")
REQUIRE_INSTALL_STATE = environment.flag("REQUIRE_INSTALL_STATE")
GHL_WEBHOOK_PUBLIC_KEYS = environment.text("GHL_WEBHOOK_PUBLIC_KEYS", PUBLISHED_KEY)
GHL_TIMEOUT_SECONDS = environment.seconds("GHL_TIMEOUT_SECONDS", "30")
GHL_SETTLE_SECONDS = environment.seconds("GHL_SETTLE_SECONDS", "30")
TOKEN_ENCRYPTION_KEYS = environment.words("TOKEN_ENCRYPTION_KEYS")

# --- What is kept for how long (0: for ever) ---------------------------------------------------------------

EVENT_RETENTION_DAYS = environment.days("EVENT_RETENTION_DAYS", "32")
DEAD_EVENT_RETENTION_DAYS = environment.days("DEAD_EVENT_RETENTION_DAYS", "90")
BOOKING_RETENTION_DAYS = environment.days("BOOKING_RETENTION_DAYS", "0")
UNINSTALL_RETENTION_DAYS = environment.days("UNINSTALL_RETENTION_DAYS", "30")

# --- The API ----------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["oauth.access.BearerKey"],
    "DEFAULT_PERMISSION_CLASSES": ["oauth.access.HasScope"],
    "DEFAULT_PARSER_CLASSES": ["ghlapp.problems.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "ghlapp.problems.NeverRefusing",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "ghlapp.problems.handle",
    "NUM_PROXIES": TRUSTED_PROXY_COUNT,
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Bookings for HighLevel calendars",
    "VERSION": "1",
    "DESCRIPTION": (
        "Book appointments in HighLevel calendars through one call. A request is answered at once; the booking is "
        "then made in HighLevel, through time-outs, rate limits and expired tokens, exactly once, or refused "
        "for good with a reason.\n\n"
        "Field names are HighLevel's own. Errors are `application/problem+json` (RFC 9457) with a `code`."
    ),
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVERS": [{"url": PUBLIC_URL}],
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# --- Logs -------------------------------------------------------------------------------------------------

DJANGO_STRUCTLOG_USER_ID_FIELD = None
_processors: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processor": structlog.processors.JSONRenderer(ensure_ascii=False),
            "foreign_pre_chain": _processors,
        }
    },
    "handlers": {
        "standard_error": {"class": "logging.StreamHandler", "formatter": "json"},
        # What is JSON already.
        "lines": {"class": "logging.StreamHandler"},
    },
    "root": {
        "handlers": ["standard_error"],
        "level": environment.read("LOG_LEVEL", environment.log_level, "INFO"),
    },
    "loggers": {
        "ghlapp.requests": {"handlers": ["lines"], "propagate": False},
        # Their request lines carry the query, and an OAuth code or a contact's e-mail with it.
        "httpx2": {"level": "WARNING"},
        "httpcore2": {"level": "WARNING"},
        "authlib": {"level": "WARNING"},
        # The audit log tells of sign-ins.
        "axes": {"level": "WARNING"},
        # A line for each message received and done; what happened to bookings is logged by states.py.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        # One line a request is RequestLog's; Django's own would be a second one for each 4xx.
        "django.request": {"level": "ERROR"},
    },
}
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_processors,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
