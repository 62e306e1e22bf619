"""Letters travel to the app's webhook: signed, again after a failure, several at a time, held, lost, doubled."""

import base64
import threading
import uuid
from collections.abc import Iterator

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sandbox import PUBLIC_KEY_PEM, Letter, World
from sandbox.server import serve
from tests.sandbox.mailbox import Mailbox, Received, open_mailbox


@pytest.fixture
def mailbox(world: World) -> Iterator[Mailbox]:
    with open_mailbox() as mailbox:
        world.settings.change({"webhook_url": mailbox.url, "letter_retry_seconds": 0.01})
        yield mailbox
        world.letters.close()


def write(world: World, number: int = 0) -> Letter:
    return world.letters.write({"type": "TEST", "number": number})


def settle(world: World) -> None:
    assert world.letters.settled(10)


def verify(body: bytes, signature: str) -> None:
    key = load_pem_public_key(PUBLIC_KEY_PEM.encode())
    assert isinstance(key, Ed25519PublicKey)
    key.verify(base64.b64decode(signature), body)


def test_it_signs_the_bytes_it_sends(world: World, mailbox: Mailbox) -> None:
    write(world)

    [received] = mailbox.wait_for(1)

    verify(received.body, received.headers["x-ghl-signature"])
    with pytest.raises(InvalidSignature):
        verify(received.body + b" ", received.headers["x-ghl-signature"])
    assert received.headers["x-wh-signature"] == "N/A"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"]


def test_it_puts_a_letter_into_an_envelope(world: World, mailbox: Mailbox) -> None:
    world.clock.advance(86_400)
    letter = write(world)

    [received] = mailbox.wait_for(1)

    assert received.content["timestamp"][:10] == f"{world.clock.now():%Y-%m-%d}"
    assert received.content["timestamp"].endswith("Z")
    assert str(uuid.UUID(received.webhook_id)) == received.webhook_id == letter.webhook_id


def test_it_gives_a_test_the_letter_to_deliver_itself(world: World) -> None:
    letter = write(world)

    raw, headers = letter.signed

    assert (letter.state, letter.content["type"]) == ("held", "TEST")
    verify(raw, headers["X-GHL-Signature"])


def test_it_tries_again_until_the_letter_is_taken(world: World, mailbox: Mailbox) -> None:
    mailbox.statuses = [500, 302, 401]
    letter = write(world)

    settle(world)

    assert (letter.state, letter.attempts, letter.answers) == ("delivered", 4, [500, 302, 401, 200])
    assert len({received.body for received in mailbox.received}) == 1


def test_it_gives_up_after_the_last_retry(world: World, mailbox: Mailbox) -> None:
    world.settings.letter_retries = 2
    mailbox.statuses = [503] * 9
    letter = write(world)

    settle(world)

    assert (letter.state, letter.answers) == ("failed", [503, 503, 503])


def test_it_tries_again_where_nobody_answers(world: World, mailbox: Mailbox) -> None:
    with open_mailbox() as other:
        world.settings.webhook_url = other.url
    world.settings.letter_retries = 1
    letter = write(world)

    settle(world)

    assert (letter.state, letter.answers) == ("failed", ["ConnectError", "ConnectError"])


def test_it_sends_several_at_a_time(world: World, mailbox: Mailbox) -> None:
    together = threading.Barrier(4, timeout=5)
    mailbox.meet = lambda _received: together.wait()

    for number in range(4):
        write(world, number)

    settle(world)
    assert {letter.state for letter in world.letters} == {"delivered"}
    assert not together.broken


def test_it_does_not_hold_the_world_while_a_letter_travels(world: World, mailbox: Mailbox) -> None:
    answers: list[bool] = []

    def ask_the_world(_received: Received) -> None:
        taken = world.lock.acquire(timeout=5)
        answers.append(taken)
        if taken:
            world.lock.release()

    mailbox.meet = ask_the_world
    write(world)

    settle(world)
    assert answers == [True]


def test_it_keeps_letters_until_released(world: World, mailbox: Mailbox) -> None:
    world.settings.letters_held = True
    letters = [write(world, number) for number in range(3)]
    settle(world)
    assert mailbox.received == []
    assert {letter.state for letter in letters} == {"held"}

    world.letters.release()

    settle(world)
    assert {received.webhook_id for received in mailbox.received} == {letter.webhook_id for letter in letters}


def test_it_releases_letters_in_the_order_asked_for(world: World, mailbox: Mailbox) -> None:
    world.settings.letters_held = True
    ids = [write(world, number).webhook_id for number in range(20)]
    order = [*ids[10:], *reversed(ids[:10])]

    world.letters.release(order)

    settle(world)
    assert [received.webhook_id for received in mailbox.received] == order


def test_it_does_not_release_a_dropped_letter(world: World, mailbox: Mailbox) -> None:
    world.settings.letters_held = True
    dropped, kept = write(world), write(world)

    world.letters.drop(dropped.webhook_id)
    world.letters.release()

    settle(world)
    assert [received.webhook_id for received in mailbox.received] == [kept.webhook_id]
    assert dropped.state == "dropped"


def test_it_stops_trying_a_dropped_letter(world: World, mailbox: Mailbox) -> None:
    world.settings.letter_retries = 10**9
    mailbox.statuses = [500] * 10**5
    letter = write(world)
    mailbox.wait_for(2)

    world.letters.drop(letter.webhook_id)

    settle(world)
    assert letter.state == "dropped"


def test_it_sends_a_letter_again(world: World, mailbox: Mailbox) -> None:
    letter = write(world)
    settle(world)

    world.letters.send_again(letter.webhook_id)

    settle(world)
    first, second = mailbox.received
    assert first == second


def test_it_sends_anything_it_is_given(world: World, mailbox: Mailbox) -> None:
    world.letters.post({"type": "ODD", "webhookId": "once"})
    again = world.letters.post({"type": "ODD", "webhookId": "once"})

    settle(world)
    assert [received.content for received in mailbox.received] == [{"type": "ODD", "webhookId": "once"}] * 2
    # The log finds both.
    assert again.webhook_id != "once"
    assert len(world.letters) == 2


def test_it_loses_its_share_of_letters(world: World, mailbox: Mailbox) -> None:
    world.settings.change({"letters_lost_share": 0.5, "letters_seed": 7})

    first = [write(world, number).state == "dropped" for number in range(40)]
    settle(world)

    assert 5 < sum(first) < 35
    assert len(mailbox.received) == 40 - sum(first)

    world.reset()
    world.settings.change({"letters_lost_share": 0.5, "letters_seed": 7, "webhook_url": mailbox.url})
    assert [write(world, number).state == "dropped" for number in range(40)] == first


def test_it_doubles_its_share_of_letters(world: World, mailbox: Mailbox) -> None:
    world.settings.letters_doubled_share = 1.0
    letter = write(world)

    settle(world)

    assert (letter.state, letter.attempts) == ("delivered", 2)
    assert [received.webhook_id for received in mailbox.received] == [letter.webhook_id] * 2


def test_it_shuffles_letters(world: World, mailbox: Mailbox) -> None:
    world.settings.letters_shuffled_seconds = 0.5
    ids = [write(world, number).webhook_id for number in range(30)]

    settle(world)

    arrived = [received.webhook_id for received in mailbox.received]
    assert sorted(arrived) == sorted(ids)
    assert arrived != ids


def test_it_drops_what_is_undelivered_when_it_begins_anew(world: World, mailbox: Mailbox) -> None:
    mailbox.statuses = [500] * 10**5
    world.settings.letter_retries = 10**9
    letter = write(world)
    mailbox.wait_for(1)

    world.reset()

    sent = len(mailbox.received)
    assert letter.state == "dropped"
    assert len(world.letters) == 0
    world.settings.webhook_url = mailbox.url
    mailbox.statuses = []
    newer = write(world)
    settle(world)
    assert [received.webhook_id for received in mailbox.received[sent:]] == [newer.webhook_id]


def test_it_ends_its_threads_with_the_server(world: World, mailbox: Mailbox) -> None:
    with serve(world):
        write(world)
        settle(world)
        assert _carriers()

    assert not _carriers()


def _carriers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sandbox-post"]
