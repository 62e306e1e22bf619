"""`manage.py issue_api_key`: a new API key for a tenant, printed alone on standard output."""

from argparse import ArgumentTypeError
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from pydantic import TypeAdapter

from oauth import audit, keys
from oauth.models import NAME_LENGTH, Agency, Location, Tenant
from oauth.scopes import KEY_SCOPES


class Command(BaseCommand):
    help = "Issue an API key. It is printed once, alone on standard output, and cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--tenant", type=_name, required=True, help="the system that uses the key; created if new"
        )
        covered = parser.add_mutually_exclusive_group(required=True)
        covered.add_argument(
            "--location", action="append", type=_text, help="a location id it covers; may be repeated"
        )
        covered.add_argument(
            "--agency", type=_text, help="a company id, all of whose locations it covers, future ones too"
        )
        parser.add_argument(
            "--scope",
            action="append",
            choices=KEY_SCOPES,
            help=f"may be repeated (default: {' '.join(keys.DEFAULT_SCOPES)})",
        )
        parser.add_argument("--name", type=_name, help="what the key is for")
        ending = parser.add_mutually_exclusive_group()
        ending.add_argument("--expires", help="when it ends, ISO 8601 with an offset (default: in a year)")
        ending.add_argument("--never-expires", action="store_true", help="it works until it is revoked")

    def handle(self, *args: Any, **options: Any) -> None:
        locations = _locations(options["location"] or [])
        agency = _agency(options["agency"])
        expires_at = _instant(options["expires"])
        tenant, _ = Tenant.objects.get_or_create(name=options["tenant"])
        _, text = keys.issue(
            tenant,
            locations=locations,
            agency=agency,
            scopes=options["scope"] or keys.DEFAULT_SCOPES,
            name=options["name"] or "",
            expires_at=expires_at,
            never_expires=options["never_expires"],
            by=audit.shell_user(),
        )
        self.stdout.write(text)


def _name(text: str) -> str:
    if not 1 <= len(text) <= NAME_LENGTH:
        raise ArgumentTypeError(f"must have 1 to {NAME_LENGTH} characters")
    return _text(text)


def _text(text: str) -> str:
    """What PostgreSQL can store: a terminal of another encoding gives halves of surrogate pairs."""
    if not text.isprintable():
        raise ArgumentTypeError("has characters that cannot be printed, or are not UTF-8")
    return text


def _locations(ids: list[str]) -> list[Location]:
    found = Location.objects.in_bulk(ids)
    if unknown := [each for each in ids if each not in found]:
        raise CommandError(f"Unknown location: {', '.join(unknown)}. Install the app there first.")
    return list(found.values())


def _agency(company_id: str | None) -> Agency | None:
    if company_id is None:
        return None
    agency = Agency.objects.filter(pk=company_id).first()
    if agency is None:
        raise CommandError(f"Unknown agency: {company_id}. Install the app in one of its locations first.")
    return agency


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        # Read the same by every Python, which `datetime.fromisoformat` is not: +05:75 is a time in some.
        read = TypeAdapter(datetime).validate_python(text)
        instant = read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise CommandError(f"--expires is not an ISO 8601 date and time: {text}") from None
    if read.tzinfo is None:
        raise CommandError("--expires needs an offset, for instance 2027-01-31T00:00:00+00:00")
    if instant <= timezone.now():
        raise CommandError("--expires lies in the past")
    return instant
