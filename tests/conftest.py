"""What every test run needs before the first test: real servers and the settings for them.
Fixtures of one room live in that room's conftest.py, those of several in fixtures.py."""

import os
from collections.abc import Iterator
from typing import Any

import django
import pytest

from tests import highlevel, servers

# Here and not in a fixture, for test modules import models; and DJANGO_SETTINGS_MODULE is set here and not
# in pyproject.toml, where pytest-django would read the settings before the servers are up.
servers.provide()
highlevel.provide()
django.setup()
# A process of pytest-xdist inherits the environment, and pytest-django would read the settings there before
# that process has put its own sandbox and its own Redis database into it.
del os.environ["DJANGO_SETTINGS_MODULE"]

# Imports the settings.
from oauth import coalescing  # noqa: E402

# Tests look into Redis as soon as a request is answered; what waits for others is tested in oauth/test_coalescing.py.
coalescing.PAUSE_SECONDS = 0.0

pytest_plugins = ["tests.fixtures"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield  # type: ignore[misc]
    if report.failed and "highlevel" in getattr(item, "fixturenames", ()):
        again = f"The same forms of HighLevel's answers: {highlevel.repeat(item.nodeid)}"
        report.sections.append(("forms", again))
    return report  # type: ignore[return-value]


def pytest_unconfigure() -> None:
    highlevel.stop()
