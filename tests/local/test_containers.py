"""What of the containers can be checked without Docker: the compose file's shape, and that it starts what
`make serve` starts."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ghlapp.local import commands

ROOT = Path(__file__).resolve().parent.parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DEMO: dict[str, Any] = yaml.safe_load((ROOT / "compose.demo.yml").read_text())
SANDBOX: dict[str, Any] = DEMO["services"]["sandbox"]
SERVICES: dict[str, dict[str, Any]] = {**COMPOSE["services"], "sandbox": SANDBOX}
OURS = ["migrate", "web", "worker", "beat", "sandbox"]
SERVERS = ["db", "redis"]
PROXY = "proxy"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
# The settings that hold secrets.
SECRETS = [
    *("SECRET_KEY", "SECRET_KEY_FALLBACKS", "TOKEN_ENCRYPTION_KEYS", "DATABASE_URL", "REDIS_URL"),
    *("GHL_CLIENT_SECRET", "GHL_SHARED_SECRET"),
]
# The part of the compose specification that is used here.
KEYS = {
    *("image", "build", "user", "read_only", "tmpfs", "cap_drop", "security_opt", "restart", "environment"),
    *("command", "ports", "depends_on", "healthcheck", "volumes", "stop_grace_period", "entrypoint"),
    *("networks", "mem_limit", "cpus", "pids_limit"),
}
HEALTHCHECK_KEYS = {"test", "interval", "timeout", "retries", "start_period"}
CONDITIONS = {"service_healthy", "service_completed_successfully"}
VALUES = {
    "host": "0.0.0.0",
    "port": 8000,
    "sandbox_port": 8800,
    "state": "/tmp",
    "client_id": "665c6bb13d4e5364bdec0e2f-demo1234",
    "client_secret": "only-for-the-demo",
    "public_url": "http://localhost:8000",
}


def filled(text: str, **given: str) -> str:
    """The text as compose fills it in; with an empty .env, where nothing is given."""
    innermost = re.compile(r"\$\{(\w+):-([^${}]*)\}")
    while innermost.search(text):
        text = innermost.sub(lambda match: given.get(match[1]) or match[2], text)
    assert "${" not in text
    return text


def demo_of(name: str) -> dict[str, str]:
    """What a service of the demo has in its environment, the .env being full of real secrets."""
    ours = SERVICES[name].get("environment", {})
    real = {name: f"real-{name}" for name in re.findall(r"\$\{(\w+):-", str(COMPOSE))}
    environment = {name: filled(str(value), **real) for name, value in ours.items()}
    return {**environment, **DEMO["services"][name].get("environment", {})}


def test_the_files_have_the_services_of_the_stack() -> None:
    assert set(COMPOSE) <= {"services", "volumes", "networks", "x-app", "x-settings", "x-when-migrated"}
    assert set(DEMO) <= {"services", "volumes", "x-demo"}
    assert set(COMPOSE["services"]) == {*SERVERS, PROXY, "migrate", "web", "worker", "beat"}
    assert set(DEMO["services"]) == {*SERVERS, *OURS}


def test_no_secret_has_a_default() -> None:
    for service in COMPOSE["services"].values():
        for name, value in service.get("environment", {}).items():
            if name.removesuffix("_FILE") in {
                *SECRETS,
                "POSTGRES_PASSWORD",
                "DATABASE_PASSWORD",
                "REDIS_PASSWORD",
            }:
                assert filled(value) in {"", "postgres://ghlapp:@db:5432/ghlapp", "redis://:@redis:6379/0"}, (
                    name
                )


def test_every_secret_can_be_a_file() -> None:
    settings = COMPOSE["x-settings"]

    for name in SECRETS:
        assert filled(settings[f"{name}_FILE"], **{f"{name}_FILE": "/run/secrets/x"}) == "/run/secrets/x"
    for name in ("POSTGRES_PASSWORD", "DATABASE_PASSWORD"):
        assert f"{name}_FILE" in SERVICES["db"]["environment"]
    assert "REDIS_PASSWORD_FILE" in SERVICES["redis"]["environment"]
    for name in ("db", "redis", "migrate", "web", "worker", "beat"):
        assert "/run/secrets:ro" in " ".join(SERVICES[name]["volumes"])


@pytest.mark.parametrize("name", ["web", "worker", "beat", "migrate", *SERVERS])
def test_the_demo_has_values_of_its_own(name: str) -> None:
    secret = {name for name in demo_of(name) if re.search("SECRET|PASSWORD|KEYS|_URL", name)}

    assert secret
    assert not [each for each in secret if "real-" in demo_of(name)[each]]


def test_the_sandbox_is_given_nothing_but_values_of_the_demo() -> None:
    assert "environment" not in SANDBOX
    assert "volumes" not in SANDBOX
    assert "$" not in str(SANDBOX)


def test_the_servers_are_reached_by_the_service_alone() -> None:
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}

    assert COMPOSE["networks"]["back"] == {"internal": True}
    assert [name for name, joined in networks.items() if joined == {"back"}] == [
        "db",
        "redis",
        "migrate",
        "beat",
    ]
    assert networks["web"] == networks["worker"] == {"front", "back"}
    assert networks["sandbox"] == {"front"}
    assert all("ports" not in SERVICES[name] for name in SERVERS)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_limits(name: str) -> None:
    assert {"mem_limit", "cpus", "pids_limit"} <= set(SERVICES[name])


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


@pytest.mark.parametrize("compose", [COMPOSE, DEMO])
def test_data_is_kept_in_named_volumes(compose: dict[str, Any]) -> None:
    volumes = [volume for service in compose["services"].values() for volume in service.get("volumes", [])]
    named = [volume for volume in volumes if not volume.startswith((".", "$"))]

    assert sorted(volume.partition(":")[0] for volume in named) == sorted(compose["volumes"])
    assert all(volume.endswith(":ro") for volume in volumes if volume not in named)


def test_the_demo_keeps_data_of_its_own() -> None:
    for name in SERVERS:
        [own] = DEMO["services"][name]["volumes"]
        assert own.partition(":")[2] in [volume.partition(":")[2] for volume in SERVICES[name]["volumes"]]


@pytest.mark.parametrize("name", OURS)
def test_a_process_is_started_as_make_does(name: str) -> None:
    expected = {**commands.SERVE, "sandbox": commands.SANDBOX, "migrate": commands.MIGRATE}[name]

    assert [filled(word) for word in SERVICES[name]["command"]] == [
        word.format_map(VALUES) for word in expected
    ]


def test_the_image_starts_the_web_process_by_default() -> None:
    command = DOCKERFILE[DOCKERFILE.index("\nCMD") + 4 : DOCKERFILE.index("\n\nFROM base AS demo")]

    assert yaml.safe_load(command.replace("\\\n", "")) == SERVICES["web"]["command"]


def test_the_image_of_the_service_is_one_and_its_user_is_the_one_of_the_services() -> None:
    service = {"image": "ghl-booking-backend", "build": {"context": ".", "target": "production"}}
    demo = {"image": "ghl-booking-backend-demo", "build": {"context": ".", "target": "demo"}}

    for name in OURS:
        expected = demo if name == "sandbox" else service
        assert {key: SERVICES[name][key] for key in expected} == expected
    assert {SERVICES[name]["user"] for name in OURS} == {"10001"}
    assert "\nUSER 10001\n" in DOCKERFILE


def stage(name: str) -> str:
    [found] = re.findall(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_production_image_has_everything_but_the_sandbox(tmp_path: Path) -> None:
    """Its web, worker and beat load with what the image copies, and without the packages that it has not."""
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", stage("production"), re.MULTILINE)
    for name in " ".join(copied).split():
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    hidden = dict.fromkeys(re.findall(r"uninstall --yes ([^\\\n]*)", stage("production-packages"))[0].split())
    code = (
        f"import sys; sys.modules.update({hidden}); import ghlapp.wsgi; from ghlapp.celery import app; "
        "app.loader.import_default_modules(); print(list(app.tasks))"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert loaded.returncode == 0, loaded.stderr
    assert "appointments.tasks.converge" in loaded.stdout
    assert set(hidden) == {"werkzeug", "markupsafe"}
    assert not (tmp_path / "sandbox").exists()
    assert DOCKERFILE.rindex("FROM base AS production\n") > DOCKERFILE.rindex("FROM base AS demo\n")


def test_no_space_crept_into_an_address() -> None:
    for name, value in {**COMPOSE["x-settings"], **DEMO["x-demo"]}.items():
        assert " " not in value, name


def test_the_demo_installs_with_the_same_link() -> None:
    from ghlapp.local import demo

    link = DEMO["x-demo"]["GHL_INSTALL_URL"]

    assert link == demo.install_url("http://localhost:8000", "http://localhost:8800")


def test_the_demo_knows_the_sandboxs_key() -> None:
    from ghlapp.local import demo
    from sandbox import PUBLIC_KEY_PEM

    assert demo.SANDBOX_KEY == PUBLIC_KEY_PEM


def test_a_buffering_proxy_stands_before_the_web_process() -> None:
    configuration = (ROOT / "containers/nginx.conf").read_text()

    assert "ports" not in SERVICES["web"]
    assert SERVICES[PROXY]["volumes"] == ["./containers/nginx.conf:/etc/nginx/nginx.conf:ro"]
    assert filled(COMPOSE["x-settings"]["TRUSTED_PROXY_COUNT"]) == "1"
    for line in ("proxy_request_buffering on", "client_max_body_size 2m", "underscores_in_headers off"):
        assert f"{line};" in configuration
    assert "proxy_pass http://web;" in configuration
    assert "server web:8000;" in configuration
