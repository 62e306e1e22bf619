"""How a request to the API shows its key (authentication) and what the key lets it do (permission).
Keys themselves are in keys.py."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from django.http import Http404
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, MethodNotAllowed, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from oauth import keys
from oauth.environ import AUTHENTICATED
from oauth.models import ApiKey, Tenant

T = TypeVar("T")


class BearerKey(BaseAuthentication):
    """`Authorization: Bearer <api key>` (RFC 6750). `request.user` is the tenant, `request.auth` the key."""

    def __init__(self, *, takes_recent: bool = False) -> None:
        """`takes_recent`: a key that was found lately will do, for a view that calls `with_current_key`."""
        self._takes_recent = takes_recent

    def authenticate(self, request: Request) -> tuple[Tenant, ApiKey]:
        scheme, _, text = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            raise AuthenticationFailed("Send an API key as `Authorization: Bearer <api key>`.")
        shown = text.strip().decode("latin-1")
        key = keys.find(shown, recent=self._takes_recent)
        if key is None:
            keys.record_refusal(shown)
            raise AuthenticationFailed("The API key is unknown, expired or revoked.")
        keys.note_use(key)
        request.META[AUTHENTICATED] = True
        return key.tenant, key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="bookings"'


def with_current_key(view: Any, request: Request, act: Callable[[ApiKey], T]) -> T:
    """What `act` returns for the request's key, one statement of which finds nothing for a key that has changed.

    A remembered key for which it finds nothing is looked up, and `act` called once more. Raises what `act`
    raises, AuthenticationFailed or PermissionDenied.
    """
    key = key_of(request)
    try:
        return act(key)
    except (Http404, PermissionDenied):
        if key.found_at is None:
            raise
    tenant, request.auth = BearerKey().authenticate(request)
    request.user = cast("Any", tenant)
    view.check_permissions(request)
    return act(key_of(request))


def key_of(request: Request) -> ApiKey:
    """The key of an authenticated request."""
    return cast("ApiKey", request.auth)


class BearerKeySchema(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How drf-spectacular shows BearerKey."""

    target_class = BearerKey
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An API key of this service."}


class InsufficientScope(PermissionDenied):
    default_code = "insufficient_scope"


class HasScope(BasePermission):
    """The scope that a view's `scopes` names for the method: `{"GET": "bookings:read", …}`.

    HEAD needs what GET needs. A method without a scope is refused, so that none is open by an omission; OPTIONS,
    which tells of the route and of no row, takes any valid key.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        method = str(request.method)
        if method == "OPTIONS":
            return True
        needed = getattr(view, "scopes", {}).get("GET" if method == "HEAD" else method)
        if needed is None:
            raise MethodNotAllowed(method)
        key = key_of(request)
        if needed in key.scopes:
            return True
        keys.record_missing_scope(key, needed)
        raise InsufficientScope(f"This needs a key with the scope {needed}.")
