"""`manage.py rotate_token_keys`: sealing everything anew with the first key, while the service uses it."""

import base64
import os
import pty
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, models, transaction

from oauth import rotation, upstream
from oauth.keeping import TokenBusy
from oauth.models import Location, Token
from oauth.sealing import KeyRing, Sealed, SealedField, key_id, keyring
from oauth.vault import LocationTokens
from sandbox import World
from tests.fixtures import ACME_LOCATION, GLOBEX_LOCATION, Persona
from tests.oauth.conftest import stored
from tests.servers import SETTINGS

ROOT = Path(__file__).resolve().parent.parent.parent
OLD, NEW = base64.b64decode(SETTINGS["TOKEN_ENCRYPTION_KEYS"]), b"n" * 32
SEALED_FIELDS = ("access_token", "refresh_token")

UseKeys = Callable[..., None]


def encoded(*keys: bytes) -> str:
    return ",".join(base64.b64encode(key).decode() for key in keys)


@pytest.fixture
def use_keys(settings: Any) -> Iterator[UseKeys]:
    """`use_keys(NEW, OLD)` is a restart with other TOKEN_ENCRYPTION_KEYS."""

    def configure(*keys: bytes) -> None:
        settings.TOKEN_ENCRYPTION_KEYS = encoded(*keys).split(",")
        keyring.cache_clear()

    yield configure
    keyring.cache_clear()


@dataclass
class Ended:
    code: int
    output: str
    complaint: str

    def line(self, key: bytes) -> list[str]:
        """The report's line about a key: its position, how many values it had sealed and has now, the verdict."""
        for words in map(str.split, self.output.splitlines()):
            if words[1:2] == [key_id(key)]:
                return [words[0], words[2], words[3], " ".join(words[4:])]
        raise AssertionError(self.output)


def rotate(*words: str) -> Ended:
    output, complaint = StringIO(), StringIO()
    try:
        call_command("rotate_token_keys", *words, stdout=output, stderr=complaint)
    except CommandError as error:
        return Ended(error.returncode, output.getvalue(), complaint.getvalue() + str(error))
    return Ended(0, output.getvalue(), complaint.getvalue())


def process(*words: str, keys: tuple[bytes, ...], stderr: int = subprocess.PIPE) -> "subprocess.Popen[str]":
    """`python manage.py rotate_token_keys` on this test's database."""
    database = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{connection.settings_dict['NAME']}")
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": SETTINGS["DJANGO_SETTINGS_MODULE"],
        "DATABASE_URL": urlunsplit(database),
        "TOKEN_ENCRYPTION_KEYS": encoded(*keys),
    }
    return subprocess.Popen(
        [sys.executable, "manage.py", "rotate_token_keys", *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def end_of(running: "subprocess.Popen[str]") -> Ended:
    output, complaint = running.communicate(timeout=60)
    return Ended(running.returncode, output, complaint)


def opened(*keys: bytes) -> dict[tuple[str | None, str], str]:
    """Every token in plain text, read with these keys alone and the documented context."""
    ring = KeyRing(list(keys))
    return {
        (token.location_id, name): ring.open(getattr(token, name), f"oauth_token:{token.pk}:{name}")
        for token in Token.objects.all()
        for name in SEALED_FIELDS
    }


def connect_more(world: World, connect: Callable[[str], Location], count: int) -> list[str]:
    ids = [world.add_location(f"Location {number}").id for number in range(count)]
    return [connect(each).pk for each in ids]


# --- What it does -----------------------------------------------------------------------------------------


def test_it_seals_everything_with_the_first_key(acme: Persona, globex: Persona, use_keys: UseKeys) -> None:
    before = opened(OLD)
    use_keys(NEW, OLD)

    ended = rotate()

    assert ended.code == 0
    assert len(before) == 4
    assert opened(NEW) == before


def test_it_touches_nothing_else(acme: Persona, use_keys: UseKeys) -> None:
    before = Token.objects.values().get()
    use_keys(NEW, OLD)

    rotate()

    after = Token.objects.values().get()
    assert {name for name in after if after[name] != before[name]} == set(SEALED_FIELDS)


def test_it_leaves_alone_what_the_first_key_has_sealed(acme: Persona, use_keys: UseKeys) -> None:
    use_keys(NEW, OLD)
    rotate()
    before = Token.objects.values().get()

    ended = rotate()

    assert ended.code == 0
    assert "anew: 0" in ended.output
    assert Token.objects.values().get() == before


@pytest.mark.parametrize("size", ["1", "2", "3", "7", "200"])
def test_it_reaches_every_row_in_batches(
    acme: Persona,
    highlevel: World,
    connect: Callable[[str], Location],
    use_keys: UseKeys,
    size: str,
) -> None:
    connect_more(highlevel, connect, 6)
    before = opened(OLD)
    use_keys(NEW, OLD)

    assert rotate("--batch-size", size).code == 0

    assert len(before) == 14
    assert opened(NEW) == before


def test_it_leaves_an_empty_value_empty(acme: Persona, use_keys: UseKeys) -> None:
    Token.objects.update(refresh_token=Sealed(""))
    use_keys(NEW, OLD)

    ended = rotate()

    assert ended.code == 0
    assert ended.line(NEW)[1:3] == ["0", "1"]
    assert not stored().refresh_token


def test_it_only_counts_when_asked_to(acme: Persona, use_keys: UseKeys) -> None:
    before = Token.objects.values().get()
    use_keys(NEW, OLD)

    ended = rotate("--dry-run")

    assert ended.code == 1
    assert ended.line(OLD) == ["2", "2", "2", "still needed"]
    assert ended.line(NEW) == ["1", "0", "0", "seals"]
    assert Token.objects.values().get() == before


@pytest.fixture
def another_secret(db: None) -> Iterator[type[models.Model]]:
    """A table of another room's, with a sealed column that may be null and numbers for keys."""

    class AnotherSecret(models.Model):  # noqa: DJ008
        first = SealedField(null=True)
        second = SealedField(default="")
        open = models.TextField(default="for all to see")

        class Meta:
            app_label = "appointments"

    with connection.schema_editor() as editor:
        editor.create_model(AnotherSecret)
    yield AnotherSecret
    del apps.all_models["appointments"]["anothersecret"]
    apps.clear_cache()


def test_it_finds_every_model_that_has_sealed_fields(
    acme: Persona, another_secret: Any, use_keys: UseKeys
) -> None:
    rows = [another_secret.objects.create() for _ in range(3)]
    for row in rows[1:]:
        row.first = keyring().seal(f"secret {row.pk}", f"appointments_anothersecret:{row.pk}:first")
        row.save()
    use_keys(NEW, OLD)

    ended = rotate("--batch-size", "1")

    assert (ended.code, ended.line(NEW)[1:3]) == (0, ["0", "4"])
    for row in rows:
        row.refresh_from_db()
    assert [row.first and row.first.key_id for row in rows] == [None, key_id(NEW), key_id(NEW)]
    place = f"appointments_anothersecret:{rows[2].pk}:first"
    assert KeyRing([NEW]).open(rows[2].first, place) == f"secret {rows[2].pk}"
    assert rows[2].open == "for all to see"


# --- What it says -----------------------------------------------------------------------------------------


def test_it_says_which_key_can_be_dropped(acme: Persona, globex: Persona, use_keys: UseKeys) -> None:
    use_keys(NEW, OLD)

    ended = rotate()

    assert ended.line(NEW) == ["1", "0", "4", "seals"]
    assert ended.line(OLD) == ["2", "4", "0", "can be dropped"]
    assert "once more after the last restart" in ended.output
    assert "Backups" in ended.output


def test_it_shows_neither_keys_nor_what_they_sealed(acme: Persona, use_keys: UseKeys) -> None:
    Token.objects.update(access_token=Sealed("eyJhbGciOi.never.sealed"))
    secrets = [stored().refresh_token.value.partition(".")[2], encoded(OLD), encoded(NEW), "eyJ"]
    use_keys(NEW, OLD)

    ended = rotate()

    shown = ended.output + ended.complaint
    assert not [secret for secret in secrets if secret[:20] in shown]


def test_it_takes_the_last_key_there_is_for_granted(acme: Persona, use_keys: UseKeys) -> None:
    ended = rotate()

    assert ended.code == 0
    assert ended.line(OLD) == ["1", "2", "2", "seals"]
    assert "drop" not in ended.output


def test_it_warns_of_a_key_that_waits_to_come_to_the_front(acme: Persona, use_keys: UseKeys) -> None:
    use_keys(OLD, NEW)

    ended = rotate()

    assert (ended.code, ended.line(NEW)) == (0, ["2", "0", "0", "can be dropped"])
    assert "still waits to come to the front" in ended.output


def test_it_has_nothing_to_do_without_tokens(db: None, use_keys: UseKeys) -> None:
    use_keys(NEW, OLD)

    assert rotate().code == 0


def test_it_writes_lines_where_nobody_sees_a_bar(acme: Persona, globex: Persona, use_keys: UseKeys) -> None:
    use_keys(NEW, OLD)

    ended = rotate("--batch-size", "1")

    assert ended.complaint.splitlines() == ["2 of 4 values", "4 of 4 values"]


@pytest.mark.parametrize("size", ["0", "-1", "many", ""])
def test_it_refuses_a_batch_of_nothing(db: None, size: str) -> None:
    assert "--batch-size" in rotate(f"--batch-size={size}").complaint


# --- What cannot be opened --------------------------------------------------------------------------------


def test_it_lists_what_cannot_be_opened_and_does_the_rest(
    acme: Persona, globex: Persona, use_keys: UseKeys
) -> None:
    lost, of_globex = b"l" * 32, stored(GLOBEX_LOCATION)
    place = f"oauth_token:{of_globex.pk}:refresh_token"
    sealed = KeyRing([lost]).seal("a token", place)
    Token.objects.filter(pk=of_globex.pk).update(refresh_token=sealed)
    use_keys(NEW, OLD)

    ended = rotate()

    assert ended.code == 1
    assert f"oauth_token {of_globex.pk} refresh_token\n" in ended.output
    assert ended.output.count("oauth_token ") == 1
    assert ended.line(lost) == ["-", "1", "1", "cannot be opened"]
    assert ended.line(OLD) == ["2", "3", "0", "can be dropped"]
    assert ended.line(NEW) == ["1", "0", "3", "seals"]
    assert stored(GLOBEX_LOCATION).refresh_token == sealed


@pytest.mark.parametrize("text", ["", "damaged", "AAAA"])
def test_it_keeps_a_key_whose_value_was_damaged(acme: Persona, use_keys: UseKeys, text: str) -> None:
    Token.objects.update(access_token=Sealed(f"{key_id(OLD)}.{text}"))
    use_keys(NEW, OLD)

    ended = rotate()

    assert ended.code == 1
    assert ended.line(OLD) == ["2", "2", "1", "still needed"]
    assert f"oauth_token {stored().pk} access_token\n" in ended.output


def test_it_counts_what_was_never_sealed(acme: Persona, use_keys: UseKeys) -> None:
    Token.objects.update(access_token=Sealed("plain text"))
    use_keys(NEW, OLD)

    ended = rotate()

    assert ended.code == 1
    assert ["-", "none", "1", "1", "cannot", "be", "opened"] in [
        line.split() for line in ended.output.splitlines()
    ]
    assert stored().access_token == Sealed("plain text")


# --- While others are at it -------------------------------------------------------------------------------


def test_it_goes_on_where_it_was_stopped(
    acme: Persona, highlevel: World, connect: Callable[[str], Location], use_keys: UseKeys
) -> None:
    connect_more(highlevel, connect, 4)
    before = opened(OLD)
    use_keys(NEW, OLD)

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotation.reseal(batch_size=2, progress=stop)
    assert rotation.count() == {key_id(NEW): 4, key_id(OLD): 6}
    assert opened(NEW, OLD) == before

    assert "anew: 6" in rotate().output
    assert opened(NEW) == before


def waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return bool(cursor.fetchone()[0])


def in_thread(call: Callable[[], Any]) -> Any:
    try:
        return call()
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_token_stored_meanwhile_wins(acme: Persona, use_keys: UseKeys) -> None:
    token = stored()
    newer = {name: keyring().seal("newer", f"oauth_token:{token.pk}:{name}") for name in SEALED_FIELDS}
    use_keys(NEW, OLD)

    with ThreadPoolExecutor(1) as threads:
        with transaction.atomic():
            Token.objects.filter(pk=token.pk).update(**newer)
            # It has read the older pair and comes to write: our own is not committed yet.
            rotating = threads.submit(in_thread, rotation.reseal)
            while not waits_for_a_lock():
                assert not rotating.done()
                time.sleep(0.01)
        outcome = rotating.result()

    # Overtaken by a process that sealed with the old key, and taken up again by the next pass.
    assert set(opened(NEW).values()) == {"newer"}
    assert (outcome.resealed, outcome.overtaken) == (2, 2)


@pytest.mark.django_db(transaction=True)
def test_it_may_run_twice_at_once(
    acme: Persona, highlevel: World, connect: Callable[[str], Location], use_keys: UseKeys
) -> None:
    connect_more(highlevel, connect, 20)
    before = opened(OLD)
    use_keys(NEW, OLD)
    together = threading.Barrier(2)

    def once() -> rotation.Outcome:
        together.wait(10)
        return rotation.reseal(batch_size=5)

    with ThreadPoolExecutor(2) as threads:
        outcomes = [each.result() for each in [threads.submit(in_thread, once) for _ in range(2)]]

    assert opened(NEW) == before
    assert sum(each.resealed for each in outcomes) == len(before)


def refresh_until(stop: threading.Event, locations: list[str]) -> int:
    """As workers do it, again and again; how often it succeeded."""
    done = 0
    while not stop.is_set():
        tokens = LocationTokens(locations[done % len(locations)])
        try:
            tokens.renew(tokens.token())
        except TokenBusy:
            continue
        done += 1
    return done


@pytest.mark.django_db(transaction=True)
def test_no_token_is_lost_while_others_refresh(
    acme: Persona, highlevel: World, connect: Callable[[str], Location], use_keys: UseKeys
) -> None:
    locations = [ACME_LOCATION, *connect_more(highlevel, connect, 14)]
    # A token put back after it was traded in would be refused at once.
    highlevel.settings.refresh_grace_seconds = 0
    # This process was not restarted since the new key came to the front: it seals with the old one.
    use_keys(OLD, NEW)
    upstream.client()  # made before several threads make one each
    stop = threading.Event()

    with ThreadPoolExecutor(2) as threads:
        work = [partial(refresh_until, stop, locations[first:] + locations[:first]) for first in (0, 7)]
        refreshing = [threads.submit(in_thread, each) for each in work]
        try:
            ended = end_of(process(keys=(NEW, OLD)))
        finally:
            stop.set()
        assert all(each.result() for each in refreshing)

    assert "anew: 0" not in ended.output, ended
    for (_, name), token in opened(NEW, OLD).items():
        assert highlevel.tokens.grant_of(token) if name == "access_token" else unused(highlevel, token)
    # After the last restart once more, and the old key is gone.
    use_keys(NEW, OLD)
    assert rotate().code == 0
    use_keys(NEW)
    for location_id in locations:
        tokens = LocationTokens(location_id)
        assert tokens.renew(tokens.token())


def unused(world: World, refresh_token: str) -> bool:
    found = world.tokens.find_refresh(refresh_token)
    return found is not None and found.used_at is None


# --- The whole procedure, as an operator goes through it --------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_operator_changes_the_key(acme: Persona, globex: Persona) -> None:
    before = opened(OLD)

    moved = end_of(process("--dry-run", keys=(NEW, OLD)))
    rotated = end_of(process(keys=(NEW, OLD)))
    dropped = end_of(process(keys=(NEW,)))

    assert [each.code for each in (moved, rotated, dropped)] == [1, 0, 0]
    assert moved.line(OLD) == ["2", "4", "4", "still needed"]
    assert rotated.line(OLD) == ["2", "4", "0", "can be dropped"]
    assert dropped.line(NEW) == ["1", "4", "4", "seals"]
    assert opened(NEW) == before


def test_a_key_dropped_too_early_is_noticed(acme: Persona, use_keys: UseKeys) -> None:
    use_keys(NEW)

    ended = rotate()

    assert ended.code == 1
    assert ended.line(OLD) == ["-", "2", "2", "cannot be opened"]
    assert "2 of 2 values are not sealed with the first key" in ended.complaint
    use_keys(NEW, OLD)
    assert rotate().code == 0


def until_closed(terminal: IO[bytes]) -> Iterator[bytes]:
    with suppress(OSError):  # what Linux says once the other end is closed
        while more := terminal.read(4096):
            yield more


@pytest.mark.django_db(transaction=True)
def test_it_shows_a_bar_on_a_terminal(acme: Persona) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    running = process(keys=(NEW, OLD), stderr=theirs)
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        shown = b"".join(until_closed(terminal))

    assert end_of(running).code == 0

    assert b"100%" in shown
    assert b"2/2" in shown


def test_it_explains_itself(capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("rotate_token_keys", "--help")

    assert ended.value.code == 0
    assert "Exits 0 when every key but the first can be dropped" in " ".join(capsys.readouterr().out.split())
