"""Who may do what: keys, scopes, strangers' bookings, locations that are gone."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from oauth import keys
from oauth.models import Location
from oauth.scopes import BOOKINGS_READ, BOOKINGS_WRITE, CALENDARS_READ
from tests.fixtures import GLOBEX_LOCATION, Persona, booking_body

READS = ("/api/v1/bookings/{id}", "/api/v1/bookings/{id}/timeline")


def is_problem(answer: Any, status: int, code: str) -> None:
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert answer.json()["requestId"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer nonsense",
        "Bearer bk_aaaaaaaaaaaa_secret",
        "Basic YTpi",
        "Bearer é",
    ],
)
@pytest.mark.parametrize(
    "path", ["/api/v1/bookings", "/api/v1/bookings/019a2029-cd8b-70d7-b716-1f33fc6d7e23"]
)
def test_it_wants_a_valid_key(db: None, header: str | None, path: str) -> None:
    client = APIClient()
    if header is not None:
        client.credentials(HTTP_AUTHORIZATION=header)

    answer = client.get(path)

    is_problem(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_it_lets_a_revoked_key_do_nothing(acme: Persona) -> None:
    keys.revoke(acme.key)

    is_problem(acme.book(), 401, "unauthorized")


def test_it_answers_a_stranger_as_if_there_were_no_booking(acme: Persona, globex: Persona) -> None:
    ours = acme.book().json()["id"]

    for path in READS:
        strangers, nobodys = (
            globex.api.get(path.format(id=each)) for each in (ours, "01890000-0000-7000-8000-000000000000")
        )
        is_problem(strangers, 404, "not_found")
        is_problem(nobodys, 404, "not_found")
        assert {**strangers.json(), "requestId": ""} == {**nobodys.json(), "requestId": ""}
        assert acme.api.get(path.format(id=ours)).status_code == 200


def test_it_wants_the_scope_for_what_is_done(acme: Persona) -> None:
    booking_id = acme.book().json()["id"]

    def with_scope(scope: str) -> Persona:
        key, text = keys.issue(acme.tenant, locations=[acme.location], scopes=[scope])
        return Persona(acme.tenant, acme.location, key, text)

    reader, writer, neither = (with_scope(each) for each in (BOOKINGS_READ, BOOKINGS_WRITE, CALENDARS_READ))
    is_problem(reader.book(), 403, "insufficient_scope")
    assert writer.book().status_code == 202
    for path in ("/api/v1/bookings", *READS):
        assert reader.api.get(path.format(id=booking_id)).status_code == 200
        is_problem(writer.api.get(path.format(id=booking_id)), 403, "insufficient_scope")
        is_problem(neither.api.get(path.format(id=booking_id)), 403, "insufficient_scope")


def test_it_reads_but_does_not_book_where_the_app_was_uninstalled(acme: Persona, globex: Persona) -> None:
    booking_id = acme.book().json()["id"]
    acme.key.locations.add(globex.location)
    Location.objects.filter(pk=acme.location.pk).update(status=Location.Status.UNINSTALLED)

    is_problem(acme.book(), 403, "location_disconnected")
    for path in ("/api/v1/bookings", *READS):
        assert acme.api.get(path.format(id=booking_id)).status_code == 200
    assert acme.book(booking_body(locationId=GLOBEX_LOCATION)).status_code == 202
    # A stranger learns nothing of it.
    is_problem(globex.book(), 403, "location_not_allowed")
