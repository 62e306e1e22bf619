"""Many processes and one token that has run out: one of them refreshes it, and all go on with the same new one."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.db import connection

from oauth import refreshing
from oauth.keeping import TokenBusy
from oauth.vault import LocationTokens
from sandbox import World
from sandbox.faults import Fault
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona
from tests.oauth.conftest import expire, plain, refresh_calls, statuses_of, stored

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.django_db(transaction=True)


def refreshers(count: int) -> "subprocess.Popen[str]":
    """Other processes, with this test's database and HighLevel."""
    database = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}")
    return subprocess.Popen(
        [sys.executable, "-m", "tests.oauth.refreshers", ACME_LOCATION, str(count)],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": urlunsplit(database), "DATABASE_POOL_SIZE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_sixteen_processes_refresh_once(acme: Persona, globex: Persona, highlevel: World) -> None:
    before, of_globex = expire(), stored(GLOBEX_LOCATION)
    # Long enough for all of them to find the token run out.
    highlevel.faults.add(Fault("hang_after", "token", seconds=0.5))

    with refreshers(16) as others:
        output, _ = others.communicate(timeout=40)
    processes, tokens = zip(*json.loads(output), strict=True)

    token = plain(stored(), "access_token")
    assert refresh_calls(highlevel) == 1
    assert len(set(processes)) == 16
    assert set(tokens) == {hashlib.sha256(token.encode()).hexdigest()}
    assert highlevel.tokens.grant_of(token) is not None
    assert stored().version == before.version + 1
    assert stored(GLOBEX_LOCATION).version == of_globex.version


def test_another_process_takes_over_from_one_that_was_killed(
    acme: Persona, highlevel: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire()
    highlevel.faults.add(Fault("hang_after", "token", seconds=0.3))
    with refreshers(1) as other:
        while not highlevel.calls.records:
            time.sleep(0.01)
        os.killpg(other.pid, signal.SIGKILL)
    # HighLevel finishes, though nobody is there to hear its answer.
    while highlevel.tokens.issued["refresh_token"] == 0:
        time.sleep(0.01)

    with pytest.raises(TokenBusy):
        LocationTokens(ACME_LOCATION).token()
    monkeypatch.setattr(refreshing, "REPEAT_AFTER", timedelta(seconds=0.5))
    time.sleep(0.5)
    token = LocationTokens(ACME_LOCATION).token()

    assert highlevel.tokens.grant_of(token) is not None
    assert highlevel.tokens.issued["refresh_replayed"] == 1
    assert statuses_of() == ("active", "")
