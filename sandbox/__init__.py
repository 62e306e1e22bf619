"""A pretend HighLevel for the demo, tests, benchmarks and fault injection.

What does not live here: anything of the booking backend. The two share no code, only HighLevel's wire.
"""

from sandbox.app import create_app
from sandbox.faults import ConnectionCut, Fault
from sandbox.letters import PUBLIC_KEY_PEM, Letter, sign
from sandbox.settings import Settings
from sandbox.world import World

__all__ = [
    "PUBLIC_KEY_PEM",
    "ConnectionCut",
    "Fault",
    "Letter",
    "Settings",
    "World",
    "create_app",
    "sign",
]
