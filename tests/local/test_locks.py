"""A lock is installed as it is, and goes on working once newer versions of what it holds are out."""

import base64
import ensurepip
import hashlib
import os
import re
import subprocess
import sysconfig
import venv
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.local.test_packaging import EXTRAS, PROJECT, ROOT

# Without dependencies: pip before 24 looks for the newest version of each locked package that has an extra.
FLAGS = ["--no-deps", "--require-hashes"]


def pip_installs(path: str) -> list[list[str]]:
    """The words of each `pip install` of the file, whose next command must be `pip check`."""
    commands = re.split(r"&&|;|\n", (ROOT / path).read_text().replace("\\\n", " "))
    commands = [command.strip() for command in commands if command.strip()]
    found = [place for place, command in enumerate(commands) if re.search(r"\bpip install\b", command)]
    for place in found:
        following = next(command for command in commands[place + 1 :] if command != "\\")
        assert re.search(r"\bpip check$", following), following
    return [commands[place].partition("pip install")[2].split() for place in found]


@pytest.mark.parametrize(
    ("path", "locks"), [("Makefile", ["requirements/$(1).txt"]), ("Dockerfile", ["/tmp/runtime.txt"])]
)
def test_each_install_takes_its_lock_as_it_is_and_checks_it(path: str, locks: list[str]) -> None:
    installs = pip_installs(path)

    assert [words[-1] for words in installs] == locks
    for words in installs:
        assert set(FLAGS) <= set(words), words


def test_both_locks_of_the_makefile_are_installed_in_this_way() -> None:
    calls = re.findall(r"\$\(call install,(\w+)\)", (ROOT / "Makefile").read_text())

    assert sorted(calls) == ["dev", "local"]


# --- Completeness -----------------------------------------------------------------------------------------


def locked(name: str) -> dict[str, str]:
    """The versions that a lock holds for this interpreter."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    lines = re.findall(r"^([\w.-]+)==([^\s;\\]+)(?: ; ([^\\\n]+))?", text, re.MULTILINE)
    return {
        canonicalize_name(package): version
        for package, version, marker in lines
        if not marker or Marker(marker.strip()).evaluate()
    }


def needed(asked: Iterable[Requirement]) -> Iterator[tuple[str, Requirement]]:
    """All that these need, by the metadata of what is installed: who needs it, and what, extras included."""
    waiting, seen = list(asked), set()
    while waiting:
        requirement = waiting.pop()
        package = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (package, extra) in seen:
                continue
            seen.add((package, extra))
            for line in metadata.requires(package) or []:
                following = Requirement(line)
                if following.marker is None or following.marker.evaluate({"extra": extra}):
                    yield f"{package}[{extra}]", following
                    waiting.append(following)


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_holds_everything_that_its_packages_need(name: str) -> None:
    pins = locked(name)
    asked = [Requirement(line) for line in PROJECT["dependencies"]]
    asked += [Requirement(line) for extra in EXTRAS[name] for line in PROJECT["optional-dependencies"][extra]]
    everything = [*asked, *(Requirement(package) for package in pins)]

    missing = [
        f"{who} needs {requirement}"
        for who, requirement in needed(each for each in everything if canonicalize_name(each.name) in pins)
        if not requirement.specifier.contains(
            pins.get(canonicalize_name(requirement.name), "0a0"), prereleases=True
        )
        or canonicalize_name(requirement.name) not in pins
    ]

    assert missing == []
    assert {package: metadata.version(package) for package in pins} == pins


# --- Newer versions ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wheel:
    name: str
    version: str
    needs: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()

    def build(self, folder: Path) -> str:
        """Writes it into the folder; its line of a lock."""
        info = f"{self.name}-{self.version}.dist-info"
        lines = [f"Name: {self.name}", f"Version: {self.version}"]
        lines += [f"Provides-Extra: {extra}" for extra in self.extras]
        lines += [f"Requires-Dist: {need}" for need in self.needs]
        files = {
            f"{self.name}.py": f"VERSION = {self.version!r}\n",
            f"{info}/METADATA": "\n".join(["Metadata-Version: 2.1", *lines, ""]),
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = [f"{path},sha256={digest(text.encode())},{len(text)}" for path, text in files.items()]
        files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
        path = folder / f"{self.name}-{self.version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        return f"{self.name}=={self.version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


# As pytest-cov, coverage[toml] and tomli: the lock was made before 1.1 was released.
LOCKED = (
    Wheel("plugin", "1.0", needs=("measure[toml]>=1.0",)),
    Wheel("measure", "1.0", needs=("leaf; extra == 'toml'",), extras=("toml",)),
    Wheel("leaf", "1.0"),
)
NEWER = Wheel("measure", "1.1", needs=("leaf; extra == 'toml'",), extras=("toml",))


@dataclass(frozen=True)
class Machine:
    """A new environment with the pip that it brings, an index of its own and no network."""

    folder: Path

    def pip(self, *words: str) -> "subprocess.CompletedProcess[str]":
        python = self.folder / "venv" / "bin" / "python"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        return subprocess.run(
            [str(python), "-m", "pip", *words],
            env={**environment, "PYTHONPATH": str(bundled_pip())},
            capture_output=True,
            text=True,
            check=False,
        )

    def install(self, flags: list[str]) -> "subprocess.CompletedProcess[str]":
        index = str(self.folder / "index")
        return self.pip(
            "install", "--no-index", "--find-links", index, *flags, "-r", str(self.folder / "lock.txt")
        )


def bundled_pip() -> Path:
    """The wheel that `python -m venv` installs pip from, and from which it runs as well."""
    # Distributions may keep it elsewhere.
    folder = sysconfig.get_config_var("WHEEL_PKG_DIR") or Path(ensurepip.__file__).parent / "_bundled"
    [wheel] = Path(folder).glob("pip-*.whl")
    return wheel


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "index").mkdir()
    lines = [wheel.build(tmp_path / "index") for wheel in LOCKED]
    (tmp_path / "lock.txt").write_text("\n".join(lines))
    NEWER.build(tmp_path / "index")
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    return Machine(tmp_path)


def test_a_lock_goes_on_working_once_a_package_with_an_extra_has_a_newer_version(machine: Machine) -> None:
    [words] = pip_installs("Makefile")

    done = machine.install([word for word in words[:-1] if word.startswith("--")])

    assert done.returncode == 0, done.stderr
    assert machine.pip("check").returncode == 0
    installed = machine.pip("list", "--format", "freeze").stdout.split()
    assert {"plugin==1.0", "measure==1.0", "leaf==1.0"} <= set(installed)


@pytest.mark.skipif(
    int(ensurepip.version().partition(".")[0]) >= 24, reason="pip no longer resolves anew since 24"
)
def test_a_lock_whose_dependencies_are_resolved_does_not(machine: Machine) -> None:
    done = machine.install(["--require-hashes"])

    assert done.returncode != 0
    assert "must have their versions pinned" in done.stderr


def test_a_lock_that_is_not_complete_is_noticed(machine: Machine) -> None:
    lock = machine.folder / "lock.txt"
    lock.write_text(
        "\n".join(line for line in lock.read_text().splitlines() if not line.startswith("measure"))
    )

    assert machine.install(FLAGS).returncode == 0
    assert machine.pip("check").returncode != 0
