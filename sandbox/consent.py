"""The consent page's answers: somebody chooses where the app is installed, and goes back to it with a code.

Not here: the page's HTML (pages.py), what an install is (installs.py), the code's exchange (oauth.py).

A program consents by posting the page's form: the install link's own parameters, `decision` ("allow" or
"deny") and `choice` ("location:<id>" or "agency:<company id>"). For an agency, `approved` and `excluded`, each as
often as need be, name locations: none is all. `future_locations` ("true" or "false") is what the agency ticks.
"""

from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from werkzeug import Response
from werkzeug.datastructures import MultiDict

from sandbox import pages
from sandbox.calls import Call
from sandbox.settings import ALL_SCOPES
from sandbox.tokens import Grant, UserType

_PLACES: dict[str, UserType] = {"location": "Location", "agency": "Company"}


def choose(call: Call) -> Response:
    """GET: the page on which a person picks where the app is installed."""
    fault = _link_fault(call, call.query)
    return pages.bad_link(fault) if fault else pages.consent(call.world, call.query)


def consent(call: Call) -> Response:
    """POST: back to the app, with a code or with access_denied."""
    form = call.request.form
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


def _chosen(call: Call, form: MultiDict[str, str]) -> Grant | None:
    kind, _, resource_id = form.get("choice", "").partition(":")
    known = {"location": call.world.locations.keys(), "agency": call.world.companies.keys()}
    if resource_id not in known.get(kind, ()):
        return None
    scopes = tuple(form.get("scope", "").split()) or ALL_SCOPES
    if kind == "agency" and "future_locations" in form:
        company = call.world.companies[resource_id]
        company.install_to_future_locations = form["future_locations"] == "true"
    approved, excluded = form.getlist("approved"), form.getlist("excluded")
    return call.world.grant(_PLACES[kind], resource_id, scopes, approved=approved, excluded=excluded)


def _redirect(form: Mapping[str, str], result: dict[str, str]) -> Response:
    # An install begun in HighLevel's own marketplace brings no state, and none is sent back.
    if form.get("state"):
        result["state"] = form["state"]
    uri = form["redirect_uri"]
    joint = "&" if urlsplit(uri).query else "?"
    return Response(status=302, headers={"Location": uri + joint + urlencode(result)})
