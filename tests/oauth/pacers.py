"""Callers that send as fast as the pace lets them, in threads and in processes of their own; no test lives here.
`python -m tests.oauth.pacers RESOURCE PROCESSES CALLS` prints when the calls of each process arrived, as JSON, on the
machine's monotonic clock."""

import json
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from typing import Any

import django

from ghl.types import Call, Limits

LIMITS = Limits(burst=20, interval=timedelta(seconds=0.5))
THREADS = 12
PATIENCE_SECONDS = 20
LONGEST_WAY_SECONDS = 0.15


def answered(limits: Limits | None = LIMITS, status: int = 200) -> Call:
    return Call("POST", "/calendars/events/appointments", status, 0.0, timedelta(), "ok", None, limits)


def learn(resource: str, limits: Limits = LIMITS) -> None:
    """One answer has told the limits; its own slot is free again."""
    from oauth import pace

    slot = pace.take(resource, pace.Use.BOOKING)
    pace.finish(slot, answered(limits))
    pace.give_back(slot)


def call_again_and_again(resource: str, is_over: Callable[[], bool], arrivals: list[float]) -> None:
    """HighLevel counts a call somewhere between its start and its answer, sooner or later each time."""
    from oauth import pace

    while not is_over():
        try:
            slot = pace.take(resource, pace.Use.BOOKING)
        except pace.NoSlot as refused:
            # What is learned meanwhile may make the wait shorter.
            time.sleep(min(refused.retry_after.total_seconds(), 0.02))
            continue
        time.sleep(random.uniform(0, LONGEST_WAY_SECONDS))
        arrivals.append(time.monotonic())
        time.sleep(random.uniform(0, LONGEST_WAY_SECONDS))
        pace.finish(slot, answered())


def arrivals_of_threads(resource: str, calls: int) -> list[float]:
    """When so many calls arrived, and some more that were on their way then."""
    arrivals: list[float] = []
    arguments = resource, lambda: len(arrivals) >= calls, arrivals
    with ThreadPoolExecutor(THREADS) as threads:
        for ended in [threads.submit(call_again_and_again, *arguments) for _ in range(THREADS)]:
            ended.result()
    return arrivals


def most_at_once(arrivals: list[float], interval: timedelta) -> int:
    """The most calls that any interval saw, wherever it begins."""
    moments, oldest, most = sorted(arrivals), 0, 0
    for number, moment in enumerate(moments):
        while moment - moments[oldest] >= interval.total_seconds():
            oldest += 1
        most = max(most, number - oldest + 1)
    return most


def call_together(resource: str, calls: int, together: Barrier, answers: Any) -> None:
    together.wait(PATIENCE_SECONDS)
    answers.put(arrivals_of_threads(resource, calls))


def main(resource: str, count: int, calls: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ghlapp.settings")
    django.setup()
    learn(resource)
    # Forked, as Celery's workers are, from a process that has asked Redis before.
    context = multiprocessing.get_context("fork")
    together, answers = context.Barrier(count), context.SimpleQueue()
    arguments = resource, calls, together, answers
    processes = [context.Process(target=call_together, args=arguments) for _ in range(count)]
    for process in processes:
        process.start()
    print(json.dumps([answers.get() for _ in processes]))  # noqa: T201
    for process in processes:
        process.join()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
