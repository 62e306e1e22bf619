"""A whole demo for the journeys: real web, worker, beat and sandbox processes, and a real browser."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from ghlapp.local.files import read_private
from ghlapp.local.processes import wait_until
from ghlapp.local.server import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
# With its instance in a folder of its own: a developer's demo may be running.
DEMO = """
import sys
from pathlib import Path
from ghlapp.local import __main__, stack
stack.FOLDER = Path(sys.argv[1])
sys.exit(__main__.main(["demo"]))
"""
TOUR_SECONDS = 150
STOP_SECONDS = 60


@dataclass
class Demo:
    process: "subprocess.Popen[str]"
    public_url: str
    sandbox_url: str
    lines: list[str]
    instance: Path

    @property
    def output(self) -> str:
        return "".join(self.lines)

    @property
    def key(self) -> str:
        found = re.search(r"^ +(bk_\S+)$", self.output, re.MULTILINE)
        assert found, self.output
        return found[1]

    def manage(self, *arguments: str, **environment: str) -> str:
        """`manage.py` in a second terminal; what it prints."""
        settings = read_private(self.instance / "servers.json")
        command = [sys.executable, "manage.py", *arguments]
        environ = {**os.environ, **settings, **environment}
        run = subprocess.run(command, cwd=ROOT, env=environ, check=True, stdout=subprocess.PIPE, text=True)
        return run.stdout


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    """`make demo`, after its tour; stopped by Ctrl-C."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="demo ") as folder:
        Path(folder).chmod(0o755)
        running = _start(Path(folder) / "instance")
        reader = threading.Thread(target=lambda: running.lines.extend(running.process.stdout or ()))
        reader.start()
        try:
            done = wait_until(lambda: "Try it:" in running.output, TOUR_SECONDS, 0.2)
            assert done, running.output
            yield running
        finally:
            running.process.terminate()
            running.process.wait(STOP_SECONDS)
            reader.join()
            assert running.process.stdout
            running.process.stdout.close()


def _start(instance: Path) -> Demo:
    port, sandbox_port = free_port(0), free_port(0)
    # The demo brings settings of its own; those of the test run would shadow its servers.
    ours = {"DATABASE_URL", "REDIS_URL", "PUBLIC_URL"}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", DEMO, str(instance)],
        cwd=ROOT,
        env={
            **environment,
            "PORT": str(port),
            "SANDBOX_PORT": str(sandbox_port),
            # Whatever is ever logged is logged, for the test of what never is.
            "LOG_LEVEL": "DEBUG",
            "ADMIN_SECOND_FACTOR": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return Demo(process, f"http://localhost:{port}", f"http://127.0.0.1:{sandbox_port}", [], instance)


BROWSER_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium of the machine; only outside CI may it be missing."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI must run the browser tests, and there is no Chromium")
        pytest.skip("no Chromium found; install the package chromium to run this test")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=list(BROWSER_FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, demo: Demo) -> Iterator[Page]:
    """A new person's browser: no cookies of an earlier test. No page of ours may break its own security policy."""
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    broken: list[str] = []
    context.on("console", lambda said: broken.append(said.text) if _is_violation(said, demo) else None)
    yield context.new_page()
    context.close()
    assert broken == []


def _is_violation(said: ConsoleMessage, demo: Demo) -> bool:
    ours = said.page is not None and said.page.url.startswith(demo.public_url)
    return ours and "Content Security Policy" in said.text
