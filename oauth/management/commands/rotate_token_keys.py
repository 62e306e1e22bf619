"""`manage.py rotate_token_keys`: everything sealed is sealed anew with the first key, while the service runs.
How that is done is in oauth/rotation.py; here is what an operator asks and is told."""

import sys
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from oauth import rotation
from oauth.rotation import Outcome, Place
from oauth.sealing import keyring

# Without a terminal a line is written for each tenth that is done.
PROGRESS_LINES = 10

BEFORE_DROPPING = """
Before you drop a key:
- Every process must have been restarted since the first key came to the front: one started earlier goes on
  sealing with the key that was first then. Run this once more after the last restart.
- A key that was added just now and still waits to come to the front seals nothing yet either: keep it.
- Backups taken until now open only with the old key: keep it wherever they are kept."""


class Command(BaseCommand):
    help = (
        "Seal every stored secret anew with the first key of TOKEN_ENCRYPTION_KEYS, while the service runs, and "
        "report which keys seal nothing any more. Safe to stop, to repeat and to run twice at once. "
        "Exits 0 when every key but the first can be dropped, 1 otherwise."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="change nothing, only count")
        parser.add_argument(
            "--batch-size",
            type=_batch_size,
            default=rotation.BATCH_SIZE,
            help="how many rows are read at a time (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        before = rotation.count()
        outcome = Outcome() if options["dry_run"] else self._reseal(before, options["batch_size"])
        after = before if options["dry_run"] else rotation.count()
        self._report(before, outcome, after)
        ids = keyring().ids
        if still := after.total() - after[ids[0]]:
            raise CommandError(f"{still} of {after.total()} values are not sealed with the first key.")

    def _reseal(self, before: "Counter[str]", batch_size: int) -> Outcome:
        with self._progress(before.total() - before[keyring().ids[0]]) as progress:
            return rotation.reseal(batch_size=batch_size, progress=progress)

    @contextmanager
    def _progress(self, total: int) -> Iterator[Callable[[int], object]]:
        """A bar for people; for logs a line now and then."""
        if self.stderr.isatty():
            with tqdm(total=total, unit=" values", file=sys.stderr) as bar:
                yield bar.update
        else:
            yield self._lines(total)

    def _lines(self, total: int) -> Callable[[int], None]:
        seen = 0

        def progress(more: int) -> None:
            nonlocal seen
            lines = PROGRESS_LINES * seen // max(1, total)
            seen += more
            if PROGRESS_LINES * seen // max(1, total) > lines:
                self.stderr.write(f"{seen} of {total} values")

        return progress

    # --- The report ---------------------------------------------------------------------------------------

    def _report(self, before: "Counter[str]", outcome: Outcome, after: "Counter[str]") -> None:
        ids = keyring().ids
        self.stdout.write("The keys of TOKEN_ENCRYPTION_KEYS, and how many values each has sealed:\n\n")
        self.stdout.write(_line("position", "key id", "before", "after", ""))
        for position, key in enumerate(ids, 1):
            self.stdout.write(_line(position, key, before[key], after[key], _verdict(position, after[key])))
        for key in sorted((before + after).keys() - {*ids}):
            self.stdout.write(_line("-", key or "none", before[key], after[key], "cannot be opened"))
        self.stdout.write(f"\nValues sealed anew: {outcome.resealed}")
        if outcome.unreadable:
            self._list(outcome.unreadable)
        if len(ids) > 1:
            self.stdout.write(BEFORE_DROPPING)

    def _list(self, unreadable: Iterable[Place]) -> None:
        self.stdout.write("\nValues that none of the keys opens (table, row, column):")
        for place in unreadable:
            self.stdout.write(f"  {place.table} {place.pk} {place.field}")


def _verdict(position: int, sealed: int) -> str:
    if position == 1:
        return "seals"
    return "still needed" if sealed else "can be dropped"


def _line(position: object, key: str, before: object, after: object, verdict: str) -> str:
    return f"{position:>8}  {key:<8}  {before:>8}  {after:>8}  {verdict}".rstrip()


def _batch_size(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError("must be a number of rows above zero")
    return int(text)
