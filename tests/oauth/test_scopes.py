"""What a key may do by its scopes: no method of the API is open because nothing was said about it."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework.views import APIView

from oauth import keys
from oauth.access import HasScope
from oauth.scopes import BOOKINGS_READ, CALENDARS_READ, KEY_SCOPES
from tests.fixtures import Persona

# The webhook route is authenticated by HighLevel's signature; the schema and its page are public.
WITHOUT_A_KEY = {"HighLevel", "SpectacularAPIView", "SpectacularSwaggerView", "SpectacularSwaggerSplitView"}
METHODS = ("get", "post", "put", "patch", "delete", "trace")


def api_views(patterns: list[Any] | None = None) -> Iterator[Any]:
    """Every DRF view of the URL conf."""
    for each in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(each, URLResolver):
            yield from api_views(each.url_patterns)
        elif isinstance(each, URLPattern) and hasattr(each.callback, "cls"):
            yield each.callback.cls


def client_with(acme: Persona, *scopes: str) -> APIClient:
    _, text = keys.issue(acme.tenant, locations=[acme.location], scopes=scopes)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


def test_every_view_of_the_api_names_a_scope_for_each_of_its_methods() -> None:
    views = [each for each in api_views() if each.__name__ not in WITHOUT_A_KEY]

    assert len(views) > 5
    for view in views:
        handled = {method.upper() for method in METHODS if hasattr(view, method)}
        assert set(view.scopes) == handled, view
        assert set(view.scopes.values()) <= set(KEY_SCOPES), view
        permissions: list[type[BasePermission]] = view.permission_classes
        assert permissions == [HasScope], view


@pytest.mark.parametrize("path", ["bookings", "locations"])
def test_head_needs_the_scope_of_get(acme: Persona, path: str) -> None:
    assert client_with(acme, BOOKINGS_READ).head(f"/api/v1/{path}").status_code == 200
    assert client_with(acme, CALENDARS_READ).head(f"/api/v1/{path}").status_code == 403
    assert APIClient().head(f"/api/v1/{path}").status_code == 401


def test_a_method_without_a_scope_is_refused(acme: Persona) -> None:
    for method in ("PUT", "DELETE", "TRACE", "FOO"):
        answer = acme.api.generic(method, "/api/v1/bookings")

        assert answer.status_code == 405, method
        assert answer.headers["Allow"] == "GET, POST, HEAD, OPTIONS"


def test_a_handler_without_a_scope_is_not_reached(acme: Persona) -> None:
    class Forgotten(APIView):
        def get(self, request: Request) -> Response:
            raise AssertionError("reached")

    request = APIRequestFactory().get("/", headers={"Authorization": f"Bearer {acme.text}"})

    assert Forgotten.as_view()(request).status_code == 405


def test_options_tells_of_the_route_to_every_key_and_to_no_one_else(acme: Persona) -> None:
    answer = client_with(acme, CALENDARS_READ).options("/api/v1/bookings")

    assert answer.status_code == 200
    assert answer.headers["Allow"] == "GET, POST, HEAD, OPTIONS"
    assert APIClient().options("/api/v1/bookings").status_code == 401
