"""OAuth: the consent page's answers, the token endpoint, location tokens, installed locations.

Not here: how tokens are made and rotated (tokens.py), the page's HTML (pages.py).

A program consents by posting the page's form: the install link's own parameters, `decision` ("allow" or
"deny") and `choice` ("location:<id>" or "agency:<company id>").
"""

import hmac
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

from werkzeug import Response

from sandbox import pages, times
from sandbox.answers import Refusal, answer, refusal, wrong_location
from sandbox.calls import Call
from sandbox.records import Location
from sandbox.settings import ALL_SCOPES
from sandbox.tokens import Grant, UserType
from sandbox.validation import Field, check

_PLACES: dict[str, UserType] = {"location": "Location", "agency": "Company"}


def choose(call: Call) -> Response:
    """GET: the page on which a person picks where the app is installed."""
    fault = _link_fault(call, call.query)
    return pages.bad_link(fault) if fault else pages.consent(call.world, call.query)


def consent(call: Call) -> Response:
    """POST: back to the app, with a code or with access_denied."""
    form = call.request.form.to_dict()
    fault = _link_fault(call, form)
    if fault:
        return pages.bad_link(fault)
    if form.get("decision") != "allow":
        return _redirect(form, {"error": "access_denied"})
    grant = _chosen(call, form)
    if grant is None:
        return pages.consent(call.world, form, complaint="Choose where to install the app first.")
    return _redirect(form, {"code": call.world.tokens.issue_code(grant, form["redirect_uri"])})


def _link_fault(call: Call, given: Mapping[str, str]) -> str | None:
    settings = call.world.settings
    if given.get("response_type") != "code":
        return "response_type must be code"
    if given.get("client_id") != settings.client_id:
        return "no app has this client_id"
    redirect_uri = given.get("redirect_uri", "")
    if urlsplit(redirect_uri).scheme not in ("http", "https"):
        return "redirect_uri is missing or no web address"
    if settings.redirect_uri not in (None, redirect_uri):
        return "redirect_uri is not the registered one"
    return None


def _chosen(call: Call, form: Mapping[str, str]) -> Grant | None:
    kind, _, resource_id = form.get("choice", "").partition(":")
    known = {"location": call.world.locations.keys(), "agency": call.world.companies.keys()}
    if resource_id not in known.get(kind, ()):
        return None
    scopes = tuple(form.get("scope", "").split()) or ALL_SCOPES
    return call.world.grant(_PLACES[kind], resource_id, scopes)


def _redirect(form: Mapping[str, str], result: dict[str, str]) -> Response:
    # An install begun in HighLevel's own marketplace brings no state, and none is sent back.
    if form.get("state"):
        result["state"] = form["state"]
    uri = form["redirect_uri"]
    joint = "&" if urlsplit(uri).query else "?"
    return Response(status=302, headers={"Location": uri + joint + urlencode(result)})


def token(call: Call) -> Response:
    grant_type = _parameter(call, "grant_type")
    if grant_type == "authorization_code":
        return answer(_redeem(call))
    if grant_type == "refresh_token":
        return answer(_refresh(call))
    raise _token_refusal("Invalid parameter: grantType")


def _redeem(call: Call) -> dict[str, Any]:
    """The code is looked at before the client's credentials, as HighLevel does."""
    tokens = call.world.tokens
    code = _parameter(call, "code")
    found = tokens.find_code(code)
    if found is None:
        body = {"error": "UnAuthorized!", "error_description": "Authorization code not found"}
        raise Refusal(401, body)
    _check_credentials(call)
    if call.body.get("redirect_uri", found.redirect_uri) != found.redirect_uri:
        raise _token_refusal("Invalid request: `redirect_uri` is invalid")
    return tokens.redeem_code(code)


def _refresh(call: Call) -> dict[str, Any]:
    _check_credentials(call)
    found = call.world.tokens.find_refresh(_parameter(call, "refresh_token"))
    if found is None:
        raise _token_refusal("Invalid grant: refresh token is invalid")
    _check_active(call, found.grant.company_id, found.grant.location_id)
    return call.world.tokens.rotate(found)


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
    if call.body["companyId"] != company_token.company_id or not _installed(location, company_token):
        raise wrong_location()
    _check_active(call, company_token.company_id, call.body["locationId"])
    call.world.tokens.revoke_refresh(call.body["locationId"])
    grant = call.world.grant("Location", call.body["locationId"], company_token.scopes)
    pair = call.world.tokens.issue(grant, "location_token")
    settings = call.world.settings
    return answer({**pair, "appId": settings.app_id, "versionId": settings.version_id})


def _installed(location: Location | None, company_token: Grant) -> bool:
    return location is not None and location.installed and location.company_id == company_token.company_id


def installed_locations(call: Call) -> Response:
    check(call.query, {"companyId": Field(required=True), "appId": Field(required=True)}, strict=False)
    company = call.world.companies.get(call.query["companyId"])
    if call.grant is None or company is None or call.grant.company_id != company.id:
        raise wrong_location()
    theirs = [entry for entry in call.world.locations.values() if entry.company_id == company.id]
    asked = [entry for entry in theirs if _asked_for(entry, call.query)]
    skip, limit = _number(call, "skip", 0), _number(call, "limit", 20)
    return answer(
        {
            "locations": [_installed_shape(call, entry) for entry in asked[skip : skip + limit]],
            # Of all the company's locations, installed or not: no good for counting pages.
            "count": len(theirs),
            "installToFutureLocations": company.install_to_future_locations,
        }
    )


def _asked_for(location: Location, query: Mapping[str, str]) -> bool:
    return (
        query.get("isInstalled") in (None, str(location.installed).lower())
        and query.get("locationId") in (None, location.id)
        and query.get("query", "").lower() in location.name.lower()
    )


def _number(call: Call, name: str, default: int) -> int:
    text = call.query.get(name, str(default))
    if not text.isdecimal():
        raise refusal(422, [f"{name} must be a number string"])
    return int(text)


def _installed_shape(call: Call, location: Location) -> dict[str, Any]:
    shape = {
        "_id": location.id,
        "name": location.name,
        "address": location.address,
        "isInstalled": location.installed,
    }
    if location.installed_at is None:
        return shape
    version = call.world.settings.version_id
    return {**shape, "versionId": version, "installedAt": times.utc(location.installed_at)}
