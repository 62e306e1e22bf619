"""A run: seeds, each several batches of bookings under their faults, one after the other on one running stack.
What the faults are is faults.py; how a batch is judged is books.py."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

import httpx2

from ghlapp.local.processes import StartError
from tests.chaos.accounts import Act
from tests.chaos.books import Verdict, is_finished, judge
from tests.chaos.faults import ACCOUNTS, COMMON, FAULTS, UPSTREAM, WIDE, Fault
from tests.chaos.messages import Messages
from tests.chaos.plan import Batch, Errand, stretch_of
from tests.chaos.stack import SETTLE_SECONDS, TENANTS, TIMEOUT_SECONDS, Place, Stack
from tests.chaos.staff import Staff
from tests.chaos.tenants import Market

# No booking may be unfinished longer than this after the faults have ended.
FINISH_SECONDS = 300
# News by letter, or by a comparison of both sides, has come by then.
NEWS_SECONDS = 60
POLL_SECONDS = 1.0
PAGE = 100
BACK_SECONDS = 60
# All of UPSTREAM or ACCOUNTS at once, each in locations of its own.
ALL_UPSTREAM, ALL_ACCOUNTS = "upstream", "accounts"
APART = {ALL_UPSTREAM: UPSTREAM, ALL_ACCOUNTS: ACCOUNTS}
# Tenants stop asking for new bookings before the faults end, so that each has its fair share of them.
ASKING_SHARE = 0.75


Shares = dict[str, list[Place]]
Paused = tuple[Callable[[Stack, Random], None], tuple[float, float]]


@dataclass(frozen=True)
class Scene:
    """One batch: how many bookings under each of its faults, which either share all places or have some each.

    `apart` is then the name that all of them go by.
    """

    faults: dict[str, int]
    apart: str = ""
    # How long the faults last, where it is not for them to say.
    seconds: float | None = None

    @property
    def title(self) -> str:
        return self.apart or " + ".join(self.faults)

    def command(self, seed: int) -> str:
        """What repeats it: the same plan, at least, for what the machine's scheduler does nobody has a seed."""
        names = self.title if len(self.faults) == 1 or self.apart else f'"{" ".join(self.faults)}" TOGETHER=1'
        return f"make chaos SEED={seed} FAULT={names} BOOKINGS={sum(self.faults.values())}"


@dataclass
class Run:
    stack: Stack
    say: Callable[[str], None]
    verdicts: list[Verdict] = field(default_factory=list)
    answers: "Counter[str]" = field(default_factory=Counter)
    missing: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)
    # Processes that ended without our doing; the stack's guardian would have to start them again.
    ended: int = 0
    # What was not as it should be, though nothing was lost or doubled.
    complaints: list[str] = field(default_factory=list)
    _batches: int = 0
    _began_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    # What repeats the batch of a booking, by its token.
    _commands: dict[str, str] = field(default_factory=dict)

    def scene(self, seed: int, scene: Scene) -> None:
        faults = {name: FAULTS[name] for name in self._possible(scene)}
        if not faults:
            return
        self._batches += 1
        random = Random(f"{seed} {scene.title}")
        began, began_at = time.monotonic(), datetime.now(UTC)
        seconds = scene.seconds or max(fault.seconds for fault in faults.values())
        shares = _shares(self.stack.places, faults, apart=bool(scene.apart))
        errands, orders = self._plan(seed, scene, shares, random, ASKING_SHARE * seconds)
        market = Market(self.stack, self.answers, self.missing)
        with ExitStack() as closing:
            closing.callback(self.stack.restore)
            self._set_up(random.getrandbits(32), faults, orders, closing, errands)
            market.open(errands, seed)
            self._let_staff_in(faults, market, closing, seed)
            self._deal(faults, shares, random, seconds)
        faults_over = time.monotonic()
        market.close()
        verdicts = self._settled(shares, market, began_at, faults_over)
        for fault in faults.values():
            fault.review(self.stack)
        self.verdicts += verdicts
        self._commands.update({each.record.errand.token: scene.command(seed) for each in verdicts})
        self._report(seed, scene, verdicts, (faults_over - began, time.monotonic() - faults_over))

    def judge_again(self) -> None:
        """All batches once more at the end: what came later than it should have is found then."""
        records = [each.record for each in self.verdicts]
        again = judge(records, self._bookings(self._began_at), self.stack.desk.appointments())
        for number, (before, now) in enumerate(zip(self.verdicts, again, strict=True)):
            if before.good and not now.good:
                self.verdicts[number] = now
                self._tell(now)

    def _possible(self, scene: Scene) -> list[str]:
        why = {name: FAULTS[name].needs(self.stack) for name in scene.faults}
        self.skipped.update({name: reason for name, reason in why.items() if reason})
        return [name for name, reason in why.items() if not reason]

    # --- Before and meanwhile -----------------------------------------------------------------------------

    def _plan(
        self, seed: int, scene: Scene, shares: Shares, random: Random, seconds: float
    ) -> tuple[list[Errand], list[dict[str, Any]]]:
        errands: list[Errand] = []
        orders: list[dict[str, Any]] = []
        for number, (name, places) in enumerate(shares.items()):
            fault = FAULTS[name]
            batch = Batch(random, self._batches, f"s{seed}b{self._batches}f{number}", places, seconds)
            drawn = batch.errands(name, scene.faults[name], fault.errands)
            errands += drawn
            orders += fault.orders(random, drawn)
        return errands, orders

    def _set_up(
        self,
        forms_seed: int,
        faults: dict[str, Fault],
        orders: list[dict[str, Any]],
        closing: ExitStack,
        errands: list[Errand],
    ) -> None:
        self.stack.desk.set(forms_seed=forms_seed)
        for fault in faults.values():
            if fault.settings:
                self.stack.desk.set(**fault.settings)
        self.stack.desk.order(orders)
        if any(fault.messages for fault in faults.values()):
            places = sorted({each.place.location_id for each in errands})
            closing.enter_context(Messages(self.stack.redis_url, places))

    def _let_staff_in(self, faults: dict[str, Fault], market: Market, closing: ExitStack, seed: int) -> None:
        theirs = [each for each in market.records if faults[each.errand.fault].staff]
        if theirs:
            staff = closing.enter_context(Staff(self.stack.desk.url, theirs, f"{seed} staff"))
            closing.callback(lambda: self.stack.remarks.append(f"what staff did: {dict(staff.acts)}"))

    def _deal(self, faults: dict[str, Fault], shares: Shares, random: Random, seconds: float) -> None:
        """Strokes from the main thread, which children of the stack must be started by; acts beside them."""
        until = time.monotonic() + seconds
        strokes = [(stroke, fault.pause) for fault in faults.values() for stroke in fault.strokes]
        with ThreadPoolExecutor(len(faults)) as pool:
            acting = [
                pool.submit(
                    _one_by_one, self.stack, Random(random.random()), until, _acts(fault, shares[name])
                )
                for name, fault in faults.items()
            ]
            _one_by_one(self.stack, random, until, strokes)
        for each in acting:
            each.result()

    # --- Afterwards ---------------------------------------------------------------------------------------

    def _settled(self, shares: Shares, market: Market, since: datetime, faults_over: float) -> list[Verdict]:
        """The verdicts once everything is finished, and news of what staff did has had the time to come."""
        faults = {name: FAULTS[name] for name in shares}
        bookings = self._wait_until_finished(since, faults_over)
        places = [place for name, fault in faults.items() if fault.compares for place in shares[name]]
        if places and not self.stack.compare(places, stretch_of(self._batches) - timedelta(seconds=1)):
            self.stack.complaints.append("bookings and calendars were not compared in time")
        until = time.monotonic() + NEWS_SECONDS
        while True:
            verdicts = judge(market.records, bookings, self.stack.desk.appointments())
            comes = any(fault.staff or fault.compares for fault in faults.values())
            if not comes or all(each.good for each in verdicts) or time.monotonic() > until:
                return verdicts
            time.sleep(POLL_SECONDS)
            bookings = list(self._bookings(since))

    def _wait_until_finished(self, since: datetime, faults_over: float) -> list[dict[str, Any]]:
        until = faults_over + FINISH_SECONDS
        # HighLevel may still be busy with what was sent at the very end.
        time.sleep(max(0.0, faults_over + TIMEOUT_SECONDS + SETTLE_SECONDS - time.monotonic()))
        while True:
            bookings = list(self._bookings(since))
            if all(map(is_finished, bookings)) or time.monotonic() > until:
                return bookings
            # What was in flight when the faults ended may have begun such a wait.
            self.stack.cut_waits_short()
            time.sleep(POLL_SECONDS)

    def _bookings(self, since: datetime) -> Iterator[dict[str, Any]]:
        """All that were accepted since then, as the API lists them."""
        created_from = (since - timedelta(seconds=1)).isoformat(timespec="seconds").replace("+00:00", "Z")
        for tenant in TENANTS:
            page: str | None = f"/api/v1/bookings?limit={PAGE}&createdFrom={created_from}"
            with self._client(tenant) as http:
                while page:
                    answer = _read(http, page)
                    yield from answer["results"]
                    page = answer["next"]

    def _client(self, tenant: str) -> httpx2.Client:
        return httpx2.Client(
            base_url=self.stack.url,
            headers={"Authorization": f"Bearer {self.stack.keys[tenant]}"},
            timeout=20,
        )

    def _report(self, seed: int, scene: Scene, verdicts: list[Verdict], seconds: tuple[float, float]) -> None:
        accepted = [each for each in verdicts if each.accepted]
        lost, doubled = (
            sum(each.lost is not None for each in verdicts),
            sum(bool(each.doubled) for each in verdicts),
        )
        self.say(
            f"seed {seed:<3} {scene.title:<18} {len(accepted):>4} accepted in {seconds[0]:.0f} s, "
            f"finished after {seconds[1]:.0f} s more: lost {lost}, doubled {doubled}"
        )
        for note in (*self.stack.news, *self.stack.remarks):
            self.say(f"         {note}")
        self.ended += len(self.stack.news)
        self.complaints += self.stack.complaints
        for told in (self.stack.news, self.stack.remarks, self.stack.complaints):
            told.clear()
        for verdict in verdicts:
            if not verdict.good:
                self._tell(verdict)

    def _tell(self, verdict: Verdict) -> None:
        """While the stack still runs: what the API and the sandbox have to say about a booking."""
        record = verdict.record
        errand = record.errand
        lines = [
            f"{errand.token} under {errand.fault}: {verdict.lost or ''} {verdict.doubled or ''}",
            f"   asked for {errand.body}, then {[(step.kind, step.changes) for step in errand.steps]}",
            f"   repeat with: {self._commands[errand.token]}",
            *(f"   staff: {act}" for act in record.staff),
        ]
        if booking_id := record.booking_id:
            with self._client(errand.place.tenant) as http:
                lines += [f"   {line}" for line in _told(http, booking_id)]
        for call in self.stack.desk.calls_about(errand.place.location_id, errand.token):
            lines.append(
                f"   the sandbox: {call['at']} {call['method']} {call['path']} → {call['outcome']} "
                f"({call['fault'] or 'no fault'}, {call['duration_ms']} ms)"
            )
        self.details.append("\n".join(lines))
        self.say(self.details[-1])


def _read(http: httpx2.Client, path: str) -> dict[str, Any]:
    """Right after the faults the API may not be back yet."""
    for _ in range(BACK_SECONDS):
        try:
            answer: dict[str, Any] = http.get(path).raise_for_status().json()
        except httpx2.HTTPError:
            time.sleep(1)
        else:
            return answer
    raise StartError(f"{path} gave no answer for {BACK_SECONDS} seconds after the faults had ended")


def _told(http: httpx2.Client, booking_id: str) -> Iterator[str]:
    booking = http.get(f"/api/v1/bookings/{booking_id}").json()
    shown = ("status", "inSync", "appointmentId", "startTime", "title", "attempts", "nextAttemptAt", "error")
    yield f"booking {booking_id}: " + ", ".join(f"{name} {booking.get(name)}" for name in shown)
    for entry in http.get(f"/api/v1/bookings/{booking_id}/timeline").json().get("results", []):
        call = entry["call"]
        if call:
            said = f"{call['method']} {call['path']} → {call['status']} {call['outcome']}, {call['durationMs']} ms"
        else:
            said = f"{entry['from'] or 'new'} → {entry['to']} ({entry['reason']})"
        yield f"{entry['at']}  {said}"


def _shares(places: list[Place], faults: dict[str, Fault], *, apart: bool) -> Shares:
    theirs = [places[number :: len(faults)] if apart else places for number in range(len(faults))]
    return {name: mine[: faults[name].locations] for name, mine in zip(faults, theirs, strict=True)}


def _acts(fault: Fault, places: list[Place]) -> list[Paused]:
    return [(partial(_done_to, places, act), fault.pause) for act in fault.acts]


def _done_to(places: list[Place], act: Act, stack: Stack, random: Random) -> None:
    act(stack, random, places)


def _one_by_one(stack: Stack, random: Random, until: float, strokes: list[Paused]) -> None:
    while (left := until - time.monotonic()) > 0:
        if not strokes:
            time.sleep(left)
            continue
        stroke, pause = random.choice(strokes)
        time.sleep(min(random.uniform(*pause), left))
        stroke(stack, random)


# --- Which faults, in which order -------------------------------------------------------------------------


COMMON_PER_SEED = 2


def scenes(seed: int, bookings: int) -> list[Scene]:
    """A seed's batches: what HighLevel does to calls, and what befalls accounts, all of it at once in locations of
    its own; one of what is HighLevel's as a whole and two of the common ones alone, in turn from seed to seed; and
    everything together."""
    alone = [name for name in COMMON if name != "everything"]
    first = (seed - 1) * COMMON_PER_SEED
    turn = [alone[(first + number) % len(alone)] for number in range(COMMON_PER_SEED)]
    each = bookings // 10
    return [
        _apart(ALL_UPSTREAM, bookings - each * (6 + COMMON_PER_SEED)),
        _apart(ALL_ACCOUNTS, each * 2),
        Scene({list(WIDE)[(seed - 1) % len(WIDE)]: each * 2}),
        *(Scene({name: each}) for name in turn),
        Scene({"everything": each * 2}),
    ]


def chosen(names: list[str], bookings: int, seconds: float | None, *, together: bool) -> list[Scene]:
    """The named faults, one after the other or all at once."""
    share = bookings // len(names)
    if together:
        return [Scene(dict.fromkeys(names, share), seconds=seconds)]
    return [
        _apart(name, share, seconds) if name in APART else Scene({name: share}, seconds=seconds)
        for name in names
    ]


def _apart(name: str, bookings: int, seconds: float | None = None) -> Scene:
    each, more = divmod(bookings, len(APART[name]))
    shares = {fault: each + (number < more) for number, fault in enumerate(APART[name])}
    return Scene(shares, apart=name, seconds=seconds)


def short_scenes() -> list[Scene]:
    """The most telling ones, with few bookings each and less time."""
    return [
        _apart(ALL_UPSTREAM, 60, seconds=9),
        _apart(ALL_ACCOUNTS, 32, seconds=8),
        Scene({"staff_unheard": 20}, seconds=6),
        Scene({"worker_killed": 30}, seconds=9),
        Scene({"redis_restarted": 20}, seconds=5),
        Scene({"everything": 40}, seconds=16),
    ]
