"""What the published schema says beyond the fields' own types: patterns, rules between fields, headers of answers.
The types are in requests.py and answers.py."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiParameter

Schema = dict[str, Any]
NULL: Schema = {"type": "null"}
# For generators of examples too: JSON can say a NUL, PostgreSQL cannot store it.
NO_NUL = r"^[^\u0000]*$"


def untitled(schema: Schema) -> None:
    """For `json_schema_extra`: without the title that pydantic makes of each field's name."""
    for field in schema["properties"].values():
        field.pop("title", None)


def untitled_with(*rules: Schema) -> Callable[[Schema], None]:
    """For `json_schema_extra`: the same, with rules between fields."""

    def extend(schema: Schema) -> None:
        untitled(schema)
        schema["allOf"] = list(rules)

    return extend


def given(field: str, value: str | bool, absent: str | None = None) -> Schema:
    """A body that holds a field, of a type or just this value, and not `absent`, which is left out or null."""
    held: Schema = {"type": value} if isinstance(value, str) else {"const": value}
    return {"required": [field], "properties": {field: held, **({absent: NULL} if absent else {})}}


def without_null(schema: Schema, kept: tuple[str, ...]) -> None:
    """Say that no field but the `kept` ones takes null."""
    for name, field in schema["properties"].items():
        if name in kept or NULL not in field.get("anyOf", ()):
            continue
        types = [each for each in field.pop("anyOf") if each != NULL]
        field.pop("default", None)
        schema["properties"][name] = {**types[0], **field} if len(types) == 1 else {"anyOf": types, **field}


def storable(max_length: int) -> Schema:
    return {"type": "string", "maxLength": max_length, "pattern": NO_NUL}


def texts_by_name(*, most: int, name: int, text: int) -> Schema:
    """An object of at most so many texts; names and texts have at most so many characters."""
    return {
        "type": "object",
        "maxProperties": most,
        "propertyNames": storable(name),
        "additionalProperties": storable(text),
    }


def custom_field_value(max_text: int, max_number: int, max_choices: int) -> Schema:
    text = storable(max_text)
    return {
        "anyOf": [
            text,
            {"type": "boolean"},
            {"type": "number", "minimum": -max_number, "maximum": max_number},
            {"type": "array", "items": text, "maxItems": max_choices},
        ]
    }


def response_header(name: str, description: str, *statuses: int, required: bool = True) -> OpenApiParameter:
    """A header of the answers with these statuses; of all without any."""
    return OpenApiParameter(
        name, str, "header", required=required, description=description, response=list(statuses) or True
    )


REQUEST_ID = response_header("X-Request-Id", "Shared by the lines of the log about this request.")
ERROR_HEADERS = [
    REQUEST_ID,
    response_header("WWW-Authenticate", "`Bearer` (RFC 6750).", 401),
    response_header("Retry-After", "Seconds until it is worth trying again.", 429, 503),
]


def etag(*statuses: int) -> OpenApiParameter:
    return response_header("ETag", "Of the booking as it stands, for `If-Match`.", *statuses)
