# ruff: noqa: INP001  (a script of its own)
"""Fails where a locked package has a known vulnerability: `audit.py LOCK`.

The database is PyPI's. Where it cannot be reached, or does not know the packages (a mirror), this says so on standard
error and succeeds: what is not known must stop nobody's work, but must not look like a clean result either.
What .ci/known-vulnerabilities.txt names is no failure.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

IGNORED = Path(os.environ.get("AUDIT_IGNORED") or Path(__file__).with_name("known-vulnerabilities.txt"))
TIMEOUT_SECONDS = int(os.environ.get("AUDIT_SECONDS", "180"))


def main(lock: str) -> int:
    dependencies = audited(lock)
    known = [each for each in dependencies if "vulns" in each]
    if not known:
        sys.stderr.write(
            f"SKIPPED: {lock} was not audited, the database of vulnerabilities is out of reach.\n"
        )
        return 0
    for each in dependencies:
        if "vulns" not in each:
            sys.stderr.write(f"NOT AUDITED: {each['name']}: {each.get('skip_reason')}\n")
    found = [(each, vulnerability) for each in known for vulnerability in each["vulns"]]
    for package, vulnerability in found:
        fixed = ", ".join(vulnerability.get("fix_versions", [])) or "no release"
        sys.stderr.write(
            f"VULNERABLE: {package['name']} {package['version']}: {vulnerability['id']}, fixed by {fixed}\n"
        )
    sys.stderr.write(f"{len(known)} packages of {lock} audited, {len(found)} vulnerabilities.\n")
    return 1 if found else 0


def audited(lock: str) -> list[dict[str, object]]:
    """What pip-audit says of each package; nothing where it could not ask."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            sys.executable,
            "-m",
            "pip_audit",
            "--requirement",
            lock,
            "--disable-pip",
            "--require-hashes",
        ]
        command += [
            "--progress-spinner",
            "off",
            "--timeout",
            "15",
            "--format",
            "json",
            "--output",
            str(report),
        ]
        command += [word for identifier in ignored() for word in ("--ignore-vuln", identifier)]
        try:
            ended = subprocess.run(  # noqa: S603  (our own words)
                command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return []
        if not report.exists():
            sys.stderr.write(ended.stderr[-2000:])
            return []
        return list(json.loads(report.read_text())["dependencies"])


def ignored() -> list[str]:
    lines = IGNORED.read_text().splitlines()
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
