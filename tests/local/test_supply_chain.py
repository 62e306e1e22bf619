"""What CI says of the packages and images that others made: known vulnerabilities, and images without a digest."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# In place of pip-audit, whose database a test cannot change.
AUDIT = """
import json, os, sys, time
time.sleep(float(os.environ["SLEEP"]))
words = sys.argv[1:]
ignored = {words[i + 1] for i, word in enumerate(words) if word == "--ignore-vuln"}
found = json.loads(os.environ["FOUND"])
if found is None:
    sys.exit("no route to host")
for package in found:
    if "vulns" in package:
        package["vulns"] = [each for each in package["vulns"] if each["id"] not in ignored]
with open(words[words.index("--output") + 1], "w") as report:
    json.dump({"dependencies": found}, report)
sys.exit(1)
"""
SAFE = {"name": "safe", "version": "1", "vulns": []}
UNKNOWN = {"name": "unknown", "skip_reason": "not found on PyPI"}
LEAKY = {"name": "leaky", "version": "2", "vulns": [{"id": "GHSA-0", "fix_versions": ["3"]}]}


@pytest.mark.parametrize(
    ("found", "ignore", "code", "words"),
    [
        ([SAFE], "", 0, "1 packages"),
        ([SAFE, LEAKY], "", 1, "leaky 2: GHSA-0, fixed by 3"),
        ([SAFE, LEAKY], "# why\nGHSA-0  nobody calls it\n", 0, "0 vulnerabilities"),
        ([SAFE, UNKNOWN], "", 0, "NOT AUDITED: unknown"),
        ([UNKNOWN], "", 0, "SKIPPED"),
        (None, "", 0, "SKIPPED"),
    ],
)
def test_a_known_vulnerability_fails_and_what_is_not_known_is_said(
    tmp_path: Path, found: Any, ignore: str, code: int, words: str
) -> None:
    ended = audit(tmp_path, found, ignore)

    assert (ended.returncode, words in ended.stderr) == (code, True), ended.stderr


def test_a_database_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    ended = audit(tmp_path, [LEAKY], "", SLEEP="60", AUDIT_SECONDS="1")

    assert ended.returncode == 0
    assert "SKIPPED" in ended.stderr


def audit(folder: Path, found: Any, ignore: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    (folder / "pip_audit.py").write_text(AUDIT)
    (folder / "ignored").write_text(ignore)
    environment = {"SLEEP": "0", "PYTHONPATH": str(folder), "FOUND": json.dumps(found), **environment}
    return subprocess.run(
        [sys.executable, ".ci/audit.py", "requirements/dev.txt"],
        cwd=ROOT,
        env={**os.environ, "AUDIT_IGNORED": str(folder / "ignored"), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


FILES = ("Dockerfile", "docker-compose.yml", "compose.demo.yml")
DOCKER = """#!/bin/sh
printf 'sha256:%064d' "$(printf %s "$*" | wc -c)"
"""


def test_images_can_be_pinned_and_pinned_anew(tmp_path: Path) -> None:
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)

    def pin(*arguments: str) -> str:
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ROOT": str(tmp_path)}
        command = [str(ROOT / ".ci" / "pin-images"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr

    pin()
    once = [(tmp_path / name).read_text() for name in FILES]
    pin()

    assert [(tmp_path / name).read_text() for name in FILES] == once
    assert pin("--check") == ""
    assert sum(text.count("@sha256:") for text in once) >= 3
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "docker"}
    assert "ARG PYTHON_IMAGE=python:3.13-slim@sha256:0" in once[0]


def test_ci_asks_for_both() -> None:
    script = (ROOT / ".ci" / "run").read_text()

    assert "\n.ci/pin-images --check\n" in script
    assert "\n.venv/bin/python .ci/audit.py requirements/dev.txt\n" in script
