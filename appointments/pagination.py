"""Cursor pages of the tenant API: `next`, `previous`, `results`. Their `limit` is 1 to 100."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from django.db.models import Model, QuerySet
from drf_spectacular.utils import OpenApiParameter
from pydantic import BaseModel, ConfigDict, Field
from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

from appointments.requests import InvalidRequest, Line, read, storable

AS_THEY_ARE = "In pages: follow the links `next` and `previous` as they are."
# Without `cursor`, which only these links hold.
PAGE_PARAMETERS = [
    OpenApiParameter("limit", {"type": "integer", "minimum": 1, "maximum": 100, "default": 100}),
]
Row = TypeVar("Row", bound=Model)


class PageQuery(BaseModel):
    """The query of a list without filters."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    limit: Annotated[int, Field(ge=1, le=100)] = 100
    cursor: Line | None = None


class Pages(CursorPagination):
    """Pages by the rows' key, which stay in place while newer rows come in.

    `position` reads a key from its text; its ValueError shows that the cursor was made up.
    """

    def __init__(self, page_size: int, ordering: str, position: Callable[[str], object]) -> None:
        self.page_size, self.ordering, self._position = page_size, ordering, position

    def decode_cursor(self, request: Request) -> Cursor | None:
        try:
            cursor = super().decode_cursor(request)
            if cursor is not None and cursor.position is not None:
                self._position(storable(str(cursor.position)))
        except (NotFound, ValueError) as error:
            raise InvalidRequest(("/cursor", "This is no cursor from `next` or `previous`.")) from error
        return cursor

    def response(
        self, rows: QuerySet[Row], request: Request, answer: Callable[[Row], dict[str, Any]]
    ) -> Response:
        """The page that the request asks for, each row as `answer` shows it."""
        page = self.paginate_queryset(rows, request) or []
        return self.get_paginated_response([answer(each) for each in page])


def page_query(request: Request) -> PageQuery:
    """The parameters of a list without filters. Raises InvalidRequest."""
    return read(PageQuery, request.query_params.dict())
