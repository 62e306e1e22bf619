"""`schemathesis run`, started as users may start it, finds no answer that differs from the published schema."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given, settings

from appointments.models import Booking
from ghlapp.wsgi import application
from oauth import keys
from oauth.models import Location
from sandbox import seed
from tests import web
from tests.fixtures import GLOBEX_CALENDAR, GLOBEX_CONTACT, GLOBEX_LOCATION, Persona, booking_body, work_once

RUN_SECONDS = 100
# Where valid data may be refused: by a rule between fields, of a clock, of a database of zones, numbers or domains.
BEYOND_A_SCHEMA = {
    "/endTime", "/expiresAt", "/locationId", "/rrule", "/contact/email", "/contact/phone", "/contact/timezone",
    "/contact/dateOfBirth", "/contact/website",
}  # fmt: skip


@pytest.fixture
def key(acme: Persona, globex: Persona, connect: Callable[[str], Location]) -> str:
    """A key of acme's for three locations, of which one is suspended, with bookings in every status."""
    third = connect(seed.THIRD_LOCATION)
    _, text = keys.issue(acme.tenant, locations=[acme.location, globex.location, third], name="schemathesis")
    acme.text = text
    acme.book(booking_body(description="Bring the forms", externalReference="order 1", metadata={"a": "b"}))
    acme.book(booking_body(rrule="FREQ=DAILY;COUNT=5", ignoreFreeSlotValidation=True))
    acme.book(booking_body(contactId="unknownContact"))
    work_once()
    acme.api.post(f"/api/v1/bookings/{acme.book().json()['id']}/cancel")
    expired = acme.book().json()["id"]
    Booking.objects.filter(pk=expired).update(expires_at=timezone.now() - timedelta(hours=1))
    third.brake(Location.Waiting.SUSPENDED, None, Location.Status.SUSPENDED)
    elsewhere = {"locationId": seed.THIRD_LOCATION, "calendarId": seed.THIRD_CALENDAR, "contactId": "x"}
    acme.book(booking_body(**elsewhere))
    work_once()
    elsewhere = {"locationId": GLOBEX_LOCATION, "calendarId": GLOBEX_CALENDAR, "contactId": GLOBEX_CONTACT}
    acme.book(booking_body(**elsewhere))
    globex.book(booking_body(**elsewhere))
    assert {*Booking.objects.values_list("status", flat=True)} == {*Booking.Status}
    return text


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(RUN_SECONDS + 80)
def test_it_answers_as_the_schema_says_whatever_comes(key: str, tmp_path: Path) -> None:
    report, config = tmp_path / "report.json", tmp_path / "schemathesis.toml"
    config.write_text((web.ROOT / "schemathesis.toml").read_text() + known_bookings())
    with web.serve(tmp_path / "web.log") as port:
        run = subprocess.run(
            [
                *(
                    Path(sys.executable).with_name("schemathesis"),
                    f"--config-file={config}",
                ),
                *("run", f"http://127.0.0.1:{port}/api/schema/", f"--url=http://127.0.0.1:{port}"),
                *(f"--header=Authorization: Bearer {key}", "--max-examples=15", "--seed=1", "--no-color"),
                *("--generation-database=none", f"--report-json-path={report}"),
            ],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )

    assert run.returncode == 0, run.stdout
    # A run that only meets rows that are not there, or bodies that are refused, finds nothing either.
    rates = json.loads(report.read_text())["valid_rates"]
    reached = {
        operation
        for operation, phases in rates.items()
        if any(phase["accepted"] or phase["conflicts"] for phase in phases.values())
    }
    assert reached == operations(), run.stdout


def known_bookings() -> str:
    """Ids for the operations that few bookings allow, which draws would hit by luck alone."""
    wanted = {"retryBooking": Booking.Status.REJECTED, "changeBooking": Booking.Status.BOOKED}
    return "".join(
        f'\n[[operations]]\ninclude-operation-id = "{operation}"\n'
        f'parameters = {{ "path.booking_id" = "{Booking.objects.filter(status=status).latest("id").pk}" }}\n'
        for operation, status in wanted.items()
    )


def operations() -> set[str]:
    paths = Client().get("/api/schema/", headers={"Accept": "application/json"}).json()["paths"]
    return {f"{method.upper()} {path}" for path, item in paths.items() for method in item}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("path", "method"), [("/api/v1/bookings", "POST"), ("/api/v1/bookings/{booking_id}", "PATCH")]
)
def test_it_refuses_valid_data_only_by_rules_that_no_schema_can_say(
    acme: Persona, path: str, method: str
) -> None:
    booking_id = acme.book().json()["id"]
    operation = schemathesis.openapi.from_wsgi("/api/schema/", application)[path][method]
    refused, statuses = set[str](), set[int]()

    @settings(
        max_examples=60,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(operation.as_strategy())
    def send(case: Any) -> None:
        if isinstance(case.body, dict) and case.path_parameters:
            case.path_parameters["booking_id"] = booking_id
            case.headers.pop("If-Match", None)
            # Once it is cancelled there is nothing left to change.
            case.body = {name: case.body[name] for name in case.body if name != "appointmentStatus"}
        answer = case.call(headers={"Authorization": f"Bearer {acme.text}"})
        statuses.add(answer.status_code)
        if answer.status_code == 400:
            refused.update(error["pointer"] for error in answer.json()["errors"])

    send()

    assert refused <= BEYOND_A_SCHEMA
    assert 202 in statuses
