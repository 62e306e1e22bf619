"""`manage.py revoke_api_key`: the key is refused from the next request on."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from oauth import audit, keys
from oauth.models import ApiKey


class Command(BaseCommand):
    help = "Revoke an API key, named by its prefix (the part between the underscores) or by the whole key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", help="the prefix, as the admin lists it, or the key itself")

    def handle(self, *args: Any, **options: Any) -> None:
        prefix = keys.prefix_of(options["key"])
        key = ApiKey.objects.filter(prefix=prefix).first()
        if key is None:
            raise CommandError("There is no such key.")
        keys.revoke(key, by=audit.shell_user())
        self.stdout.write(f"Revoked {prefix}.")
