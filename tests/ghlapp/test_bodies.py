"""A body that comes in chunks, without a length, is a body all the same."""

import json
from io import BytesIO
from typing import Any

import pytest

from appointments.models import Booking
from tests.fixtures import Persona, booking_body


def post_chunked(acme: Persona, body: bytes) -> tuple[int, dict[str, Any]]:
    """As granian hands it over: no CONTENT_LENGTH, an input that ends by itself."""
    from ghlapp.wsgi import application

    status = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/api/v1/bookings",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "HTTP_HOST": "testserver",
        "HTTP_AUTHORIZATION": f"Bearer {acme.text}",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "CONTENT_TYPE": "application/json",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
    }
    answer = b"".join(application(environ, lambda line, _: status.append(line)))  # type: ignore[arg-type]
    return int(status[0].split()[0]), json.loads(answer)


@pytest.mark.django_db(transaction=True)
def test_it_takes_a_chunked_body(acme: Persona) -> None:
    status, booking = post_chunked(acme, json.dumps(booking_body()).encode())

    assert status == 202, booking
    assert Booking.objects.get().wish["title"] == booking["title"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("megabytes", [1, 3])
def test_it_refuses_a_chunked_body_that_is_too_large(acme: Persona, megabytes: int) -> None:
    status, problem = post_chunked(acme, b'{"title": "' + b"x" * megabytes * 1024 * 1024 + b'"}')

    assert (status, problem["code"]) == (413, "body_too_large")
