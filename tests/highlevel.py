"""The pretend HighLevel of a test run: one sandbox server on loopback, spoken to over its real wire format.
Started by conftest.py before Django reads its settings; the fixture `highlevel` gives a test its fresh world."""

import os
import zlib
from contextlib import ExitStack

from sandbox import World
from sandbox.server import serve
from sandbox.settings import Settings
from tests.servers import SETTINGS

WORLD = World.seeded(
    Settings(
        client_id=SETTINGS["GHL_CLIENT_ID"],
        client_secret=SETTINGS["GHL_CLIENT_SECRET"],
        redirect_uri=SETTINGS["PUBLIC_URL"] + "/oauth/callback",
    )
)


# Another one draws other forms for every test: `FORMS_SEED=7 make test`.
FORMS_SEED = os.environ.get("FORMS_SEED", "0")


def forms_seed(nodeid: str) -> int:
    """Of one test: the same in each run with the same FORMS_SEED."""
    return zlib.crc32(f"{FORMS_SEED} {nodeid}".encode())


def repeat(nodeid: str) -> str:
    """The command that runs a test under its seed."""
    return f"FORMS_SEED={FORMS_SEED} .venv/bin/python -m pytest '{nodeid}'"


_running = ExitStack()


def stop() -> None:
    """Close both ends of every connection, so that none is left for the garbage collector to complain about."""
    from oauth import upstream

    upstream.client().close()
    _running.close()


def provide() -> None:
    """Serve the world and put its address into the environment."""
    server = _running.enter_context(serve(WORLD))
    os.environ["GHL_API_BASE_URL"] = server.url
    os.environ["GHL_INSTALL_URL"] = (
        f"{server.url}/v2/oauth/chooselocation?client_id={SETTINGS['GHL_CLIENT_ID']}"
    )
