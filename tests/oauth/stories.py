"""Lives of installs, played out: what people do in HighLevel, what it writes of that, and what reaches us when.
The invariants that must hold in each are in test_install_orders.py; no test lives here."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import redis
from django.conf import settings
from django.db.models.functions import Now

from ghl import letters as reading
from ghl.errors import CodeRejected
from oauth import installs, minting, pace, provider, reconciling, vault
from oauth.models import FOREVER, Account, Agency, Location, LocationChange, Token
from sandbox import World
from sandbox import installs as upstream_installs
from sandbox.letters import Letter
from sandbox.tokens import Grant
from tests.oauth.conftest import plain
from webhooks import inbox
from webhooks.models import Letter as StoredLetter

REDIRECT = f"{settings.PUBLIC_URL}/oauth/callback"


def start_afresh() -> None:
    """Neither rows nor wake-ups nor calls of an earlier story."""
    for model in (StoredLetter, Token, LocationChange, Location, Agency):
        model.objects.all().delete()
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()
    pace.nothing_sent_before()


@dataclass
class Story:
    """One agency, its locations, and everything that is still on its way between HighLevel and us."""

    world: World
    company_id: str
    location_ids: list[str]
    # Consents whose browser has not come back to us yet.
    codes: list[str] = field(default_factory=list)
    delivered: set[str] = field(default_factory=set)
    # By location or company: of which install (HighLevel's count of its lives) we were given a token.
    told: dict[str, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, world: World, locations: int) -> "Story":
        world.settings.letters_held = True
        # Stories are about order; the pace has tests of its own.
        world.settings.rate_limit_burst = 10_000
        company = world.add_company("Story Agency")
        ids = [world.add_location(f"Shop {number}", company_id=company.id).id for number in range(locations)]
        return cls(world, company.id, ids)

    # What people do

    def wait(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    def install_agency(self, *, approved: Collection[str] = ()) -> None:
        self._consent(self.world.grant("Company", self.company_id, approved=approved))

    def install_location(self, location_id: str) -> None:
        self._consent(self.world.grant("Location", location_id))

    def _consent(self, grant: Grant) -> None:
        self.note(f"{grant.user_type} install of {self.name(grant.resource)}")
        self.codes.append(self.world.tokens.issue_code(grant, REDIRECT))

    def uninstall_agency(self) -> None:
        self.note("the agency uninstalls")
        self.world.uninstall_company(self.company_id)

    def uninstall_location(self, location_id: str) -> None:
        self.note(f"uninstall of {self.name(location_id)}")
        self.world.uninstall(location_id)

    def add_location(self) -> str:
        location = self.world.add_location("New shop", company_id=self.company_id)
        self.location_ids.append(location.id)
        self.note(f"new location {self.name(location.id)}")
        return location.id

    def update(self, version_id: str) -> None:
        self.note(f"update to {version_id}")
        if self.world.companies[self.company_id].installed:
            self.world.update_version(self.company_id, version_id)

    # What reaches us

    def come_back(self, code: str) -> None:
        """The browser of a consent comes back to us: at the earliest now HighLevel makes its token."""
        self.codes.remove(code)
        found = self.world.tokens.find_code(code)
        self.note("callback" + (f" of {self.name(found.grant.resource)}" if found else ", too late"))
        try:
            installs.complete(provider.exchange(code))
        except CodeRejected:
            return
        assert found is not None
        self.told[found.grant.resource] = found.grant.life

    @property
    def on_their_way(self) -> list[Letter]:
        return [letter for letter in self.world.letters if letter.webhook_id not in self.delivered]

    def deliver(self, letter: Letter) -> None:
        """Through the front door, and processed at once."""
        content = letter.content
        about = content.get("locationId") or content.get("companyId")
        self.note(f"letter {letter.type} of {self.name(about)}, {content['timestamp'][14:]}")
        first = letter.webhook_id not in self.delivered
        self.delivered.add(letter.webhook_id)
        outcome = inbox.receive(*letter.signed)
        assert outcome == (inbox.Outcome.STORED if first else inbox.Outcome.DUPLICATE)
        inbox.process_due()

    def handle_again(self, letter: Letter) -> None:
        """As an operator replays it, or where a worker died before it could write that it was done."""
        self.note(f"once more {letter.type}")
        StoredLetter.objects.filter(webhook_id=letter.webhook_id).replay()
        inbox.process_due()
        assert letter.content["type"] == reading.parse_letter(letter.content).type

    def work(self) -> None:
        """What workers do, until nothing is due."""
        for _ in range(20):
            reconciling.check_due()
            for agency_id in minting.agencies_with_due():
                vault.mint_due(agency_id)
            if not self._is_anything_due():
                return
        raise AssertionError(f"the background never comes to rest\n{self}")

    def _is_anything_due(self) -> bool:
        checked = (
            model._default_manager.exclude(status__in=Account.DISCONNECTED).filter(check_due_at__lte=Now())
            for model in (Agency, Location)
        )
        return any(due.exists() for due in checked) or bool(minting.agencies_with_due())

    def pass_time(self) -> None:
        """All that waits for a later time is due now, the nightly check too."""
        StoredLetter.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=Now())
        waiting = Location.objects.filter(mint_due_at__isnull=False)
        waiting.update(mint_due_at=Now(), mint_started_at=None)
        Token.objects.filter(refresh_due_at__lt=Now() + minting.LONGEST_WAIT).update(refresh_due_at=Now())
        for model in (Agency, Location):
            model._default_manager.filter(not_before__lt=FOREVER).update(not_before=None)
            model._default_manager.filter(check_due_at__isnull=False).update(check_due_at=Now())

    def end(self) -> None:
        """Whatever is still on its way arrives, and a night goes by."""
        for code in list(self.codes):
            self.come_back(code)
        for letter in self.on_their_way:
            self.deliver(letter)
        self.work()
        self.note("the night")
        self.pass_time()
        inbox.process_due()
        vault.refresh_due()
        self.work()

    # What is so

    def expected(self, location_id: str) -> set[str]:
        """What we can know of a location, once every letter is here: HighLevel's state, and who gave us a token.

        An install of the location's own that nobody gave us a token for looks like one that its agency ended; and of
        one whose agency nobody has named its agency's end says nothing.
        """
        location = self.world.locations[location_id]
        if not location.installed:
            is_nobodys = Location.objects.filter(pk=location_id, agency=None, token=None).exists()
            return {"uninstalled", "needs_reconnect"} if is_nobodys else {"uninstalled"}
        company = self.world.companies[self.company_id]
        by_agency = company.installed and self.told.get(company.id) == company.life
        if by_agency or self.told.get(location_id) == location.life:
            return {"active"}
        was_ended = location.installed_by == "Location" and company.life > 0
        return {"needs_reconnect", "uninstalled"} if was_ended else {"needs_reconnect"}

    def found(self, location_id: str) -> str:
        location = Location.objects.filter(pk=location_id).first()
        return location.status if location else "uninstalled"

    def works(self, token: Token) -> bool:
        """Whether HighLevel lets calls with it through."""
        grant = self.world.tokens.grant_of(plain(token, "access_token"))
        return grant is not None and upstream_installs.in_force(self.world, grant)

    def mints(self) -> Counter[str]:
        """How many tokens of each location HighLevel gave for the agency's."""
        given = [each for each in self.world.calls.records if each.operation == "location_token"]
        return Counter(each.body["locationId"] for each in given if each.outcome.startswith("2"))

    def note(self, what: str) -> None:
        self.log.append(f"{self.world.clock.now():%M:%S.%f} {what}")

    def name(self, id_: str | None) -> str:
        return f"#{self.location_ids.index(id_)}" if id_ in self.location_ids else "the agency"

    def __str__(self) -> str:
        return "\n".join(self.log)
