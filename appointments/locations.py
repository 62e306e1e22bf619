"""The API's view of locations: can bookings be made there now, and if not, what is to be done about it.
The rows are oauth's."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import Http404
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from appointments.answers import Answer, Page
from appointments.openapi import ERROR_HEADERS
from appointments.pagination import AS_THEY_ARE, PAGE_PARAMETERS, Pages, page_query
from appointments.problems import problems
from oauth.access import key_of
from oauth.models import FOREVER, Location
from oauth.scopes import BOOKINGS_READ


class LocationAnswer(Answer):
    """A location. `waitingUntil` is null where it waits for somebody; `reconnectUrl` is where that is done."""

    id: str
    name: str | None
    agency_id: str | None
    timezone: str | None
    status: Location.Status
    scopes_missing: list[str]
    waiting_until: datetime | None
    waiting_for: Location.Waiting | None
    reconnect_url: str | None

    @classmethod
    def of(cls, location: Location) -> dict[str, Any]:
        waits, missing = location.is_waiting, location.scopes_missing
        reconnect = location.status in Location.DISCONNECTED or missing
        return cls.model_construct(
            id=location.pk,
            name=location.name or None,
            agency_id=location.agency_id,
            timezone=location.timezone or None,
            status=Location.Status(location.status),
            scopes_missing=missing,
            waiting_until=location.not_before if waits and location.not_before != FOREVER else None,
            waiting_for=Location.Waiting(location.waiting_for) if waits else None,
            reconnect_url=settings.PUBLIC_URL + reverse("install") if reconnect else None,
        ).shown()


class LocationsAnswer(Page):
    results: list[LocationAnswer]


class LocationList(APIView):
    scopes = {"GET": BOOKINGS_READ}

    @extend_schema(
        operation_id="listLocations",
        summary="List the locations that the key covers",
        description=AS_THEY_ARE,
        parameters=[*PAGE_PARAMETERS, *ERROR_HEADERS],
        responses={200: LocationsAnswer, **problems()},
    )
    def get(self, request: Request) -> Response:
        query = page_query(request)
        covered = Location.objects.covered_by(key_of(request)).select_related("token")
        return Pages(query.limit, "id", str).response(covered, request, LocationAnswer.of)


class LocationDetail(APIView):
    scopes = {"GET": BOOKINGS_READ}

    @extend_schema(
        operation_id="readLocation",
        summary="Read whether bookings can be made in a location",
        parameters=[OpenApiParameter("location_id", str, "path"), *ERROR_HEADERS],
        responses={200: LocationAnswer, **problems(_404="There is none that this key covers.")},
    )
    def get(self, request: Request, location_id: str) -> Response:
        covered = Location.objects.covered_by(key_of(request)).select_related("token")
        location = covered.filter(pk=location_id).first()
        if location is None:
            raise Http404
        return Response(LocationAnswer.of(location))
