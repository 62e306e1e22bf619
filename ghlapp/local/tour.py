"""What `make demo` shows: two installs and eight bookings through a running stack, told as they happen.
It talks to the app and the sandbox over HTTP only, like a browser and a tenant's system would."""

import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from html import unescape
from typing import Any

import httpx2

from ghlapp.local.files import FOLDER

READY_SECONDS = 60
BOOKED_SECONDS = 30
LOCATION, CALENDAR = "C2QujeCh8ZnC7al2InWR", "CVokAlI8fgw4WYWoCtQz"
USER = CONTACT = "0007BWpSzSwfiuSl0tR2"
AGENCY = "GNb7aIv4rQFVb9iwNl5K"
LAKESIDE, CHECK_UP = "l1C08ntBrFjLS0elLIYU", "BqTwX8QFwXzpegMve9EQ"
DENTIST, PATIENT = "Rg6BRRiHh7dS9gJy3W8b", "9NkT25Vor1v4aQatFsv2"
INDIA = timezone(timedelta(hours=5, minutes=30))

# HighLevel's own example of create-appointment, but for its `"rrule": "string"`.
EXAMPLE = {
    "title": "Test Event",
    "meetingLocationType": "custom",
    "meetingLocationId": "custom_0",
    "overrideLocationConfig": True,
    "appointmentStatus": "confirmed",
    "assignedUserId": USER,
    "description": "Booking a call to discuss the project",
    "address": "Zoom",
    "ignoreDateRange": False,
    "toNotify": False,
    "ignoreFreeSlotValidation": True,
    "rrule": "FREQ=WEEKLY;COUNT=4",
    "calendarId": CALENDAR,
    "locationId": LOCATION,
    "contactId": CONTACT,
    "startTime": "2021-06-23T03:30:00+05:30",
    "endTime": "2021-06-23T04:30:00+05:30",
}


def is_decided(booking: dict[str, Any]) -> bool:
    return booking["status"] not in ("pending", "on_hold")


class StepFailed(Exception):
    """A step of the tour did not go as it should."""


def run(public_url: str, sandbox_url: str) -> int:
    """The exit code: 0 when every step went as it should."""
    try:
        with httpx2.Client(timeout=40) as http:
            Tour(http, public_url, sandbox_url).run()
    except (StepFailed, httpx2.HTTPError) as error:
        say(f"\nThe tour failed: {error or type(error).__name__}")
        return 1
    return 0


def say(line: str = "") -> None:
    print(line, flush=True)


class Tour:
    def __init__(self, http: httpx2.Client, public_url: str, sandbox_url: str) -> None:
        self._http, self._public_url, self._sandbox_url = http, public_url, sandbox_url
        self._key = ""
        self._day = datetime.now(INDIA).replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=2)

    def run(self) -> None:
        self._wait_until_ready()
        self._install()
        self._get_key()
        for step in STEPS:
            step(self)
        self._tell_where_to_look()

    # --- Getting there ------------------------------------------------------------------------------------

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            if time.monotonic() > until:
                raise StepFailed(f"{self._public_url}/readyz did not answer within {READY_SECONDS} seconds")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            return self._http.get(f"{self._public_url}/readyz").status_code == 200
        except httpx2.TransportError:
            return False  # not listening yet

    def _install(self) -> None:
        say("\n1. An agency installs the app: OAuth, as a browser does it")
        consent = self._http.get(f"{self._public_url}/oauth/install", follow_redirects=True)
        say(f"   GET /oauth/install led to HighLevel's consent page ({consent.status_code})")
        answer = self._http.post(
            str(consent.url),
            data={**_hidden_fields(consent.text), "choice": f"location:{LOCATION}", "decision": "allow"},
            follow_redirects=True,
        )
        if answer.status_code != 200 or LOCATION not in answer.text:
            raise StepFailed(f"the install ended with {answer.status_code} at {answer.url.path}")
        say(f"   allowed there, and back at {answer.url.path}: location {LOCATION} is connected")

    def _get_key(self) -> None:
        self._issue_key("--location", LOCATION)

    def _issue_key(self, *covering: str) -> None:
        command = [sys.executable, "manage.py", "issue_api_key", "--tenant", "demo", *covering]
        issued = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=False)
        if issued.returncode != 0:
            raise StepFailed(f"issue_api_key failed: {issued.stderr.strip()}")
        self._key = issued.stdout.strip()
        self._http.headers["Authorization"] = f"Bearer {self._key}"
        say(f"   manage.py issue_api_key --tenant demo {' '.join(covering)}")

    # --- Bookings -----------------------------------------------------------------------------------------

    def example(self) -> None:
        say("\n2. The request of HighLevel's own documentation, as it stands (with a valid rrule)")
        self._book(EXAMPLE, wanted="booked")

    def trouble(self) -> None:
        say("\n3. HighLevel answers 429 and then 500: nothing is lost, nothing is booked twice")
        self._order_fault("too_many_requests", "Stormy weather", retry_after=1)
        self._order_fault("error_500_before", "Stormy weather")
        self._book(self._at(0, title="Stormy weather 🌩️"), wanted="booked")

    def expired_token(self) -> None:
        say("\n4. The access token has run out: refreshed once, replayed once")
        self._sandbox(f"/locations/{LOCATION}", {"revoke_tokens": True})
        self._book(self._at(1, title="After a refresh"), wanted="booked")

    def taken_slot(self) -> None:
        say("\n5. Somebody else has the slot: refused for good, and said so")
        self._book(self._at(1, title="Too late"), wanted="rejected")

    def new_contact(self) -> None:
        say("\n6. A contact given by e-mail: found or created first")
        contact = {"name": "Noor Haddad", "email": "noor@example.com"}
        self._book(self._at(2, title="موعد مع نور", contactId=None, contact=contact), wanted="booked")

    def lost_answer(self) -> None:
        say("\n7. HighLevel books it and the connection is cut: looked up and adopted, not booked again")
        self._order_fault("cut_after", "Cut off")
        self._book(self._at(3, title="Cut off"), wanted="booked")

    def second_thoughts(self) -> None:
        say("\n8. Moved by an hour, then cancelled: HighLevel follows")
        booking = self._book(self._at(4, title="Second thoughts"), wanted="booked")
        url = f"{self._public_url}/api/v1/bookings/{booking['id']}"
        self._http.patch(url, json={"startTime": (self._day + timedelta(hours=5)).isoformat()})
        self._follow(booking["id"], "PATCH startTime", lambda now: now["inSync"])
        self._http.post(f"{url}/cancel")
        booking = self._follow(booking["id"], "POST cancel", lambda now: now["status"] == "cancelled")
        self._tell_timeline(booking["id"])
        self._compare_with_the_sandbox(booking)

    def whole_agency(self) -> None:
        say("\n9. The whole agency installs the app: every sub-account is connected, and one booked at once")
        consent = self._http.get(f"{self._public_url}/oauth/install", follow_redirects=True)
        self._http.post(
            str(consent.url),
            data={**_hidden_fields(consent.text), "choice": f"agency:{AGENCY}", "decision": "allow"},
            follow_redirects=True,
        )
        self._wait_for("every sub-account is connected", self._all_are_connected)
        self._issue_key("--agency", AGENCY)
        found = self._http.get(f"{self._public_url}/api/v1/locations").json()["results"]
        for each in found:
            say(f"   {each['id']}  {each['status']:9}  {each['name']}")
        start = self._at(5)
        body = {
            **start,
            "locationId": LAKESIDE,
            "calendarId": CHECK_UP,
            "contactId": PATIENT,
            "title": "Check-up",
        }
        self._book({**body, "ignoreFreeSlotValidation": True, "assignedUserId": DENTIST}, wanted="booked")

    def _all_are_connected(self) -> bool:
        page = self._http.get(f"{self._public_url}/oauth/progress").text
        return "3 of its sub-accounts are connected" in page

    def _wait_for(self, what: str, is_so: Callable[[], bool]) -> None:
        until = time.monotonic() + BOOKED_SECONDS
        while not is_so():
            if time.monotonic() > until:
                raise StepFailed(f"{what}: not after {BOOKED_SECONDS} seconds")
            time.sleep(0.1)
        say(f"   {what}")

    def _follow(
        self, booking_id: str, asked: str, is_done: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        booking = self._settled(booking_id, is_done)
        say(f"   {asked} → 202 → {booking['status']}, starts {booking['startTime']}")
        return booking

    def _at(self, hour: int, **changes: Any) -> dict[str, Any]:
        """A free slot of the day, an hour apart from the others."""
        start = self._day + timedelta(hours=hour)
        body = {
            "calendarId": CALENDAR,
            "contactId": CONTACT,
            "startTime": start.isoformat(),
            "endTime": (start + timedelta(minutes=30)).isoformat(),
            **changes,
        }
        return {name: value for name, value in body.items() if value is not None}

    def _book(self, body: dict[str, Any], *, wanted: str) -> dict[str, Any]:
        answer = self._http.post(
            f"{self._public_url}/api/v1/bookings", json=body, headers={"Idempotency-Key": str(uuid.uuid4())}
        )
        if answer.status_code != 202:
            raise StepFailed(f"POST /api/v1/bookings answered {answer.status_code}: {answer.text}")
        booking = self._settled(answer.json()["id"])
        say(f"   POST /api/v1/bookings → 202 {booking['id']} → {booking['status']}{_end(booking)}")
        self._tell_timeline(booking["id"])
        if booking["status"] != wanted:
            raise StepFailed(f"the booking should be {wanted} and is {booking['status']}: {booking['error']}")
        self._compare_with_the_sandbox(booking)
        return booking

    def _settled(
        self, booking_id: str, is_done: Callable[[dict[str, Any]], bool] = is_decided
    ) -> dict[str, Any]:
        until = time.monotonic() + BOOKED_SECONDS
        while True:
            booking: dict[str, Any] = self._http.get(
                f"{self._public_url}/api/v1/bookings/{booking_id}"
            ).json()
            if is_done(booking):
                return booking
            if time.monotonic() > until:
                raise StepFailed(f"the booking is still {booking['status']} after {BOOKED_SECONDS} seconds")
            time.sleep(0.1)

    def _tell_timeline(self, booking_id: str) -> None:
        timeline = self._http.get(f"{self._public_url}/api/v1/bookings/{booking_id}/timeline").json()
        for entry in timeline["results"]:
            say(f"      {entry['at'][11:23]}  {_told(entry)}")

    def _compare_with_the_sandbox(self, booking: dict[str, Any]) -> None:
        """HighLevel's books hold this title once where it is booked, and never where it is not."""
        books = self._http.get(
            f"{self._sandbox_url}/_sandbox/appointments", params={"location_id": booking["locationId"]}
        ).json()
        # The occurrences of a recurring appointment are one.
        found = {
            each.get("masterEventId") or each["id"]
            for each in books["appointments"]
            if each["title"] == booking["title"] and each["appointmentStatus"] != "cancelled"
        }
        if len(found) != (booking["status"] == "booked"):
            raise StepFailed(f"HighLevel has {len(found)} appointments called {booking['title']}")

    def _order_fault(self, kind: str, title: str, **more: Any) -> None:
        self._sandbox(
            "/faults", {"kind": kind, "operation": "create_appointment", "match": {"title": title}, **more}
        )

    def _sandbox(self, path: str, body: dict[str, Any]) -> None:
        answer = self._http.post(f"{self._sandbox_url}/_sandbox{path}", json=body)
        if answer.status_code >= 300:
            raise StepFailed(f"the sandbox answered {answer.status_code}: {answer.text}")

    def _tell_where_to_look(self) -> None:
        say(f"""
Every step went as it should.
   The calendars in the pretend HighLevel   {self._sandbox_url}/
   The API, with a page to try it           {self._public_url}/api/docs/
   Install it once more, as a person        {self._public_url}/oauth/install
   An API key for the whole agency
      {self._key}
   Try it:
      curl -s {self._public_url}/api/v1/bookings -H 'Authorization: Bearer {self._key}'
""")


STEPS: tuple[Callable[[Tour], None], ...] = (
    Tour.example,
    Tour.trouble,
    Tour.expired_token,
    Tour.taken_slot,
    Tour.new_contact,
    Tour.lost_answer,
    Tour.second_thoughts,
    Tour.whole_agency,
)


def _hidden_fields(page: str) -> dict[str, str]:
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page)
    return {name: unescape(value) for name, value in found}


def _end(booking: dict[str, Any]) -> str:
    if booking["appointmentId"]:
        return f", appointment {booking['appointmentId']}"
    return f", {booking['error']['code']}: {booking['error']['detail']}" if booking["error"] else ""


def _told(entry: dict[str, Any]) -> str:
    call = entry["call"]
    if call is None:
        return f"{entry['from'] or 'new'} → {entry['to']} ({entry['reason']})"
    status = call["status"] or "no answer,"
    return f"{call['method']} {call['path']} → {status} {call['outcome']}, {call['durationMs']} ms"
