"""How a call meets a rejected token: renewed once, replayed once.

No storing and no refreshing: whoever keeps the tokens is a `TokenSource`.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from .errors import TokenRejected

T = TypeVar("T")


class TokenSource(Protocol):
    """Keeps one location's (or agency's) access token."""

    def token(self) -> str:
        """A plain access token, believed valid."""
        ...

    def renew(self, failed: str) -> str:
        """A token other than `failed`; raises if there is none to be had."""
        ...


def authorized(source: TokenSource, call: Callable[[str], T]) -> T:
    """`call` with the source's token, and once more with another where HighLevel rejects that one.

    Safe for writes: a rejected request was not carried out. A missing scope, a foreign location or the wrong
    kind of token is no `TokenRejected`: a refresh would be spent there and change nothing.
    """
    token = source.token()
    try:
        return call(token)
    except TokenRejected:
        return call(source.renew(token))
