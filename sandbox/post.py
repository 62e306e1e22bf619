"""The post: threads that carry letters to the app's webhook, several at a time, and try again as HighLevel does.

Not here: which letters there are, and those that are held back (letters.py).
"""

import heapq
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import TYPE_CHECKING

import httpx2

from sandbox.settings import Settings

if TYPE_CHECKING:
    from sandbox.letters import Letter

_CARRIERS = 8
_ANSWER_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 60.0


@dataclass(order=True)
class _Trip:
    """Letters that go one after the other; `tried` counts the trips before this one."""

    starts_at: float
    number: int
    letters: Sequence["Letter"] = field(compare=False)
    tried: int = field(default=0, compare=False)


class Post:
    """Threads start with the first trip and end with `close`. No lock is held while a letter travels."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._changed = threading.Condition()
        self._numbers = count()
        self._jitter = Random()  # noqa: S311 - spreads attempts, keeps no secret
        self._open()

    def _open(self) -> None:
        self._closing = threading.Event()
        self._due: list[_Trip] = []
        self._under_way = 0
        self._threads: list[threading.Thread] = []
        self._client: httpx2.Client | None = None

    def carry(self, letters: Sequence["Letter"], after_seconds: float = 0.0, tried: int = 0) -> None:
        trip = _Trip(time.monotonic() + after_seconds, next(self._numbers), letters, tried)
        with self._changed:
            heapq.heappush(self._due, trip)
            if len(self._threads) < _CARRIERS:
                self._start_carrier()
            self._changed.notify_all()

    def idle(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._due and not self._under_way, seconds)

    def close(self) -> None:
        """Drop what has not been delivered, and wait for the threads, at most as long as an answer may take."""
        with self._changed:
            threads, client, left = self._threads, self._client, self._due
            self._closing.set()
            self._open()
            for trip in left:
                _drop(trip.letters)
            self._changed.notify_all()
        for thread in threads:
            thread.join(_ANSWER_SECONDS)
        if client:
            client.close()

    def _start_carrier(self) -> None:
        if self._client is None:
            # A connection per letter, as from a sender with many machines; proxies of the environment are not asked.
            limits = httpx2.Limits(max_keepalive_connections=0)
            self._client = httpx2.Client(timeout=_ANSWER_SECONDS, limits=limits, trust_env=False)
        carrier = threading.Thread(
            target=self._work, args=(self._closing, self._client), name="sandbox-post", daemon=True
        )
        self._threads.append(carrier)
        carrier.start()

    def _work(self, closing: threading.Event, client: httpx2.Client) -> None:
        while (trip := self._next(closing)) is not None:
            for letter in trip.letters:
                if closing.is_set():
                    _drop([letter])
                elif letter.state != "dropped":
                    self._deliver(letter, trip.tried, closing, client)
            self._finish(closing)

    def _next(self, closing: threading.Event) -> _Trip | None:
        """Wait for the next trip that is due; None once the post closes."""
        with self._changed:
            while not closing.is_set():
                wait = self._due[0].starts_at - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    self._under_way += 1
                    return heapq.heappop(self._due)
                self._changed.wait(wait)
        return None

    def _finish(self, closing: threading.Event) -> None:
        with self._changed:
            # A post that was closed meanwhile has begun to count anew.
            if not closing.is_set():
                self._under_way -= 1
            self._changed.notify_all()

    def _deliver(self, letter: "Letter", tried: int, closing: threading.Event, client: httpx2.Client) -> None:
        outcome = self._ask(letter, client)
        letter.attempts += 1
        letter.answers.append(outcome)
        if isinstance(outcome, int) and 200 <= outcome < 300:
            letter.state = "delivered"
        elif letter.state == "pending":
            self._try_again(letter, tried + 1, closing)

    def _ask(self, letter: "Letter", client: httpx2.Client) -> int | str:
        """The status, or what kept it from coming."""
        url = self._settings.webhook_url
        if url is None:
            return "NoAddress"
        try:
            return client.post(url, content=letter.body, headers=letter.headers).status_code
        except (
            httpx2.HTTPError,
            httpx2.InvalidURL,
            RuntimeError,
        ) as error:  # RuntimeError: the client was closed
            return type(error).__name__

    def _try_again(self, letter: "Letter", tried: int, closing: threading.Event) -> None:
        with self._changed:
            if closing.is_set():
                letter.state = "dropped"
            elif tried > self._settings.letter_retries:
                letter.state = "failed"
            else:
                self.carry([letter], self._wait_seconds(tried), tried)

    def _wait_seconds(self, tried: int) -> float:
        """Exponential, with a cap, and up to a tenth more by chance."""
        wait = min(self._settings.letter_retry_seconds * 2.0 ** min(tried - 1, 16), _LONGEST_WAIT_SECONDS)
        return float(wait) * self._jitter.uniform(1.0, 1.1)


def _drop(letters: Sequence["Letter"]) -> None:
    for letter in letters:
        if letter.state == "pending":
            letter.state = "dropped"
