"""HighLevel's instants held against each other, whatever told them: a letter, a list, a token.
Our own clock has no place here: nobody knows by how much it differs from HighLevel's."""

from datetime import datetime, timedelta

# A token's `iat` is in whole seconds: it was issued then or up to a second later.
IAT_STEP = timedelta(seconds=1)


def latest(*instants: datetime | None) -> datetime | None:
    return max((each for each in instants if each is not None), default=None)


def is_surely_before(issued: datetime | None, moment: datetime | None) -> bool:
    """Whether a token was issued before that moment, however late in its second. What is unknown is not sure."""
    return issued is not None and moment is not None and issued + IAT_STEP <= moment


def may_be_before(issued: datetime | None, moment: datetime | None) -> bool:
    """Whether it cannot be told that a token was issued after that moment."""
    return issued is None or moment is None or issued <= moment
