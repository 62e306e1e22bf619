"""Wake-ups that follow each other closely are sent together, and none of them is left out."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from oauth import coalescing
from oauth.coalescing import Coalescer
from tests.appointments.conftest import until


@pytest.fixture
def sent() -> list[tuple[str, ...]]:
    return []


@pytest.fixture
def coalescer(sent: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> Coalescer:
    monkeypatch.setattr(coalescing, "PAUSE_SECONDS", 0.1)
    return Coalescer(lambda *names: sent.append(names))


def test_it_sends_the_first_at_once(coalescer: Coalescer, sent: list[tuple[str, ...]]) -> None:
    coalescer.add("a", "b")

    assert sent == [("a", "b")]


def test_it_sends_those_that_follow_together_and_each_once(
    coalescer: Coalescer, sent: list[tuple[str, ...]]
) -> None:
    for name in "abcb":
        coalescer.add(name)
    assert sent == [("a",)]

    until(lambda: len(sent) == 2)
    assert sent[1] == ("b", "c")


def test_it_sends_a_name_again_that_comes_after_it_was_sent(
    coalescer: Coalescer, sent: list[tuple[str, ...]]
) -> None:
    """A worker may have looked in between, and found nothing."""
    coalescer.add("a")
    coalescer.add("a")

    until(lambda: sent == [("a",), ("a",)])


def test_it_sends_at_once_again_after_a_pause(coalescer: Coalescer, sent: list[tuple[str, ...]]) -> None:
    coalescer.add("a")
    until(lambda: coalescer.is_idle)

    coalescer.add("b")

    assert sent == [("a",), ("b",)]


def test_it_leaves_none_out_of_many_threads(coalescer: Coalescer, sent: list[tuple[str, ...]]) -> None:
    names = [f"location {number}" for number in range(200)]

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(coalescer.add, names))

    until(lambda: sorted(name for each in sent for name in each) == sorted(names))
    assert len(sent) < len(names)
