"""The two pages people see: the consent page, and the calendars with what was booked in them.

Not here: what consenting does (oauth.py), the looks (page_style.py).
"""

from collections.abc import Iterable, Mapping
from html import escape
from itertools import groupby

from werkzeug import Response

from sandbox.calls import Call
from sandbox.page_style import STYLE
from sandbox.records import Appointment, Company, Location
from sandbox.times import zone
from sandbox.world import World

_LINK_PARAMETERS = ("response_type", "client_id", "redirect_uri", "scope", "state", "version_id")
# A benchmark's world has thousands of locations; nobody reads that far.
_MOST_LOCATIONS = 100
_MOST_ROWS = 200


def consent(world: World, link: Mapping[str, str], complaint: str = "") -> Response:
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{escape(link[name])}">'
        for name in _LINK_PARAMETERS
        if name in link
    )
    scopes = "".join(f"<li><code>{escape(scope)}</code></li>" for scope in link.get("scope", "").split())
    body = f"""
<h1>Install the app</h1>
<p>This is a sandbox: nothing here reaches the real HighLevel.</p>
{f'<p role="alert" class="alert">{escape(complaint)}</p>' if complaint else ""}
<form method="post">
{hidden}
<fieldset><legend>Where should it be installed?</legend>{_choices(world)}</fieldset>
<details open><summary>It asks to use</summary><ul class="scopes">{scopes or "everything"}</ul></details>
<p class="buttons">
<button name="decision" value="allow" class="primary">Allow</button>
<button name="decision" value="deny">Deny</button>
</p>
</form>"""
    return _page("Install the app", body, status=422 if complaint else 200)


def _choices(world: World) -> str:
    locations = list(world.locations.values())[:_MOST_LOCATIONS]
    choices = [
        _choice(
            f"location:{location.id}", location.name, f"location, {location.timezone}", checked=position == 0
        )
        for position, location in enumerate(locations)
    ]
    choices += [_agency(world, company) for company in world.companies.values()]
    return "".join(choices)


def _agency(world: World, company: Company) -> str:
    """Its choice, with what an agency is asked besides: some locations only, and those to come."""
    ticks = "".join(
        _tick("approved", location.id, location.name)
        for location in world.locations_of(company.id)[:_MOST_LOCATIONS]
    )
    future = _tick("future_locations", "true", "Also in locations that are added later")
    return f"""{_choice(f"agency:{company.id}", company.name, "install for the agency: all its locations")}
<details><summary>For the agency, but only in …</summary>{ticks}{future}</details>"""


def _tick(name: str, value: str, text: str) -> str:
    return (
        f'<label class="choice"><input type="checkbox" name="{name}" value="{escape(value)}"> '
        f"<bdi>{escape(text)}</bdi></label>"
    )


def _choice(value: str, name: str, note: str, *, checked: bool = False) -> str:
    return (
        f'<label class="choice"><input type="radio" name="choice" value="{escape(value)}"'
        f"{' checked' if checked else ''}> "
        f"<span><bdi>{escape(name)}</bdi><small>{escape(note)}</small></span></label>"
    )


def bad_link(fault: str) -> Response:
    body = f"<h1>This install link does not work</h1><p role='alert' class='alert'>{escape(fault)}</p>"
    return _page("This install link does not work", body, status=400)


def diary(call: Call) -> Response:
    world = call.world
    newest = sorted(world.diary.everything(), key=lambda entry: entry.added_at, reverse=True)[:_MOST_ROWS]
    by_location = {
        location_id: list(entries)
        for location_id, entries in groupby(
            sorted(newest, key=lambda entry: entry.location_id), lambda entry: entry.location_id
        )
    }
    # Those with news first, then the order they were made in.
    locations = sorted(world.locations.values(), key=lambda location: location.id not in by_location)
    sections = [
        _section(world, location, by_location.get(location.id, []))
        for location in locations[:_MOST_LOCATIONS]
    ]
    body = f"""
<h1>HighLevel sandbox</h1>
<p>{len(world.diary.everything())} appointments in {len(world.locations)} locations.
<a href="/_sandbox/state">Counts</a> · <a href="/_sandbox/calls?limit=100">Calls</a></p>
{"".join(sections)}"""
    return _page("HighLevel sandbox", body, refresh=True)


def _section(world: World, location: Location, entries: Iterable[Appointment]) -> str:
    rows = "".join(_row(world, location, entry) for entry in entries)
    table = f"""<div class="scroll"><table aria-label="Appointments of {escape(location.name)}">
<thead><tr><th scope="col">Date</th><th scope="col">Time</th><th scope="col">Title</th>
<th scope="col">Contact</th><th scope="col">Calendar</th><th scope="col">Status</th></tr></thead>
<tbody>{rows}</tbody></table></div>"""
    return f"""<section>
<h2><bdi dir="auto">{escape(location.name)}</bdi></h2>
<p><small>{escape(location.timezone)} · <code>{escape(location.id)}</code>{_marks(location)}</small></p>
{table if rows else "<p class='empty'>Nothing booked yet.</p>"}
</section>"""


def _marks(location: Location) -> str:
    marks = [
        text
        for text, shown in (("installed", location.installed), ("suspended", not location.active))
        if shown
    ]
    return "".join(f" · {mark}" for mark in marks)


def _row(world: World, location: Location, entry: Appointment) -> str:
    home = zone(location.timezone)
    starts_at, ends_at = entry.starts_at.astimezone(home), entry.ends_at.astimezone(home)
    contact = world.contacts.get(entry.contact_id)
    return f"""<tr>
<td><time datetime="{starts_at.isoformat()}">{starts_at:%a} {starts_at.day} {starts_at:%b %Y}</time></td>
<td>{starts_at:%H:%M}&ndash;{ends_at:%H:%M}</td>
<td><bdi dir="auto">{escape(entry.title)}</bdi></td>
<td><bdi dir="auto">{escape(contact.name if contact else entry.contact_id)}</bdi></td>
<td><bdi dir="auto">{escape(world.calendars[entry.calendar_id].name)}</bdi></td>
<td><span class="status {escape(entry.status)}">{escape(entry.status)}</span></td>
</tr>"""


def _page(title: str, body: str, *, status: int = 200, refresh: bool = False) -> Response:
    again = '<meta http-equiv="refresh" content="3">' if refresh else ""
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">{again}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title><style>{STYLE}</style></head>
<body><main>{body}</main></body></html>"""
    return Response(text, status, content_type="text/html; charset=utf-8")
