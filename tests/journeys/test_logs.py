"""The logs of a whole run, at their most talkative, hold no secret and nothing about a person."""

import os
import subprocess
import sys
from typing import Any

import httpx2
import psycopg
import pytest

from ghlapp.local.files import read_private
from ghlapp.local.processes import wait_until
from tests.chaos.desk import Desk
from tests.fixtures import ACME_CALENDAR, ACME_LOCATION
from tests.journeys.conftest import ROOT, Demo

pytestmark = pytest.mark.xdist_group("demo")

CONTACT = {
    "firstName": "Zebedeus",
    "lastName": "Quillfeather",
    "email": "zebedeus.quillfeather@example.com",
    "phone": "+14155550187",
}
TEXTS = {"title": "Quillfeather's gout", "description": "gout since May", "address": "9 Unlisted Mews"}
PERSONAL = ["zebedeus", "quillfeather", "4155550187", "gout", "unlisted mews", "kin-of-4711"]
CODE, WRONG_KEY = "c0de" * 10, "bk_abcdefghijkl_wrong-secret-of-a-key"
PASSWORD = "a-password-nobody-has"
STORED_TOKENS = """
from oauth import keeping
from oauth.models import Token
for token in Token.objects.all():
    print(keeping.opened(token, "access_token"))
    if token.refresh_token:
        print(keeping.opened(token, "refresh_token"))
"""
WAIT_SECONDS = 60


@pytest.fixture(scope="module")
def eventful(demo: Demo) -> Demo:
    """A demo in which everything that carries a secret or personal data has been through every log."""
    desk = Desk(demo.sandbox_url)
    with httpx2.Client(base_url=demo.public_url, headers={"Authorization": f"Bearer {demo.key}"}) as tenant:
        _book_through_faults(tenant, desk)
        _be_refused(tenant)
        _come_by_the_other_doors(demo.public_url)
    desk.close()
    return demo


def _book_through_faults(tenant: httpx2.Client, desk: Desk) -> None:
    kinds = ("error_500_after", "html_502", "cut_after", "truncated_json", "token_revoked")
    desk.order([{"kind": kind, "operation": "create_appointment", "times": 1} for kind in kinds])
    changes = [{"startTime": f"2031-02-03T0{number}:00:00Z"} for number in range(len(kinds))]
    changes += [{"calendarId": "unknown"}, {"assignedUserId": "unknown"}]
    for path in _decided(tenant, [_body(externalReference="kin-of-4711", **each) for each in changes]):
        tenant.patch(path, json={"title": "Quillfeather's other gout"})
        tenant.post(f"{path}/cancel")


def _body(**changes: Any) -> dict[str, Any]:
    body = {"locationId": ACME_LOCATION, "calendarId": ACME_CALENDAR, "contact": CONTACT, **TEXTS}
    options = {"ignoreFreeSlotValidation": True, "assignedUserId": "0007BWpSzSwfiuSl0tR2"}
    return {**body, **options, "startTime": "2031-02-04T10:00:00Z", **changes}


def _decided(tenant: httpx2.Client, bodies: list[dict[str, Any]]) -> list[str]:
    """The paths of bookings with these bodies, once each is booked or refused."""
    accepted = [tenant.post("/api/v1/bookings", json=body) for body in bodies]
    assert {each.status_code for each in accepted} == {202}, accepted[-1].text
    paths = [each.headers["Location"] for each in accepted]
    for path in paths:
        assert wait_until(lambda path=path: tenant.get(path).json()["status"] != "pending", WAIT_SECONDS, 0.1)
    return paths


def _be_refused(tenant: httpx2.Client) -> None:
    for body in (
        _body(startTime="Quillfeather"),
        _body(gout="Quillfeather"),
        _body(contact={"email": "Quillfeather"}),
    ):
        assert tenant.post("/api/v1/bookings", json=body).status_code == 400
    half = b'{"title": "Quillfeather'
    assert tenant.post("/api/v1/bookings", content=half).status_code in {400, 415}
    assert tenant.get("/api/v1/bookings", params={"externalReference": "kin-of-4711"}).status_code == 200
    assert tenant.get("/api/v1/bookings", params={"quillfeather": "gout"}).status_code == 400
    wrong = {"Authorization": f"Bearer {WRONG_KEY}"}
    assert tenant.get("/api/v1/bookings", headers=wrong).status_code == 401


def _come_by_the_other_doors(url: str) -> None:
    with httpx2.Client(base_url=url) as stranger:
        stranger.get("/oauth/callback", params={"code": CODE})
        stranger.get("/oauth/callback", params={"code": CODE, "state": "made-up-quillfeather"})
        event = {"type": "ContactCreate", "contact": CONTACT}
        assert stranger.post("/webhooks/highlevel", json=event).status_code == 401
        form = stranger.get("/admin/login/")
        fields = {"username": "operator", "password": PASSWORD, "csrfmiddlewaretoken": _csrf(form)}
        stranger.post("/admin/login/", data=fields, headers={"Referer": url})


def _csrf(form: httpx2.Response) -> str:
    return form.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]


def logs(demo: Demo) -> str:
    """What our own processes and the servers that we run for them have written; the sandbox plays HighLevel."""
    written = [path for path in demo.instance.rglob("*.log") if path.name != "sandbox.log"]
    assert {"web.log", "worker.log", "beat.log"} <= {path.name for path in written}
    return "\n".join(path.read_text(errors="replace") for path in written if path.name != "tour.log").lower()


def found(needles: list[str], text: str) -> list[str]:
    """Where they stand, with what is around them."""
    return [text[max(0, at - 200) : at + 60] for each in needles if (at := text.find(each.lower())) >= 0]


def test_they_tell_what_happened(eventful: Demo) -> None:
    """Else the others would find nothing in anything."""
    text = logs(eventful)

    assert '"level": "debug"' in text
    for line in ("is booked", "is rejected", "post /api/v1/bookings", "an install ended with"):
        assert line in text


def test_they_hold_nothing_about_a_person(eventful: Demo) -> None:
    assert found(PERSONAL, logs(eventful)) == []


def test_they_hold_no_secret(eventful: Demo) -> None:
    servers = read_private(eventful.instance / "servers.json")
    secrets = read_private(eventful.instance / "secrets.json")
    passwords = [psycopg.conninfo.conninfo_to_dict(servers["DATABASE_URL"])["password"]]
    passwords.append(httpx2.URL(servers["REDIS_URL"]).password)
    known = [*secrets.values(), *map(str, passwords), eventful.key, WRONG_KEY, CODE, PASSWORD]

    assert all(len(each) > 15 for each in known)
    assert found([*known, *stored_tokens({**secrets, **servers})], logs(eventful)) == []


def stored_tokens(settings: dict[str, str]) -> list[str]:
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", STORED_TOKENS]
    environment = {**os.environ, **settings}
    shown = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    tokens = [line for line in shown.stdout.splitlines() if line]
    assert len(tokens) >= 4
    assert all(len(token) > 100 for token in tokens)
    return tokens
