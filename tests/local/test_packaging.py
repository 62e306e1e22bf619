"""The lock files hold to pyproject.toml, and every setting is explained in .env.example."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"runtime": ["sandbox"], "local": ["sandbox", "local"], "dev": ["sandbox", "local", "dev"]}
SETTINGS = {
    *("SECRET_KEY", "SECRET_KEY_FALLBACKS", "DEBUG", "PORT", "PUBLIC_URL", "ALLOWED_HOSTS", "LOG_LEVEL"),
    *("DATABASE_URL", "DATABASE_POOL_SIZE", "DATABASE_PREPARE", "REDIS_URL"),
    *("POSTGRES_PASSWORD", "DATABASE_PASSWORD", "REDIS_PASSWORD", "SECRETS_FOLDER"),
    *("GHL_API_BASE_URL", "GHL_INSTALL_URL", "GHL_CLIENT_ID", "GHL_CLIENT_SECRET", "GHL_SHARED_SECRET"),
    *("GHL_WEBHOOK_PUBLIC_KEYS", "GHL_TIMEOUT_SECONDS", "GHL_SETTLE_SECONDS", "TOKEN_ENCRYPTION_KEYS"),
    *("REQUIRE_INSTALL_STATE", "ADMIN_SECOND_FACTOR", "TRUSTED_PROXY_COUNT", "WEB_STATEMENT_TIMEOUT_SECONDS"),
    *("LISTEN_HOST", "INTERNAL_NETWORKS", "BODY_TIMEOUT_SECONDS"),
    *("BOOKING_RETENTION_DAYS", "UNINSTALL_RETENTION_DAYS", "EVENT_RETENTION_DAYS"),
    "DEAD_EVENT_RETENTION_DAYS",
}


def locked(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    pins = re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE)
    return {canonicalize_name(package): version for package, version in pins}


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_satisfies_what_the_project_asks_for(name: str) -> None:
    asked = PROJECT["dependencies"] + [
        line for extra in EXTRAS[name] for line in PROJECT["optional-dependencies"][extra]
    ]
    pins = locked(name)

    for requirement in map(Requirement, asked):
        version = pins.get(canonicalize_name(requirement.name))
        assert version, f"{requirement} is not in requirements/{name}.txt: make lock"
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}: make lock"


@pytest.mark.parametrize("name", EXTRAS)
def test_every_package_of_a_lock_has_hashes_and_no_address(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]

    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert "--index" not in text


@pytest.mark.parametrize(("smaller", "larger"), [("runtime", "local"), ("local", "dev")])
def test_the_locks_agree_with_each_other(smaller: str, larger: str) -> None:
    assert locked(smaller).items() <= locked(larger).items()


def test_every_setting_is_explained() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    named = {line.partition("=")[0] for line in lines if re.match(r"[A-Z_]+=", line)}

    assert named == SETTINGS
    for before, line in pairwise(lines):
        if re.match(r"[A-Z_]+=", line):
            assert before.startswith("#") or re.match(r"[A-Z_]+=", before), line


def test_the_example_shows_the_defaults() -> None:
    shown = dict(re.findall(r"^([A-Z_]+)=(.+)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    read = r'environment\.\w+\("([A-Z_]+)", (?:environment\.\w+, )?"([^"]+)"\)'
    defaults = dict(re.findall(read, (ROOT / "ghlapp/settings.py").read_text()))

    assert {"DATABASE_POOL_SIZE", "GHL_TIMEOUT_SECONDS"} <= shown.keys() & defaults.keys()
    for name in shown.keys() & defaults.keys():
        assert shown[name] == defaults[name], name


def test_every_setting_reaches_the_containers() -> None:
    passed_on = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["x-settings"]
    # What is not for the service, and what a container has of its own.
    others = {"POSTGRES_PASSWORD", "DATABASE_PASSWORD", "REDIS_PASSWORD", "SECRETS_FOLDER", "PORT", "DEBUG"}
    others |= {"LISTEN_HOST"}

    assert {name for name in passed_on if not name.endswith("_FILE")} == SETTINGS - others
