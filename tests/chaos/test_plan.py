"""The plan comes from its seed alone, and a full run leaves no fault out."""

from collections import Counter
from random import Random

import pytest
from django.conf import settings

from ghlapp.celery import app
from sandbox.faults import Fault as SandboxFault
from sandbox.settings import Settings as SandboxSettings
from tests.chaos import messages
from tests.chaos.accounts import OUTAGES
from tests.chaos.faults import FAULTS, LONGEST_HANG
from tests.chaos.plan import Batch, Errand
from tests.chaos.runs import scenes
from tests.chaos.stack import LIST_LAG_SECONDS, SETTLE_SECONDS, TIMEOUT_SECONDS, Place

PLACES = [Place("acme", f"l{n}", f"c{n}", f"u{n}", f"p{n}", seats=3 if n % 3 == 0 else 1) for n in range(6)]


def drawn(seed: int, count: int = 60) -> list[Errand]:
    return Batch(Random(seed), 1, "s1b1f0", PLACES, 10).errands("cut_after", count)


def test_the_same_seed_draws_the_same_bookings() -> None:
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_every_token_names_one_booking() -> None:
    tokens = [errand.token for errand in drawn(1, 300)]

    assert len(set(tokens)) == len(tokens)
    assert not any(one in other for one in tokens for other in tokens if one != other)


def test_the_mixture_has_twins_series_new_contacts_and_second_thoughts() -> None:
    errands = drawn(1, 300)
    starts = Counter((each.place.location_id, each.body["startTime"]) for each in errands)

    assert any(count > 1 for count in starts.values())
    assert any("rrule" in each.body for each in errands)
    assert any("contact" in each.body for each in errands)
    assert {step.kind for each in errands for step in each.steps} == {"change", "cancel", "retry"}


def test_a_full_run_has_every_fault_and_all_its_bookings() -> None:
    planned = Counter[str]()
    for seed in range(1, 21):
        for scene in scenes(seed, 500):
            planned.update(scene.faults)

    assert set(planned) == set(FAULTS)
    assert planned.total() == 20 * 500
    assert all(count >= 100 for count in planned.values())


@pytest.mark.parametrize("name", FAULTS)
def test_the_sandbox_takes_the_orders_of(name: str) -> None:
    fault = FAULTS[name]
    for order in fault.orders(
        Random(1), Batch(Random(1), 1, "s1", PLACES, 10).errands(name, 40, fault.errands)
    ):
        ordered = SandboxFault(**order)
        # The condition of the promise: done, and seen, in time.
        assert not ordered.kind.startswith("hang") or ordered.seconds <= LONGEST_HANG


@pytest.mark.parametrize("name", FAULTS)
def test_the_sandbox_takes_the_settings_of(name: str) -> None:
    SandboxSettings().change(FAULTS[name].settings)


@pytest.mark.parametrize("kind", OUTAGES)
def test_the_sandbox_knows_how_to_be_down(kind: str) -> None:
    assert kind == "refused" or SandboxFault(kind, times=None)  # type: ignore[arg-type]


def test_highlevel_keeps_the_condition_of_the_promise() -> None:
    assert LONGEST_HANG + LIST_LAG_SECONDS < TIMEOUT_SECONDS + SETTLE_SECONDS
    for fault in FAULTS.values():
        assert fault.settings.get("list_lag_seconds", 0) < TIMEOUT_SECONDS + SETTLE_SECONDS


def test_the_extra_messages_are_ones_that_the_workers_know() -> None:
    app.loader.import_default_modules()

    assert {messages.CONVERGE, messages.SWEEP, messages.REFRESH, messages.LETTERS} <= set(app.tasks)
    assert settings.CELERY_TASK_DEFAULT_QUEUE == messages.QUEUE
