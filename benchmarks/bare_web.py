"""The yardstick of `accepting`: what a DRF view must do at least to keep or show something, and no more.
No key, no idempotency, next to no middleware, one statement each; served by the product's own command."""

import os

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application

from ghlapp import environment
from ghlapp.wsgi_bridge import WSGIBridge

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        "default": {
            **environment.env.db_url_config(os.environ["DATABASE_URL"]),
            # As many connections as the product has, and nobody asks whether they are alive.
            "OPTIONS": {"pool": {"min_size": 1, "max_size": 32}},
        }
    },
    INSTALLED_APPS=["rest_framework"],
    # Says how long an answer is.
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only-for-benchmarks",  # noqa: S106
    USE_TZ=True,
    # Of the product's own bridge to granian, which is part of both.
    BODY_TIMEOUT_SECONDS=10,
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_PERMISSION_CLASSES": [],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "UNAUTHENTICATED_USER": None,
    },
)
django.setup()

# They need the settings above.
from django.db import models  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework import serializers  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402


class Kept(models.Model):
    """A request, as the serializer read it."""

    fields = models.JSONField()

    class Meta:
        app_label = "bare_web"
        db_table = "bare_request"

    def __str__(self) -> str:
        return f"request {self.pk}"


class Event(models.Model):
    body = models.JSONField()

    class Meta:
        app_label = "bare_web"
        db_table = "bare_event"

    def __str__(self) -> str:
        return f"event {self.pk}"


class Wanted(serializers.Serializer[None]):
    """As many fields as a request for a booking has, each checked as far as DRF does it by itself."""

    calendarId = serializers.CharField(max_length=64)  # noqa: N815  (as on the wire, and below)
    locationId = serializers.CharField(max_length=64, required=False)  # noqa: N815
    contactId = serializers.CharField(max_length=64, required=False)  # noqa: N815
    contact = serializers.DictField(required=False)
    startTime = serializers.CharField()  # noqa: N815
    endTime = serializers.CharField(required=False)  # noqa: N815
    title = serializers.CharField(required=False)
    meetingLocationType = serializers.ChoiceField(["custom", "zoom", "gmeet"], required=False)  # noqa: N815
    meetingLocationId = serializers.CharField(required=False)  # noqa: N815
    overrideLocationConfig = serializers.BooleanField(required=False)  # noqa: N815
    appointmentStatus = serializers.ChoiceField(["new", "confirmed", "cancelled"], required=False)  # noqa: N815
    assignedUserId = serializers.CharField(max_length=64, required=False)  # noqa: N815
    description = serializers.CharField(required=False)
    address = serializers.CharField(required=False)
    ignoreDateRange = serializers.BooleanField(required=False)  # noqa: N815
    toNotify = serializers.BooleanField(required=False)  # noqa: N815
    ignoreFreeSlotValidation = serializers.BooleanField(required=False)  # noqa: N815
    rrule = serializers.CharField(required=False)
    externalReference = serializers.CharField(max_length=255, required=False)  # noqa: N815
    metadata = serializers.DictField(child=serializers.CharField(), required=False)
    expiresAt = serializers.CharField(required=False)  # noqa: N815


class Requests(APIView):
    def post(self, request: Request) -> Response:
        wanted = Wanted(data=request.data)
        wanted.is_valid(raise_exception=True)
        kept = Kept._default_manager.create(fields=wanted.validated_data)
        return Response({"id": kept.pk, **wanted.data}, status=201)


class OneRequest(APIView):
    def get(self, request: Request, number: int) -> Response:
        kept = Kept._default_manager.get(pk=number)
        return Response({"id": kept.pk, **Wanted(kept.fields).data})


class Events(APIView):
    def post(self, request: Request) -> Response:
        Event._default_manager.create(body=request.data)
        return Response({"status": "stored"})


urlpatterns = [
    path("requests", Requests.as_view()),
    path("requests/<int:number>", OneRequest.as_view()),
    path("events", Events.as_view()),
]
application = WSGIBridge(get_wsgi_application())
