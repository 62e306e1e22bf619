"""Celery's way into this room."""

from celery import shared_task
from django.core.management import call_command

from oauth import exchanges, reconciling, vault


@shared_task
def refresh_due_tokens() -> None:
    vault.refresh_due()


@shared_task
def mint_due_tokens(agency_id: str = "") -> None:
    """Those of one agency's locations; without one, have a worker woken for each that has any due."""
    if agency_id:
        vault.mint_due(agency_id)
    else:
        vault.wake_minting()


@shared_task
def check_installs() -> None:
    reconciling.check_due()


@shared_task
def clear_sessions() -> None:
    """Remove the sessions and code exchanges that have run out; Django removes no session by itself."""
    call_command("clearsessions")
    exchanges.clear_old()
