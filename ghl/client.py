"""Calls to HighLevel, one method each: which endpoint, what goes in, what comes out.

No tokens are kept here, nothing is retried, nothing is decided; how a call is made is in `line.py`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

import httpx2

from . import answers, endpoints
from .line import Line
from .types import (
    Appointment,
    Calendar,
    Call,
    Contact,
    InstallPage,
    LocationDetails,
    TokenGrant,
    parse_token_grant,
)

Body = Mapping[str, object]
Calls = list[Call] | None


class Client:
    """HighLevel's API for one app. Threads may share it and its connections; a forked child needs its own.

    `timeout` bounds a whole call in seconds: name, connection, TLS, request, headers and body.

    Every method but `refresh` and `close` takes a plain access token first. All raise a `HighLevelError`, or
    a ValueError for what can never be sent. `calls` collects a `Call` for each exchange, failed ones too;
    `on_call` hears of the same, and what it raises is raised.
    """

    def __init__(
        self,
        *,
        base_url: str,
        client_id: str,
        client_secret: str,
        timeout: float,
        transport: httpx2.BaseTransport | None = None,
        on_call: Callable[[Call], None] | None = None,
    ) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._line = Line(base_url, timeout=timeout, transport=transport, on_call=on_call)

    def close(self) -> None:
        """Close the idle connections."""
        self._line.close()

    # Tokens

    def refresh(
        self,
        refresh_token: str,
        *,
        user_type: str = "Location",
        timeout: float | None = None,
        calls: Calls = None,
    ) -> TokenGrant:
        """A new pair of tokens for this refresh token, which is used up by it. Raises `GrantRefused`.

        Repeating it with the same token within 30 seconds gives the same pair.
        https://marketplace.gohighlevel.com/docs/ghl/oauth/get-access-token
        """
        form = {
            "client_id": self._client_id,
            "client_secret": self._client_secret,
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "user_type": user_type,
        }
        return self._line.ask(endpoints.REFRESH, parse_token_grant, form=form, timeout=timeout, calls=calls)

    def location_token(
        self,
        token: str,
        company_id: str,
        location_id: str,
        *,
        timeout: float | None = None,
        calls: Calls = None,
    ) -> TokenGrant:
        """A pair of tokens for one of the company's locations; `token` is the company's.

        HighLevel may end the location's earlier refresh token with it.
        https://marketplace.gohighlevel.com/docs/ghl/oauth/get-location-access-token
        """
        form = {"companyId": company_id, "locationId": location_id}
        return self._line.ask(
            endpoints.LOCATION_TOKEN, parse_token_grant, token=token, form=form, timeout=timeout, calls=calls
        )

    def installed_locations(
        self,
        token: str,
        company_id: str,
        *,
        skip: int = 0,
        limit: int = 100,
        location_id: str | None = None,
        calls: Calls = None,
    ) -> InstallPage:
        """A page of the company's locations in which the app is installed; `token` is the company's.

        The last page is the one with fewer than `limit`. With a `location_id` that one alone, or none.
        https://marketplace.gohighlevel.com/docs/ghl/oauth/get-installed-location
        """
        query = {
            "companyId": company_id,
            "appId": self._client_id.partition("-")[0],
            "isInstalled": "true",
            "skip": str(skip),
            "limit": str(limit),
        }
        if location_id is not None:
            query["locationId"] = location_id
        return self._line.ask(
            endpoints.INSTALLED_LOCATIONS, answers.install_page, token=token, query=query, calls=calls
        )

    # Appointments

    def create_appointment(self, token: str, body: Body, *, calls: Calls = None) -> Appointment:
        """Book. `body` is sent exactly as given (`types.appointment_body` makes one).

        https://marketplace.gohighlevel.com/docs/ghl/calendars/create-appointment
        """
        return self._line.ask(
            endpoints.CREATE_APPOINTMENT, answers.appointment, token=token, body=body, calls=calls
        )

    def change_appointment(
        self, token: str, appointment_id: str, body: Body, *, calls: Calls = None
    ) -> Appointment:
        """Change or cancel. HighLevel sets a status that is left out to `confirmed`.

        https://marketplace.gohighlevel.com/docs/ghl/calendars/edit-appointment
        """
        return self._line.ask(
            endpoints.CHANGE_APPOINTMENT,
            answers.appointment,
            ids=(appointment_id,),
            token=token,
            body=body,
            calls=calls,
        )

    def get_appointment(self, token: str, appointment_id: str, *, calls: Calls = None) -> Appointment:
        """One appointment. https://marketplace.gohighlevel.com/docs/ghl/calendars/get-appointment"""
        return self._line.ask(
            endpoints.GET_APPOINTMENT, answers.appointment, ids=(appointment_id,), token=token, calls=calls
        )

    def events(
        self,
        token: str,
        *,
        location_id: str,
        calendar_id: str,
        start: datetime,
        end: datetime,
        calls: Calls = None,
    ) -> list[Appointment]:
        """A calendar's appointments between two aware moments, in no promised order and all at once.

        https://marketplace.gohighlevel.com/docs/ghl/calendars/get-calendar-events
        """
        query = {
            "locationId": location_id,
            "calendarId": calendar_id,
            "startTime": _milliseconds(start),
            "endTime": _milliseconds(end),
        }
        return self._line.ask(endpoints.EVENTS, answers.appointments, query=query, token=token, calls=calls)

    def contact_appointments(self, token: str, contact_id: str, *, calls: Calls = None) -> list[Appointment]:
        """A contact's appointments. Their times carry no offset.

        https://marketplace.gohighlevel.com/docs/ghl/contacts/get-appointments-for-contact
        """
        return self._line.ask(
            endpoints.CONTACT_APPOINTMENTS, answers.appointments, ids=(contact_id,), token=token, calls=calls
        )

    # Calendars

    def calendars(self, token: str, *, location_id: str, calls: Calls = None) -> list[Calendar]:
        """A location's calendars, drafts included.

        https://marketplace.gohighlevel.com/docs/ghl/calendars/get-calendars
        """
        query = {"locationId": location_id}
        return self._line.ask(
            endpoints.LIST_CALENDARS, answers.calendars, query=query, token=token, calls=calls
        )

    def free_slots(
        self,
        token: str,
        calendar_id: str,
        *,
        start: datetime,
        end: datetime,
        timezone: str | None = None,
        calls: Calls = None,
    ) -> list[str]:
        """The free starts between two aware moments at most 31 days apart, exactly as HighLevel wrote them.

        Send one back unchanged to book it.
        https://marketplace.gohighlevel.com/docs/ghl/calendars/get-slots
        """
        query = {"startDate": _milliseconds(start), "endDate": _milliseconds(end)}
        if timezone is not None:
            query["timezone"] = timezone
        return self._line.ask(
            endpoints.FREE_SLOTS, answers.slots, ids=(calendar_id,), query=query, token=token, calls=calls
        )

    # Contacts and locations

    def search_duplicate(
        self,
        token: str,
        *,
        location_id: str,
        email: str | None = None,
        number: str | None = None,
        calls: Calls = None,
    ) -> Contact | None:
        """The contact of this e-mail address or phone number, also where it is an additional one; None without any.

        A contact created in the last ten seconds or so may not be found yet.
        https://marketplace.gohighlevel.com/docs/ghl/contacts/get-duplicate-contact
        """
        query = {"locationId": location_id, "email": email, "number": number}
        given = {name: value for name, value in query.items() if value is not None}
        return self._line.ask(
            endpoints.SEARCH_DUPLICATE, answers.found_contact, token=token, query=given, calls=calls
        )

    def create_contact(self, token: str, body: Body, *, calls: Calls = None) -> Contact:
        """Create a contact. Raises `DuplicateContact` where the location has it and allows no second one.

        https://marketplace.gohighlevel.com/docs/ghl/contacts/create-contact
        """
        return self._line.ask(endpoints.CREATE_CONTACT, answers.contact, token=token, body=body, calls=calls)

    def upsert_contact(self, token: str, body: Body, *, calls: Calls = None) -> Contact:
        """Find or create a contact by its e-mail or phone, and overwrite what it has, the main e-mail address too.

        `tags` are a ValueError: they replace all others.

        https://marketplace.gohighlevel.com/docs/ghl/contacts/upsert-contact
        """
        if "tags" in body:
            raise ValueError("an upsert with tags replaces all the contact has")
        return self._line.ask(endpoints.UPSERT_CONTACT, answers.contact, token=token, body=body, calls=calls)

    def get_location(
        self, token: str, location_id: str, *, timeout: float | None = None, calls: Calls = None
    ) -> LocationDetails:
        """A sub-account. https://marketplace.gohighlevel.com/docs/ghl/locations/get-location"""
        return self._line.ask(
            endpoints.GET_LOCATION,
            answers.location,
            ids=(location_id,),
            token=token,
            timeout=timeout,
            calls=calls,
        )


def _milliseconds(moment: datetime) -> str:
    """Milliseconds since 1970, as HighLevel's queries want them. A naive datetime is a ValueError."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone")
    return str(round(moment.timestamp() * 1000))
