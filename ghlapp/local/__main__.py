"""`python -m ghlapp.local serve | demo [--once] | tour | clean`: what the Makefile calls.
What the words mean is stack.py and tour.py."""

import argparse
import signal
import sys

from ghlapp.local import stack, tour
from ghlapp.local.processes import StartError


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    # Until the group takes over, SIGTERM unwinds like Ctrl-C: the servers are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        if options.command == "serve":
            return stack.serve()
        if options.command == "demo":
            return stack.run_demo(once=options.once)
        if options.command == "clean":
            return stack.clean()
        return tour.run(options.public_url, options.sandbox_url)
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ghlapp.local", description=__doc__)
    parsers = parser.add_subparsers(dest="command", required=True)
    parsers.add_parser("serve", help="web, worker and scheduler, configured by the environment")
    demo = parsers.add_parser("demo", help="the same with the sandbox and a tour")
    demo.add_argument("--once", action="store_true", help="stop after the tour, with its exit code")
    guide = parsers.add_parser("tour", help="the tour through a running demo")
    guide.add_argument("public_url")
    guide.add_argument("sandbox_url")
    parsers.add_parser("clean", help="delete the local servers' data")
    return parser


if __name__ == "__main__":
    sys.exit(main())
