"""`manage.py connect_location`: a location connected with a Private Integration Token instead of an install."""

import sys
import time
from getpass import getpass
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ghl.errors import HighLevelError
from oauth import audit, installs
from oauth.calling import MustWaitItsTurn
from oauth.models import Location

# For the location's turn, or until HighLevel answers again.
LONGEST_WAIT_SECONDS = 60.0


class Command(BaseCommand):
    help = (
        "Connect a location with a Private Integration Token (HighLevel: Settings, Private Integrations). The token "
        "is asked for, or read from standard input or a file, and never taken as an argument, which others could see."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("location", help="the location's id")
        parser.add_argument("--token-file", type=Path, help="a file that holds nothing but the token")

    def handle(self, *args: Any, **options: Any) -> None:
        token = _token(options["token_file"]).strip()
        if not (token and token.isascii() and token.isprintable()):
            raise CommandError("That is no token.")
        location = _connected(options["location"], token)
        audit.record("private_token.connected", location=location.pk, by=audit.shell_user())
        self.stdout.write(f"Connected {location}.")


def _connected(location_id: str, token: str) -> Location:
    """The location with its new token, once its turn has come."""
    until = time.monotonic() + LONGEST_WAIT_SECONDS
    while True:
        try:
            return installs.connect_private(location_id, token)
        except MustWaitItsTurn as error:
            wait = error.retry_after.total_seconds()
            if time.monotonic() + wait > until:
                raise CommandError(f"HighLevel cannot be asked yet, try again later: {error}") from error
            time.sleep(wait)
        except HighLevelError as error:
            raise CommandError(f"HighLevel does not take the token for this location: {error}") from error


def _token(file: Path | None) -> str:
    if file is not None:
        try:
            return file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"The token file cannot be read: {error}") from error
    return getpass("Private Integration Token: ") if sys.stdin.isatty() else sys.stdin.read()
