"""What of the containers can be checked without Docker: the compose file's shape, and that it starts what
`make serve` starts."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ghlapp.local import commands

ROOT = Path(__file__).resolve().parent.parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ["migrate", "web", "worker", "beat", "sandbox"]
# The part of the compose specification that is used here.
KEYS = {
    *("image", "build", "user", "read_only", "tmpfs", "cap_drop", "security_opt", "restart", "environment"),
    *("command", "ports", "depends_on", "healthcheck", "volumes", "stop_grace_period"),
}
HEALTHCHECK_KEYS = {"test", "interval", "timeout", "retries", "start_period"}
CONDITIONS = {"service_healthy", "service_completed_successfully"}
VALUES = {
    "host": "0.0.0.0",
    "port": 8000,
    "sandbox_port": 8800,
    "state": "/tmp",
    "client_id": "665c6bb13d4e5364bdec0e2f-demo1234",
    "client_secret": "for-the-demo-only",
    "public_url": "http://localhost:8000",
}


def with_defaults(word: str) -> str:
    """The word as it is with an empty .env."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word)


def test_the_file_has_the_services_of_the_stack() -> None:
    assert set(COMPOSE) <= {"services", "volumes", "x-app", "x-settings", "x-when-migrated"}
    assert set(SERVICES) == {"db", "redis", *OURS}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_uses_only_keys_of_the_specification(name: str) -> None:
    service = SERVICES[name]

    assert set(service) <= KEYS
    assert set(service.get("healthcheck", {})) <= HEALTHCHECK_KEYS
    assert all(isinstance(word, str) for word in service["command"])
    for other, wait in service.get("depends_on", {}).items():
        assert other in SERVICES
        assert wait["condition"] in CONDITIONS


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_does_not_run_as_root_and_comes_back(name: str) -> None:
    assert SERVICES[name]["user"] not in {"root", "0", ""}
    assert SERVICES[name]["restart"] == ("no" if name == "migrate" else "unless-stopped")


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "migrate"])
def test_a_service_has_a_health_check(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


def test_who_waits_for_health_waits_for_a_service_that_has_it() -> None:
    for service in SERVICES.values():
        for other, wait in service.get("depends_on", {}).items():
            assert ("healthcheck" in SERVICES[other]) == (wait["condition"] == "service_healthy")


def test_data_is_kept_in_named_volumes() -> None:
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]

    assert sorted(volume.partition(":")[0] for volume in volumes) == sorted(COMPOSE["volumes"])


@pytest.mark.parametrize("name", OURS)
def test_a_process_is_started_as_make_does(name: str) -> None:
    expected = {**commands.SERVE, "sandbox": commands.SANDBOX, "migrate": commands.MIGRATE}[name]

    assert [with_defaults(word) for word in SERVICES[name]["command"]] == [
        word.format_map(VALUES) for word in expected
    ]


def test_the_image_starts_the_web_process_by_default() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    command = dockerfile[dockerfile.index("\nCMD") + 4 :].replace("\\\n", "")

    assert yaml.safe_load(command) == SERVICES["web"]["command"]


def test_the_image_is_one_image_and_its_user_is_the_one_of_the_services() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert {SERVICES[name]["image"] for name in OURS} == {"ghl-booking-backend"}
    assert {SERVICES[name]["user"] for name in OURS} == {"10001"}
    assert "\nUSER 10001\n" in dockerfile
    assert "--require-hashes -r /tmp/runtime.txt" in dockerfile


def test_no_space_crept_into_an_address() -> None:
    for name, value in COMPOSE["x-settings"].items():
        assert " " not in value, name


def test_the_demo_installs_with_the_same_link() -> None:
    from ghlapp.local import demo

    link = with_defaults(COMPOSE["x-settings"]["GHL_INSTALL_URL"])

    assert link == demo.install_url("http://localhost:8000", "http://localhost:8800")


def test_the_demo_knows_the_sandboxs_key() -> None:
    from ghlapp.local import demo
    from sandbox import PUBLIC_KEY_PEM

    assert demo.SANDBOX_KEY == PUBLIC_KEY_PEM
