"""`manage.py erase_contact`: erases what is stored about a person, by appointments/erasure.py."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from appointments import erasure
from oauth.models import Location


class Command(BaseCommand):
    help = (
        "Erase what is stored about a contact of a location: names, addresses, titles, descriptions, metadata and "
        "HighLevel's events. Ids, times and states of bookings stay. Bookings that are still to come or under way "
        "are left and named, and the command exits 1: cancel them first, or run it again later. HighLevel's own data "
        "is not touched: delete the contact there first."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--location", required=True, metavar="ID", help="HighLevel's id of the location")
        parser.add_argument("--contact", default="", metavar="ID", help="HighLevel's id of the contact")
        parser.add_argument(
            "--email", default="", help="an e-mail address that bookings named the contact by"
        )
        parser.add_argument("--phone", default="", help="a phone number that bookings named the contact by")

    def handle(self, *args: Any, **options: Any) -> None:
        location_id = options["location"]
        named = {"contact_id": options["contact"], "email": options["email"], "phone": options["phone"]}
        if not any(named.values()):
            raise CommandError("Name the contact: --contact, --email or --phone.")
        if not Location.objects.filter(pk=location_id).exists():
            raise CommandError(f"There is no location {location_id}.")
        erased = erasure.erase_contact(location_id, **named)
        self.stdout.write(f"Erased: {erased.bookings} bookings, {erased.events} events")
        if erased.open_bookings:
            raise CommandError("Still open, and so not erased: " + ", ".join(erased.open_bookings))
