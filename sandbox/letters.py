"""The signed letters HighLevel sends to the app's webhook: each one, and the log of all with its levers.

Not here: what they say (news.py), how they travel (post.py).
"""

import base64
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sandbox import times
from sandbox.clock import Clock
from sandbox.post import Post
from sandbox.settings import Settings

# No secret: whoever reads this may sign for the sandbox, and for nothing else. It is the same in every world, so
# that an app under test can be told the public key before the sandbox runs.
_SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(b"sandbox letters: this is a seed.")
PUBLIC_KEY_PEM = (
    _SIGNING_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
)
_KEPT = 50_000

# "held" waits for release: it was told to, or there was no address to send it to.
State = Literal["pending", "held", "delivered", "failed", "dropped"]


def sign(raw: bytes) -> dict[str, str]:
    """The headers under which HighLevel would send this body; the RSA signature's days are over."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "HighLevel-Webhooks/1.0 (sandbox)",
        "X-GHL-Signature": base64.b64encode(_SIGNING_KEY.sign(raw)).decode(),
        "X-WH-Signature": "N/A",
    }


@dataclass
class Letter:
    webhook_id: str
    type: str
    body: bytes
    state: State = "pending"
    attempts: int = 0
    # Statuses, or what kept an answer from coming.
    answers: list[int | str] = field(default_factory=list)

    @cached_property
    def headers(self) -> dict[str, str]:
        # Signed when first asked for: ten thousand installs at once must not wait for ten thousand signatures.
        return sign(self.body)

    @property
    def content(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def signed(self) -> tuple[bytes, dict[str, str]]:
        """Body and headers, for a test that delivers the letter itself."""
        return self.body, dict(self.headers)


class Letters:
    """All letters of a world, oldest first; `for letter in world.letters` goes through them."""

    def __init__(self, clock: Clock, settings: Settings) -> None:
        self._clock = clock
        self._settings = settings
        self._written: dict[str, Letter] = {}
        self._count = 0
        self._post = Post(settings)

    def __iter__(self) -> Iterator[Letter]:
        return iter(list(self._written.values()))

    def __len__(self) -> int:
        return len(self._written)

    def __getitem__(self, webhook_id: str) -> Letter:
        return self._written[webhook_id]

    def of_type(self, *types: str) -> list[Letter]:
        return [letter for letter in self if letter.type in types]

    def write(self, content: Mapping[str, Any]) -> Letter:
        """Put it into HighLevel's envelope, by the world's clock, and post it."""
        now = times.utc(self._clock.now())
        return self.post({**content, "timestamp": now, "webhookId": str(uuid.uuid4())})

    def post(self, content: Mapping[str, Any]) -> Letter:
        """Post exactly this, whatever it is; the faults ordered in the settings may meet it."""
        raw = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        letter = Letter(self._unused_id(content), str(content.get("type", "")), raw)
        self._keep(letter)
        if self._settings.letters_held or self._settings.webhook_url is None:
            letter.state = "held"
        else:
            self._entrust(letter)
        return letter

    def release(self, order: Sequence[str] | None = None) -> list[Letter]:
        """Send all that are held, or these: each then begins its way after the one before has had its answer."""
        if order is None:
            return self._send([letter for letter in self if letter.state == "held"])
        return self._send([self._written[webhook_id] for webhook_id in order])

    def send_again(self, webhook_id: str) -> Letter:
        """As somebody does by hand in HighLevel's log: the same bytes once more, whatever became of them."""
        return self._send([self._written[webhook_id]])[0]

    def drop(self, webhook_id: str) -> Letter:
        letter = self._written[webhook_id]
        letter.state = "dropped"
        return letter

    def settled(self, seconds: float) -> bool:
        """Wait until none is on its way or to be tried again; False where that takes longer."""
        return self._post.idle(seconds)

    def close(self) -> None:
        """End the post: what was not delivered is dropped. A letter written later starts it anew."""
        self._post.close()

    def _unused_id(self, content: Mapping[str, Any]) -> str:
        """The letter's own id, but for one sent by hand without any, or with that of another."""
        named = str(content.get("webhookId", ""))
        return named if named and named not in self._written else str(uuid.uuid4())

    def _keep(self, letter: Letter) -> None:
        self._count += 1
        self._written[letter.webhook_id] = letter
        if len(self._written) > _KEPT:
            del self._written[next(iter(self._written))]

    def _entrust(self, letter: Letter) -> None:
        """On its way, unless the settings lose it; chance is the same in every run with the same seed."""
        chance = Random(f"{self._settings.letters_seed}:{self._count}")  # noqa: S311 - faults, not secrets
        if chance.random() < self._settings.letters_lost_share:
            letter.state = "dropped"
            return
        copies = 2 if chance.random() < self._settings.letters_doubled_share else 1
        for _ in range(copies):
            self._post.carry([letter], chance.random() * self._settings.letters_shuffled_seconds)

    def _send(self, letters: list[Letter]) -> list[Letter]:
        if self._settings.webhook_url is None:
            return letters
        for letter in letters:
            letter.state = "pending"
        self._post.carry(letters)
        return letters
