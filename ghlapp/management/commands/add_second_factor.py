"""`manage.py add_second_factor`: an operator's authenticator app and backup tokens, shown once in the terminal."""

from typing import Any

import qrcode
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from oauth import audit

BACKUP_TOKENS = 8


class Command(BaseCommand):
    help = (
        "Give an operator a second factor: a picture for an authenticator app, and backup tokens that work once. "
        "What the operator had before stops working. It is asked for where ADMIN_SECOND_FACTOR=1."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", help="the operator's, as made with createsuperuser")

    def handle(self, *args: Any, **options: Any) -> None:
        users = get_user_model()
        user = users.objects.filter(**{users.USERNAME_FIELD: options["username"]}).first()
        if user is None:
            raise CommandError(f"There is no operator {options['username']}.")
        with transaction.atomic():
            for kind in (TOTPDevice, StaticDevice):
                kind.objects.filter(user=user).delete()
            app = TOTPDevice.objects.create(user=user, name="authenticator app")
            backup = StaticDevice.objects.create(user=user, name="backup tokens")
            tokens = [StaticToken.random_token() for _ in range(BACKUP_TOKENS)]
            StaticToken.objects.bulk_create(StaticToken(device=backup, token=token) for token in tokens)
        audit.record("admin.second_factor_added", operator=user.get_username(), by=audit.shell_user())
        self._show(app.config_url, tokens)

    def _show(self, address: str, tokens: list[str]) -> None:
        picture = qrcode.QRCode(border=2)
        picture.add_data(address)
        picture.print_ascii(out=self.stdout, invert=True)
        self.stdout.write(f"Scan this with the authenticator app, or enter:\n{address}\n")
        self.stdout.write("Backup tokens, each good for one sign-in without the app; keep them safe:")
        self.stdout.write("\n".join(tokens))
