"""Authlib's part: the authorization URL with its `state`, the exchange of a code.
The only module that imports Authlib. States are kept by states.py; refreshing is ghl's and vault.py's."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.django_client import DjangoOAuth2App, OAuth
from authlib.integrations.httpx_client import OAuth2Client
from django.conf import settings

from ghl import refusals, transport
from ghl.errors import UnreadableAnswer
from ghl.line import HEADERS
from ghl.types import TokenGrant, parse_token_grant
from oauth import scopes

CHOOSE_LOCATION = "https://marketplace.gohighlevel.com/v2/oauth/chooselocation"
# What Authlib adds to the authorization URL itself; the rest of the install link goes along as it is.
AUTHLIBS_OWN = {"response_type", "client_id", "redirect_uri", "scope", "state"}
# A person waits for it.
LONGEST_EXCHANGE_SECONDS = 10.0
NAME = "highlevel"
# A code made up in the address bar may be a word by which a refusal is known, and is no secret.
SECRET = re.compile(r"[\w-]{20,}", re.ASCII)


class BoundedTransport(httpx2.BaseTransport):
    """ghl's wire under Authlib's client: the same total time-out, the same errors for what breaks."""

    def __init__(self) -> None:
        self._transport = transport.Transport()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        seconds = min(LONGEST_EXCHANGE_SECONDS, settings.GHL_TIMEOUT_SECONDS)
        answer = transport.exchange(self._transport, request, seconds)
        if not answer.whole:
            raise UnreadableAnswer("too long", status=answer.status)
        # The body is read and decompressed already.
        about_the_body = {"content-encoding", "content-length", "transfer-encoding"}
        headers = [(name, value) for name, value in answer.headers.items() if name not in about_the_body]
        return httpx2.Response(answer.status, headers=headers, content=answer.body)

    def close(self) -> None:
        self._transport.close()


class Session(OAuth2Client):  # type: ignore[misc]
    """Authlib's client over httpx2; it is made anew, and closed, for each exchange."""

    def __init__(self, **options: Any) -> None:
        super().__init__(transport=BoundedTransport(), **options)


class HighLevelApp(DjangoOAuth2App):  # type: ignore[misc]
    """Authlib's Django client, over httpx2 instead of requests."""

    client_cls = Session


def redirect_uri() -> str:
    return f"{settings.PUBLIC_URL}/oauth/callback"


def authorization() -> tuple[str, str]:
    """The address of HighLevel's consent page, and the new `state` in it."""
    created = _app().create_authorization_url(redirect_uri())
    return created["url"], created["state"]


def exchange(code: str) -> TokenGrant:
    """Trade the code of a callback for tokens.

    Raises: HighLevelError.
    """
    return _granted(lambda: _app().fetch_access_token(redirect_uri=redirect_uri(), code=code))


def _granted(fetch: Callable[[], Mapping[str, object]]) -> TokenGrant:
    try:
        return parse_token_grant(fetch())
    except (AuthlibBaseError, ValueError) as error:
        # Every refusal was raised by the hook below: this is a 2xx that holds no token.
        raise UnreadableAnswer(type(error).__name__) from error


@cache
def _app() -> Any:
    link = urlsplit(settings.GHL_INSTALL_URL or CHOOSE_LOCATION)
    given = dict(parse_qsl(link.query))
    return OAuth().register(
        NAME,
        client_cls=HighLevelApp,
        client_id=settings.GHL_CLIENT_ID,
        client_secret=settings.GHL_CLIENT_SECRET,
        authorize_url=f"{link.scheme}://{link.netloc}{link.path}",
        authorize_params={name: value for name, value in given.items() if name not in AUTHLIBS_OWN},
        access_token_url=f"{settings.GHL_API_BASE_URL}/oauth/token",
        access_token_params={"user_type": "Location"},
        client_kwargs={
            "scope": given.get("scope") or " ".join(scopes.NEEDED),
            "token_endpoint_auth_method": "client_secret_post",
        },
        user_agent=HEADERS["User-Agent"],
        compliance_fix=_hand_refusals_on,
    )


def _hand_refusals_on(session: OAuth2Client) -> None:
    """Authlib takes a 400 without an `error` key for a token, so every answer that is not 2xx is stopped here."""

    def refuse(response: httpx2.Response) -> httpx2.Response:
        if not response.is_success:
            raise refusals.from_response(
                response.status_code, response.headers, _sealed(response), kind="code"
            )
        return response

    session.register_compliance_hook("access_token_response", refuse)


def _sealed(response: httpx2.Response) -> bytes:
    """The body without what we sent in confidence, should HighLevel quote it back."""
    sent = dict(parse_qsl(response.request.content.decode()))
    body = response.content
    for secret in (sent["code"], sent["client_secret"]):
        if SECRET.fullmatch(secret):
            body = body.replace(secret.encode(), b"<sealed>")
    return body
