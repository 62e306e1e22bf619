"""Installs, uninstalls and reinstalls whose letters and callbacks arrive in any order. Whatever it is:

I1  What is active holds a token, or waits to be given one with the token of an agency that is connected.
I2  What is uninstalled holds no token, and nobody asks for one.
I3  Once every letter is here and a night has gone by, what is active is what HighLevel has installed, so far as
    somebody gave us a token for it, and its token is let through; the rest of what is installed is to be
    reconnected; everything else is uninstalled.
I4  News that is older than what decided changes nothing: with nothing under way, an UNINSTALL of before.
I5  No letter changes anything when it is handled once more.
"""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oauth.models import Account, Agency, Location, Token
from sandbox import World
from tests.oauth.stories import Story, start_afresh

pytestmark = pytest.mark.django_db

Status = Account.Status
# Shorter than a second, in which a token's `iat` cannot be told from a letter; and longer.
GAPS = (0.2, 0.5, 1.0, 1.3, 2.0, 5.0)


def check_always(story: Story) -> None:
    """I1 and I2, which hold between any two steps."""
    for location in Location.objects.select_related("token"):
        holds_token = hasattr(location, "token")
        if location.status == Status.ACTIVE and not holds_token:
            assert location.mint_due_at is not None, f"{story.name(location.pk)} waits for nothing\n{story}"
        if location.status == Status.UNINSTALLED:
            assert not holds_token, f"{story.name(location.pk)} still holds a token\n{story}"
            assert location.mint_due_at is None, f"{story.name(location.pk)} is still minted for\n{story}"


def check_end(story: Story) -> None:
    """I3."""
    check_always(story)
    for location_id in story.location_ids:
        expected = story.expected(location_id)
        assert story.found(location_id) in expected, f"{story.name(location_id)} is not {expected}\n{story}"
    for token in Token.objects.select_related("location", "agency"):
        if token.account.status == Status.ACTIVE:
            assert story.works(token), f"the {token} is not let through\n{story}"
    active = set(Location.objects.filter(status=Status.ACTIVE).values_list("pk", flat=True))
    assert active <= set(Token.objects.values_list("location_id", flat=True)), str(story)


def check_again(story: Story, chosen: random.Random) -> None:
    """I4 and I5."""
    before = rows()
    story.log.append("everything once more")
    for letter in chosen.sample(list(story.world.letters), k=min(6, len(story.world.letters))):
        story.handle_again(letter)
        story.work()
        assert rows() == before, f"{letter.content}\n{story}"


def rows() -> Any:
    return (
        list(Location.objects.order_by("pk").values_list("pk", "status", "agency_id", "came_with_agency")),
        list(Agency.objects.order_by("pk").values_list("pk", "status")),
        list(Token.objects.order_by("pk").values_list("pk", "version")),
    )


class Orders:
    """The story of the seed: what happens is the same in all, when it reaches us differs."""

    def __init__(self, world: World, seed: int) -> None:
        self.chosen = random.Random(seed)
        self.story = Story.begin(world, 6)
        self.gone, self.back = self.chosen.sample(self.story.location_ids, 2)
        self.last = ""
        self.acts = self.plan()

    def act(self) -> None:
        self.acts.pop(0)()

    def plan(self) -> list[Any]:
        story = self.story
        again = [each for each in story.location_ids if each != self.gone]
        reinstall = self.chosen.choice(
            [
                lambda: story.install_location(self.back),
                lambda: story.install_agency(approved=again),
            ]
        )
        return [
            story.install_agency,
            lambda: (story.wait(self.chosen.choice(GAPS)), story.uninstall_location(self.gone)),
            lambda: (story.wait(self.chosen.choice(GAPS)), self.uninstall_last()),
            lambda: (story.wait(1), reinstall()),
        ]

    def uninstall_last(self) -> None:
        self.story.uninstall_location(self.back)
        self.last = list(self.story.world.letters)[-1].webhook_id

    def play(self) -> None:
        story = self.story
        while self.acts or story.codes or self.deliverable():
            steps = [*[self.deliver] * 6, self.callback, story.work]
            if self.acts:
                steps += [self.act] * 2
            self.chosen.choice(steps)()
            check_always(story)
        story.end()

    def deliverable(self) -> list[Any]:
        return [letter for letter in self.story.on_their_way if letter.webhook_id != self.last]

    def deliver(self) -> None:
        if letters := self.deliverable():
            self.story.deliver(self.chosen.choice(letters))

    def callback(self) -> None:
        if self.story.codes:
            self.story.come_back(self.chosen.choice(self.story.codes))


@pytest.mark.parametrize("first", range(0, 200, 25))
def test_it_ends_right_in_every_order(highlevel: World, first: int) -> None:
    """Agency install, letters before the callback, two uninstalls, one reinstall a second later whose UNINSTALL
    is delivered last."""
    for seed in range(first, first + 25):
        highlevel.reset()
        start_afresh()
        orders = Orders(highlevel, seed)
        orders.play()
        check_end(orders.story)
        if seed % 5 == 0:
            check_again(orders.story, orders.chosen)


# A step of a sequence: what, where, and how long after the one before.
STEPS = st.tuples(
    st.sampled_from(
        [
            *["deliver"] * 5,
            *["come_back"] * 2,
            *["work"] * 2,
            "deliver_again",
            "install_agency",
            "install_some",
            "uninstall_agency",
            "install_location",
            "uninstall_location",
            "add_location",
            "suspend",
            "activate",
            "update",
        ]
    ),
    st.integers(0, 60),
    st.sampled_from((0.0, 0.0, *GAPS)),
)


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=4, max_size=40))
def test_it_ends_right_after_any_sequence(highlevel: World, steps: list[tuple[str, int, float]]) -> None:
    highlevel.reset()
    start_afresh()
    story = Story.begin(highlevel, 3)
    for what, number, gap in steps:
        story.wait(gap)
        step(story, what, number)
        check_always(story)
    for location_id in story.location_ids:
        highlevel.locations[location_id].active = True
    story.end()
    check_end(story)


def step(story: Story, what: str, number: int) -> None:  # noqa: C901 - a table of what can happen
    world, where = story.world, story.location_ids[number % len(story.location_ids)]
    match what:
        case "deliver" if letters := story.on_their_way:
            story.deliver(letters[number % len(letters)])
        case "deliver_again" if story.delivered:
            story.handle_again(world.letters[sorted(story.delivered)[number % len(story.delivered)]])
        case "come_back" if story.codes:
            story.come_back(story.codes[number % len(story.codes)])
        case "work":
            story.work()
        case "install_agency":
            story.install_agency()
        case "install_some":
            story.install_agency(approved=[where])
        case "uninstall_agency" if world.companies[story.company_id].installed:
            story.uninstall_agency()
        case "install_location":
            story.install_location(where)
        case "uninstall_location" if world.locations[where].installed:
            story.uninstall_location(where)
        case "add_location" if len(story.location_ids) < 6:
            world.companies[story.company_id].install_to_future_locations = number % 2 == 0
            world.settings.future_installs_named = number % 3 == 0
            story.add_location()
        case "suspend" | "activate":
            world.locations[where].active = what == "activate"
        case "update":
            story.update(f"version-{number}")
