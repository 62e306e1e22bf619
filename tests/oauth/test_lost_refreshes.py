"""A thousand refreshes of which a hundred lose their answers, after HighLevel has given the old token away."""

import random
from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from ghl.types import parse_token_grant
from oauth import keeping, vault
from oauth.models import Location, Token
from sandbox import World
from sandbox.faults import Fault
from tests.oauth.conftest import plain, statuses

pytestmark = pytest.mark.django_db

REFRESHES, LOST, LOST_TWICE = 1000, 100, 20


@pytest.fixture
def refresh_tokens(highlevel: World) -> list[str]:
    """Of so many connected locations, all of them due; in bulk, since their installs are not what is tested."""
    ids = [highlevel.add_location(f"Branch {number}").id for number in range(REFRESHES)]
    Location.objects.bulk_create(Location(pk=id_) for id_ in ids)
    tokens, given = [], []
    for id_ in ids:
        grant = parse_token_grant(highlevel.issue_location_token(id_))
        token = Token(location_id=id_)
        for name, value in keeping.columns_of(token, grant).items():
            setattr(token, name, value)
        token.refresh_due_at = timezone.now() - timedelta(seconds=1)
        tokens.append(token)
        given.append(grant.refresh_token or "")
    Token.objects.bulk_create(tokens)
    return given


def test_no_location_is_lost(highlevel: World, refresh_tokens: list[str]) -> None:
    lost = random.Random(1).sample(refresh_tokens, k=LOST)
    for number, refresh_token in enumerate(lost):
        times = 2 if number < LOST_TWICE else 1
        highlevel.faults.add(
            Fault("refresh_answer_lost", times=times, match={"refresh_token": refresh_token})
        )

    while vault.refresh_due() or still_claimed():
        # Ten seconds later, for those whose answer was lost a second time.
        Token.objects.filter(refresh_started_at__isnull=False).update(
            refresh_started_at=F("refresh_started_at") - timedelta(seconds=11), refresh_due_at=Now()
        )

    assert set(statuses().values()) == {"active"}
    assert highlevel.tokens.issued["refresh_token"] == REFRESHES
    assert highlevel.tokens.issued["refresh_replayed"] == LOST + LOST_TWICE
    assert not set(refresh_tokens) & {plain(token, "refresh_token") for token in Token.objects.all()}
    for token in Token.objects.all():
        found = highlevel.tokens.find_refresh(plain(token, "refresh_token"))
        assert found is not None
        assert found.used_at is None
        assert highlevel.tokens.grant_of(plain(token, "access_token")) is not None


def still_claimed() -> bool:
    return Token.objects.filter(refresh_started_at__isnull=False).exists()
