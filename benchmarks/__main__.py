"""`python -m benchmarks [NAME …]`: what `make bench` runs. 0 where every ratio is as required.
What is measured is each benchmark's own module; the servers and processes it runs on are stack.py."""

import argparse
import os
import signal
import sys
from importlib import import_module

from benchmarks.ratios import Ratio, table
from benchmarks.stack import Stack, remove
from ghlapp.local.processes import StartError

# Modules with a function `measure(stack)`. They import models, so not before Django is set up.
BENCHMARKS = (
    "accepting",
    "one_location",
    "many_locations",
    "starting",
    "stranger",
    "volume",
    "listing",
    "rotation",
    "refreshing",
)
# A day of refreshing is scaled down already as far as the product's own times allow.
NEVER_SHORT = ("refreshing",)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    # SIGTERM unwinds like Ctrl-C: everything that was started is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with Stack(short=options.short) as stack:
            ratios = [each for name in _names(options) for each in _measure(name, stack)]
    except StartError as error:
        print(str(error))
        return 1
    print(f"\n{table(ratios)}\n\nload of the machine: {os.getloadavg()[0]:.1f}, processors: {os.cpu_count()}")
    if not all(each.is_good for each in ratios):
        return 1
    remove()
    return 0


def _names(options: argparse.Namespace) -> list[str]:
    if options.names:
        return list(options.names)
    return [name for name in BENCHMARKS if not (options.short and name in NEVER_SHORT)]


def _measure(name: str, stack: Stack) -> list[Ratio]:
    print(f"{name} …", flush=True)
    stack.empty()
    ratios: list[Ratio] = import_module(f"benchmarks.{name}").measure(stack)
    return ratios


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        type=_name,
        metavar="NAME",
        help=f"{', '.join(BENCHMARKS)}; all, if none is named",
    )
    parser.add_argument(
        "--short", action="store_true", help="a small form of each, which shows that it works and no more"
    )
    return parser


def _name(text: str) -> str:
    if text not in BENCHMARKS:
        raise argparse.ArgumentTypeError(f"there is no {text}, only {', '.join(BENCHMARKS)}")
    return text


if __name__ == "__main__":
    sys.exit(main())
