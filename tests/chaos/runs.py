"""A run: seeds, each several batches of bookings under their faults, one after the other on one running stack.
What the faults are is faults.py; how a batch is judged is books.py."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx2

from ghlapp.local.processes import StartError
from tests.chaos.books import Verdict, is_finished, judge
from tests.chaos.faults import COMMON, FAULTS, UPSTREAM, Fault
from tests.chaos.messages import Messages
from tests.chaos.plan import Batch, Errand
from tests.chaos.stack import SETTLE_SECONDS, TENANTS, TIMEOUT_SECONDS, Place, Stack
from tests.chaos.tenants import Market

# No booking may be unfinished longer than this after the faults have ended.
FINISH_SECONDS = 300
POLL_SECONDS = 1.0
PAGE = 100
BACK_SECONDS = 60
# All of UPSTREAM at once, each in locations of its own.
ALL_UPSTREAM = "upstream"
# Tenants stop asking for new bookings before the faults end, so that each has its fair share of them.
ASKING_SHARE = 0.75


@dataclass(frozen=True)
class Scene:
    """One batch: how many bookings under each of its faults, which either share all places or have some each."""

    faults: dict[str, int]
    apart: bool = False
    # How long the faults last, where it is not for them to say.
    seconds: float | None = None

    @property
    def title(self) -> str:
        return ALL_UPSTREAM if self.apart else " + ".join(self.faults)

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
        errands, orders = self._plan(seed, scene, faults, random, ASKING_SHARE * seconds)
        market = Market(self.stack, self.answers, self.missing)
        with ExitStack() as closing:
            closing.callback(self.stack.restore)
            self._set_up(faults, orders, closing, errands)
            market.open(errands, seed)
            self._deal(faults, random, seconds)
        faults_over = time.monotonic()
        market.close()
        bookings = self._wait_until_finished(began_at, faults_over)
        verdicts = judge(market.records, bookings, self.stack.desk.appointments())
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
        self, seed: int, scene: Scene, faults: dict[str, Fault], random: Random, seconds: float
    ) -> tuple[list[Errand], list[dict[str, Any]]]:
        errands: list[Errand] = []
        orders: list[dict[str, Any]] = []
        shares = _shares(self.stack.places, list(faults), apart=scene.apart)
        for number, (name, fault) in enumerate(faults.items()):
            batch = Batch(random, self._batches, f"s{seed}b{self._batches}f{number}", shares[name], seconds)
            drawn = batch.errands(name, scene.faults[name], fault.errands)
            errands += drawn
            orders += fault.orders(random, drawn)
        return errands, orders

    def _set_up(
        self,
        faults: dict[str, Fault],
        orders: list[dict[str, Any]],
        closing: ExitStack,
        errands: list[Errand],
    ) -> None:
        for fault in faults.values():
            if fault.settings:
                self.stack.desk.set(**fault.settings)
        self.stack.desk.order(orders)
        if any(fault.messages for fault in faults.values()):
            places = sorted({each.place.location_id for each in errands})
            closing.enter_context(Messages(self.stack.redis_url, places))

    def _deal(self, faults: dict[str, Fault], random: Random, seconds: float) -> None:
        """From the main thread, which children of the stack must be started by."""
        until = time.monotonic() + seconds
        strokes = [(stroke, fault.pause) for fault in faults.values() for stroke in fault.strokes]
        while (left := until - time.monotonic()) > 0:
            if not strokes:
                time.sleep(left)
                continue
            stroke, pause = random.choice(strokes)
            time.sleep(min(random.uniform(*pause), left))
            stroke(self.stack, random)

    # --- Afterwards ---------------------------------------------------------------------------------------

    def _wait_until_finished(self, since: datetime, faults_over: float) -> list[dict[str, Any]]:
        until = faults_over + FINISH_SECONDS
        # HighLevel may still be busy with what was sent at the very end.
        time.sleep(max(0.0, faults_over + TIMEOUT_SECONDS + SETTLE_SECONDS - time.monotonic()))
        while True:
            bookings = list(self._bookings(since))
            if all(map(is_finished, bookings)) or time.monotonic() > until:
                return bookings
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
        for note in self.stack.news:
            self.say(f"         {note}")
        self.ended += len(self.stack.news)
        self.stack.news.clear()
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


def _shares(places: list[Place], names: list[str], *, apart: bool) -> dict[str, list[Place]]:
    if not apart:
        return dict.fromkeys(names, places)
    return {name: places[number :: len(names)] for number, name in enumerate(names)}


# --- Which faults, in which order -------------------------------------------------------------------------


COMMON_PER_SEED = 2


def scenes(seed: int, bookings: int) -> list[Scene]:
    """A seed's batches: all faults of HighLevel's at once in their own locations, two of the common ones alone, in
    turn from seed to seed, and everything together."""
    alone = [name for name in COMMON if name != "everything"]
    first = (seed - 1) * COMMON_PER_SEED
    turn = [alone[(first + number) % len(alone)] for number in range(COMMON_PER_SEED)]
    each = bookings // 5
    return [
        _upstream(bookings - each * (COMMON_PER_SEED + 1)),
        *(Scene({name: each}) for name in turn),
        Scene({"everything": each}),
    ]


def chosen(names: list[str], bookings: int, seconds: float | None, *, together: bool) -> list[Scene]:
    """The named faults, one after the other or all at once."""
    share = bookings // len(names)
    if together:
        return [Scene(dict.fromkeys(names, share), seconds=seconds)]
    return [
        _upstream(share, seconds) if name == ALL_UPSTREAM else Scene({name: share}, seconds=seconds)
        for name in names
    ]


def _upstream(bookings: int, seconds: float | None = None) -> Scene:
    return Scene(dict.fromkeys(UPSTREAM, bookings // len(UPSTREAM)), apart=True, seconds=seconds)


def short_scenes() -> list[Scene]:
    """The most telling ones, with few bookings each and less time."""
    return [
        _upstream(60, seconds=9),
        Scene({"worker_killed": 30}, seconds=9),
        Scene({"redis_restarted": 20}, seconds=5),
        Scene({"everything": 40}, seconds=16),
    ]
