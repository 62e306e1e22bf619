"""The scopes this product needs from HighLevel and those its own keys carry, each declared once."""

# README.md names them too, for the developer portal; a test compares.
NEEDED = (
    "calendars.readonly",
    "calendars/events.readonly",
    "calendars/events.write",
    "contacts.readonly",
    "contacts.write",
    "locations.readonly",
    "oauth.readonly",
    "oauth.write",
)
# Granted to agency tokens only: a sub-account's token lacks them and is complete all the same.
AGENCY_ONLY = frozenset({"oauth.readonly", "oauth.write"})

BOOKINGS_READ = "bookings:read"
BOOKINGS_WRITE = "bookings:write"
CALENDARS_READ = "calendars:read"
WEBHOOKS_MANAGE = "webhooks:manage"
KEY_SCOPES = (BOOKINGS_READ, BOOKINGS_WRITE, CALENDARS_READ, WEBHOOKS_MANAGE)


def missing(granted: list[str], *, of_agency: bool = False) -> list[str]:
    """What a token lacks; empty where HighLevel did not say what it granted."""
    if not granted:
        return []
    needed = NEEDED if of_agency else [scope for scope in NEEDED if scope not in AGENCY_ONLY]
    return [scope for scope in needed if scope not in granted]
