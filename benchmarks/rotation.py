"""Rotating the token keys: values sealed anew a second, beside plain UPDATEs of the same rows.
A value costs opening and sealing on top, and the comparison that lets a newer one win."""

import time
from collections.abc import Callable

from benchmarks.accounts import connect
from benchmarks.ratios import Ratio
from benchmarks.stack import NEW_KEY, OLD_KEY, Stack
from oauth import rotation
from oauth.models import Token
from oauth.sealing import KeyRing, Sealed, key_id

FIELDS = ("access_token", "refresh_token")


def measure(stack: Stack) -> list[Ratio]:
    locations = 200 if stack.short else 5_000
    with stack.sandbox() as desk:
        connect(desk.tokens(locations))
    with_old_key = [(token.pk, _sealed_before(token)) for token in Token.objects.iterator()]

    def write_plainly() -> None:
        for pk, values in with_old_key:
            Token.objects.filter(pk=pk).update(**values)

    values = len(FIELDS) * locations
    plainly = values / _seconds(write_plainly)
    anew = values / _seconds(rotation.reseal)
    assert rotation.count() == {key_id(NEW_KEY): values}, rotation.count()
    return [Ratio("rotation", "values sealed anew/s over values written/s", plainly, anew, at_least=0.4)]


def _sealed_before(token: Token) -> dict[str, Sealed]:
    both, old = KeyRing([NEW_KEY, OLD_KEY]), KeyRing([OLD_KEY])
    places = {name: f"{Token._meta.db_table}:{token.pk}:{name}" for name in FIELDS}
    return {name: old.seal(both.open(getattr(token, name), place), place) for name, place in places.items()}


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
