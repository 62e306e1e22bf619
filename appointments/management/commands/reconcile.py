"""`manage.py reconcile`: our rows brought in line with what HighLevel has now, while somebody waits.
How that is done is in oauth/repairs.py for installs and in appointments/reconciling.py for bookings."""

import sys
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q
from tqdm import tqdm

from appointments import reconciling
from oauth import repairs
from oauth.models import Agency, Location
from oauth.repairs import Report

# A report is for reading: of more than these the number says enough.
MOST_NAMED = 20


class Command(BaseCommand):
    help = (
        "Ask HighLevel where the app is installed and what stands in its calendars, and repair what lost webhooks "
        "left wrong, in both directions. By itself the first happens once a day, the second several times an hour. "
        "Exits 0 when everything was asked and holds its token, 1 otherwise."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        chosen = parser.add_mutually_exclusive_group()
        chosen.add_argument("--agency", metavar="ID", help="only this company and its locations")
        chosen.add_argument("--location", metavar="ID", help="only this location")

    def handle(self, *args: Any, **options: Any) -> None:
        accounts = _chosen(options["agency"], options["location"])
        with tqdm(total=len(accounts), unit=" asked", file=sys.stderr, disable=None) as bar:
            report = repairs.reconcile(accounts, bar.update)
        self._tell(report)
        self.stdout.write(f"Calendars compared: {_compare(accounts)} locations")
        if not report.is_complete:
            raise CommandError("Not everything could be put right now; the background goes on with it.")

    def _tell(self, report: Report) -> None:
        self._list("Connected", report.connected)
        self._list("Disconnected", report.disconnected)
        self._list("Waiting for a token", report.waiting)
        reasons = [f"{account_id}: {reason}" for account_id, reason in report.not_asked.items()]
        self._list("Could not be asked", reasons)

    def _list(self, title: str, entries: Iterable[str]) -> None:
        named = list(entries)
        self.stdout.write(f"{title}: {len(named)}")
        for entry in named[:MOST_NAMED]:
            self.stdout.write(f"  {entry}")
        if len(named) > MOST_NAMED:
            self.stdout.write(f"  and {len(named) - MOST_NAMED} more")


def _compare(accounts: list[Agency | Location]) -> int:
    """Compare the bookings of these accounts' locations; what differs its workers then take over."""
    ids = [each.pk for each in accounts]
    theirs = reconciling.worth_comparing().filter(Q(pk__in=ids) | Q(agency__in=ids))
    compared = reconciling.compare_soon(theirs)
    reconciling.compare_due()
    return compared


def _chosen(agency_id: str | None, location_id: str | None) -> list[Agency | Location]:
    if agency_id is not None:
        return [_found(Agency.objects.filter(pk=agency_id).first(), f"Unknown agency: {agency_id}.")]
    if location_id is not None:
        found = Location.objects.select_related("agency").filter(pk=location_id).first()
        return [_found(found, f"Unknown location: {location_id}.")]
    return repairs.all_connected()


def _found(account: Any, complaint: str) -> Any:
    if account is None:
        raise CommandError(complaint)
    return account
