"""The schema names what the API takes and gives; that the API keeps to it is in test_published_schema.py."""

import json
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from pydantic import BaseModel

from appointments import answers, locations, requests
from tests.appointments.test_accepting import EXAMPLE
from tests.fixtures import Persona

OURS = {"contact", "externalReference", "metadata", "expiresAt"}
ONE = "/api/v1/bookings/{booking_id}"
ROUTES = {
    *("/api/v1/bookings", ONE, *(f"{ONE}/{route}" for route in ("timeline", "cancel", "retry"))),
    *("/api/v1/locations", "/api/v1/locations/{location_id}"),
}


@pytest.fixture
def schema(db: None) -> Any:
    answer = Client().get("/api/schema/", headers={"Accept": "application/json"})
    assert answer.status_code == 200
    return json.loads(answer.content)


def component(schema: Any, reference: dict[str, str]) -> Any:
    return schema["components"]["schemas"][reference["$ref"].rpartition("/")[2]]


def test_it_is_valid_and_complete(db: None, tmp_path: Any) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yaml"))

    assert (tmp_path / "schema.yaml").read_text().startswith("openapi: 3.1.0")


def test_it_gives_each_definition_a_name_of_its_own(schema: Any) -> None:
    """Two enumerations named Status became one component: locations were answered against a schema of bookings."""
    shown = schema["components"]["schemas"]
    for model in models_of_the_api():
        definitions = model.model_json_schema(ref_template="#/components/schemas/{model}").get("$defs", {})
        for name, definition in definitions.items():
            assert shown[name].get("enum") == definition.get("enum"), name
            assert shown[name].get("properties", {}).keys() == definition.get("properties", {}).keys(), name


def models_of_the_api() -> list[type[BaseModel]]:
    found = [
        each
        for module in (answers, locations, requests)
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, BaseModel) and each.__module__ == module.__name__
    ]
    assert {answers.BookingPage, locations.LocationsAnswer, requests.BookingRequest} <= set(found)
    return found


def test_it_names_the_routes_of_the_api_and_no_others(schema: Any) -> None:
    assert set(schema["paths"]) >= ROUTES
    assert all(path.startswith("/api/v1/") for path in schema["paths"])


def test_it_names_every_field_that_a_request_may_hold(schema: Any) -> None:
    post = schema["paths"]["/api/v1/bookings"]["post"]
    body = component(schema, post["requestBody"]["content"]["application/json"]["schema"])

    assert set(body["properties"]) == set(EXAMPLE) | OURS
    assert body["required"] == ["calendarId", "startTime"]
    assert body["additionalProperties"] is False
    assert list(post["requestBody"]["content"]) == ["application/json"]


def test_it_names_every_field_of_an_answer(acme: Persona, schema: Any) -> None:
    post = schema["paths"]["/api/v1/bookings"]["post"]
    answer = component(schema, post["responses"]["202"]["content"]["application/json"]["schema"])

    assert set(answer["properties"]) == set(acme.book().json())


def test_it_says_what_recurs_and_by_which_clock(schema: Any) -> None:
    post = schema["paths"]["/api/v1/bookings"]["post"]
    body = component(schema, post["requestBody"]["content"]["application/json"]["schema"])
    answer = component(schema, post["responses"]["202"]["content"]["application/json"]["schema"])

    assert "ignoreFreeSlotValidation" in body["properties"]["rrule"]["description"]
    assert "time zone" in answer["properties"]["nextOccurrences"]["description"]


def test_it_gives_examples_of_recurrences_that_are_taken(acme: Persona, schema: Any) -> None:
    post = schema["paths"]["/api/v1/bookings"]["post"]
    body = component(schema, post["requestBody"]["content"]["application/json"]["schema"])

    for rrule in body["properties"]["rrule"]["examples"]:
        assert acme.book({**EXAMPLE, "rrule": rrule}).status_code == 202


def test_it_names_the_filters_with_their_bounds(schema: Any) -> None:
    parameters = {each["name"]: each for each in schema["paths"]["/api/v1/bookings"]["get"]["parameters"]}

    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 50}
    assert "on_hold" in parameters["status"]["schema"]["enum"]
    assert "series" in parameters["appointmentId"]["description"]
    assert {each["in"] for each in parameters.values()} == {"query"}


def test_it_says_that_problems_are_problems(schema: Any) -> None:
    for path in ROUTES:
        for operation in schema["paths"][path].values():
            for status, response in operation["responses"].items():
                kind = "application/json" if status < "300" else "application/problem+json"
                assert list(response["content"]) == [kind], (path, status)


def test_it_shows_the_documentation_without_anybody_elses_server(db: None) -> None:
    answer = Client().get("/api/docs/")

    page = answer.content.decode()
    assert answer.status_code == 200
    assert "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js" in page
    assert "//cdn" not in page
    assert "https://" not in page
    script = Client().get("/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js")
    assert script.status_code == 200
    assert b"SwaggerUIBundle" in b"".join(script)  # type: ignore[arg-type]  (whitenoise streams it)
    script.close()
