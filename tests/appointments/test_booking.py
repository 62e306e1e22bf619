"""A worker books what was accepted."""

from sandbox import World
from tests.fixtures import Persona, work_once


def test_it_books_an_accepted_request(acme: Persona, highlevel: World) -> None:
    answer = acme.book()

    assert answer.status_code == 202, answer.json()
    work_once()

    booking = acme.api.get(answer.headers["Location"]).json()
    [appointment] = highlevel.diary.everything()
    assert booking["status"] == "booked"
    assert booking["appointmentId"] == appointment.id
    assert booking["inSync"] is True
