"""Many connected locations at once, without going through an install for each.
Their tokens are sealed and dated by the code that does it for one."""

from typing import Any

from ghl.types import parse_token_grant
from oauth import keeping
from oauth.models import Location, Token

AT_ONCE = 1000


def connect(answers: list[dict[str, Any]]) -> None:
    """Keep locations with the tokens that HighLevel's answers hold."""
    locations = [Location(pk=each["locationId"]) for each in answers]
    Location.objects.bulk_create(locations, AT_ONCE)
    Token.objects.bulk_create([_token(each) for each in answers], AT_ONCE)


def _token(answer: dict[str, Any]) -> Token:
    token = Token(location_id=answer["locationId"])
    for name, value in keeping.columns_of(token, parse_token_grant(answer)).items():
        setattr(token, name, value)
    return token
