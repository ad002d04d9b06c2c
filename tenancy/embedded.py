"""A real PostgreSQL that the program starts and stops by itself: no installation, no container, the production engine.

The data folder is one PostgreSQL cluster, readable by its owner only. Beside PostgreSQL's own files it holds

    cxg_roles.json   role -> password, mode 0600
    cxg_port         the port of the last start, taken again while it is free
    cxg.conf         our settings, written anew at every start; your own go into postgresql.auto.conf (ALTER SYSTEM)
    cxg.log          what the server says

A server outlives the program when that is killed, and the next start takes it over. `<data>.lock` lets one start at a
time happen; `<data>.new` is a cluster in the making.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import asyncpg

from engine.errors import StartupFault
from tenancy.binaries import Programs, find_programs

SUPERUSER, OWNER, RUNTIME = "postgres", "cxg_owner", "cxg_runtime"
ROLES = {
    SUPERUSER: "ALTER ROLE postgres PASSWORD '{}'",
    OWNER: "CREATE ROLE cxg_owner LOGIN NOSUPERUSER CREATEDB CREATEROLE PASSWORD '{}'",
    RUNTIME: "CREATE ROLE cxg_runtime LOGIN PASSWORD '{}'",
}
# The superuser comes in by the socket only, which lies in a folder that is closed to others, and with its password.
ACCESS = """\
local  all  all                     scram-sha-256
host   all  postgres  127.0.0.1/32  reject
host   all  all       127.0.0.1/32  scram-sha-256
"""
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "password_encryption": "scram-sha-256",
    "ssl": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "jit": "off",  # milliseconds of compiling for queries that take microseconds
}
PATIENCE = 300  # seconds for a start: recovery after a crash replays at most max_wal_size
SOCKET_PATH_MAX = 103  # bytes; 107 on Linux, 103 on macOS
LOG_MAX = 10_000_000  # bytes, then a start begins a new log


@dataclass(frozen=True)
class EmbeddedServer:
    """A running server. `started` is False when it ran already and was taken over."""

    port: int
    data: Path
    started: bool

    def url(self, database: str, role: str = OWNER) -> str:
        """`postgresql://role:password@127.0.0.1:port/database`. It speaks no TLS: connect with `ssl=False`."""
        passwords = _read_passwords(self.data)
        if role not in passwords:
            raise StartupFault(f"the embedded server has no role {role!r}; it has {', '.join(passwords)}")
        return f"postgresql://{role}:{passwords[role]}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    async def ensure_database(self, name: str) -> None:
        """Create database `name`, of cxg_owner, unless it is there; only cxg_owner and cxg_runtime may connect."""
        quoted = '"' + name.replace('"', '""') + '"'
        connection = await asyncpg.connect(self.url("postgres"), ssl=False, timeout=10)
        try:
            # Two programs may ask for it at the same time. The lock ends with the connection.
            await connection.execute("SELECT pg_advisory_lock(hashtextextended('cxg ensure_database', 0))")
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
                await connection.execute(f"CREATE DATABASE {quoted}")
            await connection.execute(
                f"REVOKE ALL ON DATABASE {quoted} FROM PUBLIC; GRANT CONNECT ON DATABASE {quoted} TO {RUNTIME}"
            )
        finally:
            await connection.close(timeout=10)

    def stop(self) -> None:
        """Stop the server: clients are disconnected, all is written to disk. Does nothing when it is stopped."""
        with _locked(self.data):
            for how, seconds in ((signal.SIGINT, 30), (signal.SIGQUIT, 10)):
                postmaster = _read_postmaster(self.data)
                if postmaster is None or not _works_on(postmaster.pid, self.data):
                    return
                with suppress(ProcessLookupError):
                    os.kill(postmaster.pid, how)
                if _gone([postmaster.pid], self.data, seconds):
                    return
        raise StartupFault(f"the server on {self.data} does not stop; see {self.data / 'cxg.log'}")


class Postmaster(NamedTuple):
    """What `postmaster.pid` says: the main process of a server, and whether it is `starting`, `ready` or `stopping`."""

    pid: int
    port: int
    status: str


def _silent(_: str) -> None:
    return


def start_embedded(
    data: Path, *, binaries: Path | None = None, durable: bool = True, say: Callable[[str], None] = _silent
) -> EmbeddedServer:
    """A running server on the cluster at `data`: taken over, or started, or created and started.

    `binaries` is the folder of PostgreSQL's programs, else they are looked for. `durable=False` is for data that may be
    lost with the machine's power, as in tests. Blocks: about 1 s for a new cluster, 0.1 s for one that exists.
    Raises StartupFault when a person must act.
    """
    data = data.resolve()
    _check_place(data)
    with _locked(data) as lock:
        port = _running_port(data)
        if port is not None:
            _read_passwords(data)
            _keep_durable(data, port, durable)
            return EmbeddedServer(port, data, started=False)
        programs = find_programs(data, binaries)
        if not (data / "PG_VERSION").exists():
            say(f"creating a PostgreSQL {programs.version[0]} cluster in {data}")
            _create_cluster(programs, data, durable, lock)
        _read_passwords(data)
        _clear_remains(data)
        port = _launch(programs, data, durable)
    say(f"PostgreSQL {programs.version[0]} listens on 127.0.0.1:{port}")
    return EmbeddedServer(port, data, started=True)


# Creating


def _check_place(data: Path) -> None:
    """Make the folder around `data`; StartupFault when we may not write there, or `data` is another user's."""
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartupFault(f"cannot make the folder {data.parent}: {error.strerror}") from None
    for place in (data.parent, data):
        if place.exists() and not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            raise StartupFault(f"{place} may not be written by this user; choose another data folder, or its owner")


def _create_cluster(programs: Programs, data: Path, durable: bool, lock: int) -> None:
    """Make a complete cluster, roles and all, in `<data>.new`, then rename it: one that was killed leaves no half."""
    if data.exists() and any(data.iterdir()):
        raise StartupFault(f"{data} holds other files and no PostgreSQL cluster; choose an empty or new folder")
    new = data.with_name(f"{data.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    programs.give(new)
    options = [*_locale_options(programs.version[0]), *([] if durable else ["--no-sync"])]
    _must(programs, "initdb", "-D", new, "-U", SUPERUSER, "-E", "UTF8", "-A", "reject", *options, held=(lock,))
    passwords = {role: secrets.token_urlsafe(24) for role in ROLES}
    _write(new / "cxg_roles.json", json.dumps(passwords))
    _write(new / "pg_hba.conf", ACCESS)
    with (new / "postgresql.conf").open("a") as conf:
        conf.write("\ninclude_if_exists 'cxg.conf'\n")
    programs.give(new)
    # Single-user mode needs no connection, so no moment exists in which a server without passwords listens.
    roles = "".join(statement.format(passwords[role]) + "\n" for role, statement in ROLES.items())
    strict = ("-c", "exit_on_error=on", "-c", "password_encryption=scram-sha-256")
    _must(programs, "postgres", "--single", "-D", new, *strict, "postgres", stdin=roles, held=(lock,))
    try:
        new.rename(data)
    except OSError as error:
        raise StartupFault(f"cannot name the new cluster {data} ({error.strerror}); is that a mount point?") from None


def _locale_options(major: int) -> list[str]:
    """UTF-8 sorted by code point: the same order on every system, and it cannot change under an index."""
    if major >= 17:
        return ["--locale-provider=builtin", "--locale=C.UTF-8"]
    return ["--locale=C.UTF-8" if sys.platform == "linux" else "--locale=en_US.UTF-8"]


def _must(
    programs: Programs, program: str, *arguments: str | Path, stdin: str = "", held: tuple[int, ...] = ()
) -> None:
    done = programs.run(program, *arguments, stdin=stdin, held=held)
    if done.returncode != 0:
        who = f" as {programs.account.pw_name}, who must be able to enter the data folder" if programs.account else ""
        raise StartupFault(f"{program} failed{who}: {done.stderr.strip()[-2000:]}")


def _write(path: Path, text: str) -> None:
    """Write `text` so that a crash leaves the old file or the new one, readable by its owner only."""
    half = path.with_name(f"{path.name}.half")
    with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)


def _read_passwords(data: Path) -> dict[str, str]:
    """Role -> password; StartupFault when the cluster is not one of ours."""
    try:
        passwords: dict[str, str] = json.loads((data / "cxg_roles.json").read_text())
    except (FileNotFoundError, ValueError):
        raise StartupFault(f"{data} is a cluster without cxg_roles.json; choose another data folder") from None
    return passwords


# Starting


def _launch(programs: Programs, data: Path, durable: bool) -> int:
    """Start the server and wait until it takes connections; its port."""
    log = data / "cxg.log"
    if log.exists() and log.stat().st_size > LOG_MAX:
        log.replace(data / "cxg.log.old")
    for _ in range(3):
        port = _choose_port(data)
        _write(data / "cxg.conf", _configuration(data, port, durable))
        _write(data / "cxg_port", str(port))
        programs.give(data)
        # pg_ctl detaches the server from us: Ctrl-C does not reach it, and init collects it when it ends.
        done = programs.run("pg_ctl", "start", "-D", data, "-w", "-t", str(PATIENCE), "-s", "-l", log)
        if done.returncode == 0:
            return port
        if _is_free(port):  # else somebody took it in between
            break
    raise StartupFault(f"the server does not start: {done.stderr.strip()}; {log} ends with\n{_tail(log)}")


def _configuration(data: Path, port: int, durable: bool) -> str:
    """The text of cxg.conf."""
    fits = len(os.fsencode(data / f".s.PGSQL.{port}")) <= SOCKET_PATH_MAX
    values = SETTINGS | {"port": str(port), "unix_socket_directories": _escape(data) if fits else ""}
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        values[name] = "on" if durable else "off"
    return "".join(f"{name} = '{value}'\n" for name, value in values.items())


def _escape(path: Path) -> str:
    """`path` as one entry of a list inside a quoted setting."""
    return '"' + str(path).replace('"', '""').replace("\\", "\\\\").replace("'", "''") + '"'


def _choose_port(data: Path) -> int:
    with suppress(FileNotFoundError, ValueError):
        remembered = int((data / "cxg_port").read_text())
        if _is_free(remembered):
            return remembered
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does: past connections don't count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _tail(log: Path) -> str:
    with suppress(FileNotFoundError):
        return log.read_text(errors="replace")[-1500:]
    return "(nothing)"


def _keep_durable(data: Path, port: int, durable: bool) -> None:
    """Make a server that was started with `durable=False` durable when the one who takes it over expects it."""
    conf = data / "cxg.conf"
    postmaster = _read_postmaster(data)
    if durable and postmaster and "fsync = 'off'" in conf.read_text():
        owner = conf.stat()
        _write(conf, _configuration(data, port, durable))
        os.chown(conf, owner.st_uid, owner.st_gid)
        os.kill(postmaster.pid, signal.SIGHUP)
        os.sync()  # what it wrote so far may still be in memory only


@contextmanager
def _locked(data: Path) -> Iterator[int]:
    """Only one process, and one thread of it, is in here for `data`. Yields the descriptor that holds the lock."""
    with open(data.with_name(f"{data.name}.lock"), "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


# Processes


def _read_postmaster(data: Path) -> Postmaster | None:
    """Who works on `data` by the lock file's word; None without a readable one."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        return Postmaster(int(lines[0]), int(lines[3]), lines[7].strip() if len(lines) > 7 else "starting")
    except (FileNotFoundError, ValueError, IndexError):
        return None


def _works_on(pid: int, data: Path) -> bool:
    """Whether `pid` is a live PostgreSQL process of this cluster: a zombie works nowhere, a recycled id elsewhere."""
    process = Path("/proc", str(pid))
    if not process.parent.is_dir():
        return _told_by_ps(pid, data)
    try:
        return (process / "comm").read_text().strip() in ("postgres", "postmaster") and (process / "cwd").samefile(data)
    except OSError:
        return False


def _running_port(data: Path) -> int | None:
    """Port of the server that works on `data`, once it is ready; None when there is none, or it has just ended."""
    patient_until = time.monotonic() + PATIENCE
    while (postmaster := _read_postmaster(data)) and _works_on(postmaster.pid, data):
        if postmaster.status == "ready":
            return postmaster.port
        if time.monotonic() > patient_until:
            raise StartupFault(f"process {postmaster.pid} is {postmaster.status} for long; see {data / 'cxg.log'}")
        time.sleep(0.02)
    return None


def _clear_remains(data: Path) -> None:
    """Put away what a killed server left and what would stop the next one. Only under the lock, without a server."""
    orphans = [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _works_on(int(entry.name), data)]
    for how in (signal.SIGQUIT, signal.SIGKILL):
        for pid in orphans:
            with suppress(ProcessLookupError):
                os.kill(pid, how)
        if _gone(orphans, data, seconds=2):
            break
    for left in data.glob(".s.PGSQL.*"):
        left.unlink()
    _disown(data / "postmaster.pid")


def _disown(lock_file: Path) -> None:
    """Have the next server take the lock file for stale, though a zombie or a stranger may have its process id.

    It is not removed: it also names the shared memory, by which the server makes sure that nobody works on the data.
    The server passes over the id of the process that called pg_ctl, so that is what goes in.
    """
    with suppress(FileNotFoundError):
        first, *rest = lock_file.read_text().splitlines(keepends=True) or [""]
        if first.strip().isdigit():
            with lock_file.open("r+") as file:  # in place: the owner and the mode stay
                file.write("".join([f"{os.getpid()}\n", *rest]))
                file.truncate()
        else:
            lock_file.unlink()


def _gone(pids: list[int], data: Path, seconds: float) -> bool:
    """Wait until none of these works on `data`; False when some still do after `seconds`."""
    patient_until = time.monotonic() + seconds
    while any(_works_on(pid, data) for pid in pids):
        if time.monotonic() > patient_until:
            return False
        time.sleep(0.01)
    return True


def _told_by_ps(pid: int, data: Path) -> bool:
    """`_works_on` where there is no /proc."""
    said = subprocess.run(["ps", "-ww", "-o", "state=,args=", "-p", str(pid)], capture_output=True, text=True).stdout
    return not said.startswith("Z") and "postgres" in said and f"-D {data}" in said.replace('"', "")
