"""What a call must pass before an endpoint sees it: client, Version, token, limits, scope, location.

Not here: what each endpoint itself refuses.
"""

from dataclasses import dataclass

from sandbox import installs
from sandbox.answers import (
    Refusal,
    UnknownClient,
    invalid_private_token,
    invalid_token,
    refusal,
    scope_missing,
    too_many_requests,
    wrong_location,
    wrong_token_class,
    wrong_user_type,
)
from sandbox.calls import Call
from sandbox.tokens import Grant, UserType, is_private

CALENDARS_VERSION = "2021-04-15"
OTHER_VERSION = "2021-07-28"

SUB_ACCOUNT: tuple[UserType, ...] = ("Location",)
AGENCY: tuple[UserType, ...] = ("Company",)
BOTH: tuple[UserType, ...] = ("Location", "Company")


@dataclass(frozen=True)
class Gate:
    scope: str
    version: str = OTHER_VERSION
    admits: tuple[UserType, ...] = SUB_ACCOUNT
    # Renamed in v3, where HighLevel says so instead of calling the version invalid.
    gone_in_v3: bool = False


def check_client(call: Call) -> None:
    agent = call.request.headers.get("User-Agent", "")
    if not agent or agent.startswith("Python-urllib"):
        raise UnknownClient


def check(call: Call, gate: Gate) -> None:
    """Pass, with `call.grant` and the limits' headers set, or raise the Refusal."""
    _check_version(call, gate)
    grant = call.grant = _authenticate(call)
    _count(call, grant)
    if grant.user_type not in gate.admits:
        raise wrong_user_type() if grant.private else wrong_token_class()
    if gate.scope not in grant.scopes:
        raise scope_missing()
    _check_location(call, grant)


def _check_version(call: Call, gate: Gate) -> None:
    version = call.request.headers.get("Version")
    if version is None:
        raise Refusal(401, {"message": "version header was not found."})
    if version == "v3" and gate.gone_in_v3:
        path = call.request.full_path.rstrip("?")
        raise refusal(
            400,
            f"Endpoint {path} not available in API version v3. "
            "This endpoint was removed in version v3. Please use a version before v3.",
        )
    # Live GETs have been seen to take any dated version; being stricter shows a client's mistake.
    if version != gate.version:
        raise Refusal(401, {"message": "version header is invalid"})


def _authenticate(call: Call) -> Grant:
    grant = call.world.tokens.grant_of(call.bearer)
    if grant is None:
        raise invalid_private_token() if is_private(call.bearer) else invalid_token()
    # An agency's tokens end with the install; a location's meet a 403 further on.
    if grant.location_id is None and not installs.in_force(call.world, grant):
        raise invalid_token()
    return grant


def _count(call: Call, grant: Grant) -> None:
    admitted = call.world.limits.admit(grant.resource)
    call.headers = call.world.limits.headers(grant.resource)
    if not admitted:
        raise too_many_requests(call.headers)


def _check_location(call: Call, grant: Grant) -> None:
    if grant.location_id is None:
        return
    named = call.fields.get("locationId")
    if isinstance(named, str) and named != grant.location_id:
        raise wrong_location()
    if not installs.in_force(call.world, grant):
        raise wrong_location()


def own(call: Call, location_id: str) -> None:
    """Refuse a calendar, contact or event that belongs to a location the token does not speak for."""
    if call.grant and call.grant.location_id != location_id:
        raise wrong_location()
