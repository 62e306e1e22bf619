"""What can be set about a world: the app it knows, its limits, its lifetimes, its slowness.

Not here: what happens in it (world.py), single faults (faults.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

ALL_SCOPES = (
    "calendars.readonly",
    "calendars/events.readonly",
    "calendars/events.write",
    "contacts.readonly",
    "contacts.write",
    "locations.readonly",
    "oauth.readonly",
    "oauth.write",
)
# What a private integration token of a location can have.
LOCATION_SCOPES = tuple(scope for scope in ALL_SCOPES if not scope.startswith("oauth."))


@dataclass
class Settings:
    client_id: str = "665c6bb13d4e5364bdec0e2f-lx0a1b2c"
    client_secret: str = "2f1d6c1e-5a0b-4a9e-9d3b-0c8f4b6a7e55"  # noqa: S105 - opens a pretend world
    # None accepts any redirect URI, so that a demo need not know its port beforehand.
    redirect_uri: str | None = None
    # Where letters go. None: nowhere, they are kept in the log.
    webhook_url: str | None = None
    # Kept until released.
    letters_held: bool = False
    # HighLevel tries twelve times more, over days; the first wait doubles with each.
    letter_retries: int = 12
    letter_retry_seconds: float = 1.0
    # Faults of the post: letters that never come, that come twice, that overtake each other.
    letters_lost_share: float = 0.0
    letters_doubled_share: float = 0.0
    letters_shuffled_seconds: float = 0.0
    letters_seed: int = 0
    version_id: str = "665c6bb13d4e5364bdec0e2f"
    rate_limit_burst: int = 100
    rate_limit_interval_seconds: float = 10.0
    rate_limit_daily: int = 200_000
    access_token_seconds: int = 86_399
    refresh_grace_seconds: float = 30.0
    code_seconds: float = 60.0
    latency_seconds: float = 0.0
    # How far the lists of events, and the search for contacts, are behind.
    list_lag_seconds: float = 0.0
    # Whether a contact's own list writes dateAdded and dateUpdated without an offset, to the second, as the official
    # schema's examples do.
    bare_contact_dates: bool = True
    # Of all locations: HighLevel's "Allow Duplicate Contact".
    duplicate_contacts_allowed: bool = False
    # False leaves companyId and userId out of the letter about a company's new location, as HighLevel may.
    future_installs_named: bool = True
    # Which of the forms that HighLevel leaves open comes next (forms.py); None: always as its pages write it.
    forms_seed: int | None = 1
    # Space separated; None grants whatever the install link asks for.
    granted_scopes: str | None = None

    @property
    def app_id(self) -> str:
        return self.client_id.split("-")[0]

    def change(self, values: Mapping[str, Any]) -> None:
        """Set several at once, all or none; an unknown name or a value of another kind is a ValueError."""
        for name, value in values.items():
            _check(name, value)
        for name, value in values.items():
            setattr(self, name, value)


def _check(name: str, value: object) -> None:
    wanted = get_type_hints(Settings).get(name)
    if wanted is None:
        raise ValueError(f"no setting is called {name}")
    fits = isinstance(value, wanted) or (wanted is float and isinstance(value, int))
    if not fits or isinstance(value, bool) != (wanted is bool):
        raise ValueError(f"{name} cannot be {value!r}")
