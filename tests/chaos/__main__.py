"""`python -m tests.chaos`: what `make chaos` runs. 0 where nothing was lost and nothing doubled.
What a run consists of is runs.py."""

import argparse
import shutil
import signal
import sys
import time
from itertools import count
from pathlib import Path

from ghlapp.local.files import FOLDER
from ghlapp.local.processes import StartError
from ghlapp.local.servers import LocalServers, TakenError
from tests.chaos.faults import FAULTS
from tests.chaos.runs import APART, Run, Scene, chosen, scenes, short_scenes
from tests.chaos.stack import Stack
from tests.chaos.table import table, totals

# Five for each fault that has locations of its own; three have to do where it is to be short.
LOCATIONS, FEW_LOCATIONS = 55, 30


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    # SIGTERM unwinds like Ctrl-C: everything that was started is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = time.monotonic()
    instance = _fresh_instance()
    usual = FEW_LOCATIONS if options.short else LOCATIONS
    run = Run(Stack(instance, options.locations or usual), say)
    broken = False
    try:
        with run.stack as stack:
            say(f"The stack runs after {time.monotonic() - began:.0f} s; its logs are in {stack.logs}.")
            for seed, scene in _scenes(options):
                run.scene(seed, scene)
            run.judge_again()
    except StartError as error:
        say(str(error))
        broken = True
    good = _sum_up(run, time.monotonic() - began) and not broken
    if good and not run.ended:
        LocalServers(instance).remove()
    return 0 if good else 1


def say(line: str = "") -> None:
    print(line, flush=True)  # noqa: T201 (a command)


def _scenes(options: argparse.Namespace) -> list[tuple[int, Scene]]:
    seeds = options.seed or range(1, options.seeds + 1)
    if options.short:
        return [(seeds[0], scene) for scene in short_scenes()]
    return [(seed, scene) for seed in seeds for scene in _of_seed(seed, options)]


def _of_seed(seed: int, options: argparse.Namespace) -> list[Scene]:
    if not options.fault:
        return scenes(seed, options.bookings)
    return chosen(options.fault, options.bookings, options.seconds, together=options.together)


def _sum_up(run: Run, seconds: float) -> bool:
    """Whether nothing was lost and nothing doubled."""
    lost, doubled = totals(run.verdicts)
    accepted = sum(each.accepted for each in run.verdicts)
    say(f"\n{table(run.verdicts, FAULTS)}\n")
    for name, reason in run.skipped.items():
        say(f"skipped: {name} ({reason})")
    for name in sorted(run.missing):
        say(f"skipped: every {name}, which the API does not have yet")
    said = ", ".join(f"{count} x {answer}" for answer, count in sorted(run.answers.items()))
    say(f"answers to tenants: {said}")
    say(f"refused at the door: {_refusals(run)}")
    say(f"processes that ended by themselves, and were started again: {run.ended}")
    say(f"{len(run.verdicts)} bookings asked for in {seconds / 60:.1f} minutes\n")
    for details in run.details:
        say(f"{details}\n")
    for complaint in run.complaints:
        say(f"not as it should be: {complaint}")
    say(f"lost {lost}, doubled {doubled}")
    return lost == doubled == 0 and accepted > 0 and not run.complaints


def _refusals(run: Run) -> str:
    refused = [each.record.refused for each in run.verdicts if each.record.refused]
    return f"{len(refused)}, for instance {refused[0]}" if refused else "none"


def _fresh_instance() -> Path:
    """The first folder that no other run uses, emptied: a failed run leaves its logs until the next one."""
    for number in count():
        instance = FOLDER / (f"chaos-{number}" if number else "chaos")
        try:
            if instance.exists():
                LocalServers(instance).remove()
        except TakenError:
            continue
        shutil.rmtree(instance, ignore_errors=True)
        return instance
    raise AssertionError("count() does not end")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many, from 1 on (default: %(default)s)")
    parser.add_argument("--bookings", type=int, default=500, help="for each seed (default: %(default)s)")
    parser.add_argument("--seed", type=int, action="append", help="this one alone; may be repeated")
    parser.add_argument(
        "--fault", action="append", choices=[*APART, *FAULTS], help="these alone; may be repeated"
    )
    parser.add_argument("--together", action="store_true", help="all the named faults at once")
    parser.add_argument(
        "--seconds", type=float, help="how long each batch's faults last (default: as is usual)"
    )
    parser.add_argument(
        "--locations", type=int, help=f"how many (default: {LOCATIONS}, or {FEW_LOCATIONS} with --short)"
    )
    parser.add_argument("--short", action="store_true", help="within three minutes, as CI runs it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
