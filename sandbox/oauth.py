"""OAuth: the token endpoint, location tokens, installed locations.

Not here: the consent that comes before (consent.py), how tokens are made and rotated (tokens.py).
"""

import hmac
from collections.abc import Mapping
from itertools import islice
from typing import Any, cast

from werkzeug import Response

from sandbox import installs, times
from sandbox.answers import Refusal, answer, refusal, wrong_location
from sandbox.calls import Call
from sandbox.records import Location
from sandbox.tokens import Grant
from sandbox.validation import Field, check

# The official schema requires `userId` alone; the token's own claims say some of the rest again.
_TOKEN_ALONE = frozenset({"access_token", "refresh_token", "expires_in", "userType", "userId"})
_ALWAYS_GIVEN = _TOKEN_ALONE | {
    *("companyId", "locationId", "appId", "versionId", "isBulkInstallation"),
    *("approvedLocations", "approveAllLocations", "installToFutureLocations"),
}
_INSTALL_REQUIRED = frozenset({"_id", "name", "address"})


def token(call: Call) -> Response:
    grant_type = _parameter(call, "grant_type")
    if grant_type == "authorization_code":
        return answer(_as_shown(call, _redeem(call)))
    if grant_type == "refresh_token":
        return answer(_as_shown(call, _refresh(call)))
    raise _token_refusal("Invalid parameter: grantType")


def _as_shown(call: Call, given: dict[str, Any]) -> dict[str, Any]:
    kept = {"required_alone": _ALWAYS_GIVEN, "token_alone": _TOKEN_ALONE}
    return call.world.forms.shown(given, kept, "token_optional")


def _redeem(call: Call) -> dict[str, Any]:
    """The code is looked at before the client's credentials, as HighLevel does."""
    tokens = call.world.tokens
    code = _parameter(call, "code")
    found = tokens.find_code(code)
    if found is None or not installs.in_force(call.world, found.grant):
        body = {"error": "UnAuthorized!", "error_description": "Authorization code not found"}
        raise Refusal(401, body)
    _check_credentials(call)
    if call.body.get("redirect_uri", found.redirect_uri) != found.redirect_uri:
        raise _token_refusal("Invalid request: `redirect_uri` is invalid")
    return tokens.redeem_code(code)


def _refresh(call: Call) -> dict[str, Any]:
    _check_credentials(call)
    found = call.world.tokens.find_refresh(_parameter(call, "refresh_token"))
    if found is None or not installs.in_force(call.world, found.grant):
        raise _dead(call)
    _check_active(call, found.grant.company_id, found.grant.location_id)
    return call.world.tokens.rotate(found)


def _dead(call: Call) -> Refusal:
    """Of a refresh token that is used, expired or revoked."""
    if call.world.forms.pick("refused_grant") == "oauth_pair":
        words = "Invalid refresh token: refresh token is invalid"
        return Refusal(401, {"error": "invalid_grant", "error_description": words})
    return _token_refusal("Invalid grant: refresh token is invalid")


def _check_active(call: Call, company_id: str, location_id: str | None) -> None:
    """A refusal that uses nothing up: the same refresh token works once the location is active again."""
    location_active = location_id is None or call.world.locations[location_id].active
    if not (location_active and call.world.companies[company_id].active):
        raise _token_refusal("Location is not active")


def _check_credentials(call: Call) -> None:
    settings = call.world.settings
    for name, expected in (("client_id", settings.client_id), ("client_secret", settings.client_secret)):
        if not hmac.compare_digest(_parameter(call, name).encode(), expected.encode()):
            raise refusal(401, "Invalid client: client is invalid")


def _parameter(call: Call, name: str) -> str:
    value = call.body.get(name)
    if isinstance(value, str) and value:
        return value
    first, *rest = name.split("_")
    raise _token_refusal(f"Missing parameter: {first}{''.join(part.title() for part in rest)}")


def _token_refusal(message: str) -> Refusal:
    return Refusal(400, {"statusCode": 400, "message": message})


def location_token(call: Call) -> Response:
    """A location's token for the agency's; the refresh token the location had before ends with it."""
    check(call.body, {"companyId": Field(required=True), "locationId": Field(required=True)})
    company_token = cast("Grant", call.grant)
    location = call.world.locations.get(call.body["locationId"])
    if location is None or not _is_installed(location, company_token, call.body["companyId"]):
        raise wrong_location()
    _check_active(call, company_token.company_id, location.id)
    call.world.tokens.revoke_refresh(location.id)
    pair = call.world.tokens.issue(installs.grant(location), "location_token")
    given = {**pair, "appId": call.world.settings.app_id, "versionId": location.version_id}
    if call.world.forms.pick("location_refresh_token") == "absent":
        del given["refresh_token"], given["refreshTokenId"]
    return answer(_as_shown(call, given), int(call.world.forms.pick("success_status")))


def _is_installed(location: Location, company_token: Grant, company_id: str) -> bool:
    return location.installed and location.company_id == company_token.company_id == company_id


def installed_locations(call: Call) -> Response:
    check(call.query, {"companyId": Field(required=True), "appId": Field(required=True)}, strict=False)
    company = call.world.companies.get(call.query["companyId"])
    if call.grant is None or company is None or call.grant.company_id != company.id:
        raise wrong_location()
    theirs = call.world.locations_of(company.id)
    asked = (entry for entry in theirs if _asked_for(entry, call.query))
    skip, limit = _number(call, "skip", 0), _number(call, "limit", 20)
    listed = [
        call.world.forms.shown(_installed_shape(entry), _INSTALL_REQUIRED, "install_optional")
        for entry in islice(asked, skip, skip + limit)
    ]
    shape = {
        "locations": call.world.forms.ordered(listed),
        # Of all the company's locations, installed or not: no good for counting pages.
        "count": len(theirs),
        "installToFutureLocations": company.install_to_future_locations,
    }
    return answer(call.world.forms.shown(shape, frozenset({"locations"}), "install_optional"))


def _asked_for(location: Location, query: Mapping[str, str]) -> bool:
    return (
        query.get("isInstalled") in (None, str(location.installed).lower())
        and query.get("locationId") in (None, location.id)
        and query.get("versionId") in (None, location.version_id)
        and query.get("query", "").lower() in location.name.lower()
    )


def _number(call: Call, name: str, default: int) -> int:
    text = call.query.get(name, str(default))
    if not text.isdecimal():
        raise refusal(422, [f"{name} must be a number string"])
    return int(text)


def _installed_shape(location: Location) -> dict[str, Any]:
    shape = {
        "_id": location.id,
        "name": location.name,
        "address": location.address,
        "isInstalled": location.installed,
    }
    if location.installed_at is None:
        return shape
    return {**shape, "versionId": location.version_id, "installedAt": times.utc(location.installed_at)}
