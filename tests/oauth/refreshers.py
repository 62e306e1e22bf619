"""Processes that all want the same location's token at the same moment; no test lives here.
`python -m tests.oauth.refreshers LOCATION COUNT` prints what each of them got, as one JSON list."""

import hashlib
import json
import multiprocessing
import os
import sys
import time
from multiprocessing.synchronize import Barrier
from typing import Any

import django

PATIENCE_SECONDS = 20


def token_of(location_id: str) -> str:
    """The access token, waited for as a worker waits: it comes back where another process is refreshing."""
    from oauth.keeping import TokenBusy
    from oauth.vault import LocationTokens

    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return LocationTokens(location_id).token()
        except TokenBusy:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.1)


def ask(location_id: str, together: Barrier, answers: Any) -> None:
    together.wait(PATIENCE_SECONDS)
    try:
        got = token_of(location_id)
        answers.put((os.getpid(), hashlib.sha256(got.encode()).hexdigest()))
    except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
        answers.put((os.getpid(), repr(error)))


def main(location_id: str, count: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ghlapp.settings")
    django.setup()
    # Forked, since starting Python and Django sixteen times would take longer than all else.
    context = multiprocessing.get_context("fork")
    together, answers = context.Barrier(count), context.SimpleQueue()
    processes = [context.Process(target=ask, args=(location_id, together, answers)) for _ in range(count)]
    for process in processes:
        process.start()
    got = [answers.get() for _ in processes]
    for process in processes:
        process.join()
    print(json.dumps(got))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
