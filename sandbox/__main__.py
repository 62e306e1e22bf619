"""The sandbox as a process of its own: `python -m sandbox --port 9000`.

Not here: anything it does once it runs.
"""

import argparse
import logging
import signal
import threading

from sandbox.server import serve
from sandbox.settings import Settings
from sandbox.world import World


def main() -> None:
    arguments = _parser().parse_args()
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING, format="%(asctime)s %(message)s"
    )
    settings = Settings(
        client_id=arguments.client_id,
        client_secret=arguments.client_secret,
        redirect_uri=arguments.redirect_uri,
        webhook_url=arguments.webhook_url,
        forms_seed=arguments.forms_seed,
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with serve(World.seeded(settings), arguments.host, arguments.port) as server:
        print(f"HighLevel sandbox at {server.url}", flush=True)  # noqa: T201 - the one line people wait for
        stop.wait()


def _parser() -> argparse.ArgumentParser:
    defaults = Settings()
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="A pretend HighLevel.")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--client-id", default=defaults.client_id)
    parser.add_argument("--client-secret", default=defaults.client_secret)
    parser.add_argument("--redirect-uri", help="the only one the consent page accepts; any, if left out")
    parser.add_argument("--webhook-url", help="where signed letters go; nowhere, if left out")
    parser.add_argument(
        "--forms-seed",
        type=int,
        default=defaults.forms_seed,
        help="draws the forms that answers take where HighLevel leaves them open (default: %(default)s)",
    )
    parser.add_argument("--verbose", action="store_true", help="a line per call")
    return parser


if __name__ == "__main__":
    main()
