"""The operator's page of letters: what is parked can be found and replayed, and nothing be changed."""

import logging

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from oauth import audit
from tests.webhooks.conftest import Recipient, only_letter, send
from webhooks import inbox
from webhooks.models import Letter

pytestmark = pytest.mark.django_db
LISTED = "/admin/webhooks/letter/"


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    return client


@pytest.fixture
def parked() -> Letter:
    letter = send(webhookId="the-parked-one")
    Letter.objects.filter(pk=letter.pk).update(status=Letter.Status.PARKED, next_attempt_at=None, attempts=8)
    send(webhookId="the-other-one", type="PLAN_CHANGE")
    return letter


def replay(client: Client, letter: Letter) -> None:
    client.post(LISTED, {"action": "replay_selected", "_selected_action": [letter.pk]}, follow=True)
    letter.refresh_from_db()


@pytest.mark.parametrize("query", [{"status": "parked"}, {"q": "the-parked-one"}, {"type": "INSTALL"}])
def test_it_finds_what_is_parked(parked: Letter, operator: Client, query: dict[str, str]) -> None:
    page = operator.get(LISTED, query).content.decode()

    assert "the-parked-one" in page
    assert "the-other-one" not in page


def test_it_shows_a_letter_and_its_failure(parked: Letter, operator: Client) -> None:
    Letter.objects.update(error="RuntimeError: the reason")

    page = operator.get(f"{LISTED}{parked.pk}/change/").content.decode()

    assert "the reason" in page
    assert "GNb7aIv4rQFVb9iwNl5K" in page


def test_it_replays_what_is_selected(parked: Letter, operator: Client, recipient: Recipient) -> None:
    replay(operator, parked)

    assert (parked.status, parked.attempts) == (Letter.Status.RECEIVED, 0)
    inbox.process_due()
    assert [got.webhook_id for got in recipient.got] == ["the-parked-one"]


def test_a_replay_has_an_audit_line(
    parked: Letter, operator: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=audit.LOGGER)

    replay(operator, parked)

    (line,) = [each.msg for each in caplog.records if each.name == audit.LOGGER]
    assert isinstance(line, dict)
    assert line["event"] == "webhook_events.replayed"
    assert (line["by"], line["count"], line["webhook_ids"]) == ("operator", 1, ["the-parked-one"])


def test_an_onlooker_replays_nothing(parked: Letter) -> None:
    onlooker = User.objects.create_user("onlooker", is_staff=True)
    onlooker.user_permissions.add(Permission.objects.get(codename="view_letter"))
    client = Client()
    client.force_login(onlooker)

    replay(client, parked)

    assert "the-parked-one" in client.get(LISTED).content.decode()
    assert parked.status == Letter.Status.PARKED


def test_it_changes_nothing(operator: Client) -> None:
    letter = send()
    page = f"{LISTED}{letter.pk}/change/"

    assert operator.post(page, {"type": "changed"}).status_code == 403
    assert operator.post(page.replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
    assert operator.get(f"{LISTED}add/").status_code == 403
    assert only_letter().type == "INSTALL"


def test_strangers_see_nothing(parked: Letter) -> None:
    assert Client().get(LISTED).status_code == 302
    assert Client().get(f"{LISTED}{parked.pk}/change/").status_code == 302
