"""What each type of letter leads to: the one table that names functions of other rooms, those to the left too.
How letters come in and when they are processed is in inbox.py."""

from collections.abc import Callable
from typing import cast

from django.utils.module_loading import import_string

from ghl.letters import Letter

Handler = Callable[[Letter], None]

# Each function takes the letter and may be called again with the same one, or with letters in any order.
# A type without functions is kept for those who look for it later.
HANDLERS: dict[str, tuple[str, ...]] = {
    "INSTALL": ("oauth.letters.installed",),
    "UNINSTALL": ("oauth.letters.uninstalled",),
    "UPDATE": ("oauth.letters.updated",),
    "AppointmentCreate": ("appointments.sync.heard",),
    "AppointmentUpdate": ("appointments.sync.heard",),
    "AppointmentDelete": ("appointments.sync.heard",),
}


def handle(letter: Letter) -> None:
    """Call every function for the letter's type, in the table's order."""
    for name in HANDLERS.get(letter.type, ()):
        cast("Handler", import_string(name))(letter)
