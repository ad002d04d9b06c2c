"""Those who compete, each its own process: uvicorn with one worker, uvloop, httptools, no access log, pool of 8."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import httpx
import jwt
import psutil  # type: ignore[import-untyped,unused-ignore]  # psutil ships no types

from tests.benchmarks.place import VARIABLE
from tests.benchmarks.stage import ADMIN, PASSWORD, Stage

ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds until a server listens
RIGHTS = ["idam.users.read", "idam.users.create", "idam.users.update", "idam.users.status", "crm.contacts.read"]


class Contestant(NamedTuple):
    """`factory`: what uvicorn serves. `engine`: it speaks the engine's contract. `only`: cases it takes; () = all."""

    name: str
    title: str
    factory: str
    engine: bool = False
    only: tuple[str, ...] = ()


FLOOR = Contestant("floor", "floor", "tests.benchmarks.floor:create_app")
ORM = Contestant("orm", "FastAPI + ORM", "tests.benchmarks.orm:create_app")
ENGINE = Contestant("engine", "this engine", "engine.main:create_app", engine=True)
# the bundled rules of idam.users read and check; neither the floor nor the hand-written module has any
RULELESS = Contestant(
    "ruleless",
    "engine, no rules",
    "tests.benchmarks.ruleless:create_app",
    engine=True,
    only=("update", "create", "bulk", "status"),
)
CONTESTANTS = (FLOOR, ORM, ENGINE, RULELESS)


def nothing() -> None:
    """What is left to do after the answers of a contestant that does all its work before them."""


@dataclass
class Server:
    """A running contestant. `tokens`: the Authorization header by scope. `helpers`: processes that do some of its work: of those
    that share a database one relays for all. `finish` waits until all work that answers have left is done."""

    contestant: Contestant
    process: psutil.Process
    port: int
    tokens: dict[str, str] = field(default_factory=dict)
    helpers: list[psutil.Process] = field(default_factory=list)
    finish: Callable[[], None] = nothing

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def cpu(self) -> float:
        """Seconds of CPU that the process and its helpers have used, in user and in system mode."""
        times = [process.cpu_times() for process in (self.process, *self.helpers)]
        return float(sum(one.user + one.system for one in times))

    def client(self, scope: str) -> httpx.Client:
        """A client that is signed in for a scope."""
        header = {"Authorization": self.tokens[scope]} if scope in self.tokens else {}
        return httpx.Client(base_url=self.url, headers=header, timeout=30)


def free_port() -> int:
    """A port of the loopback address that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(folder: Path) -> dict[str, str]:
    """Variables of a process that imports this project and the generated packages in `folder`; no settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CXG_")}
    # packages may lie in a folder that PYTHONPATH names relative to this process
    given = [os.path.abspath(part) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    return {**kept, "PYTHONPATH": os.pathsep.join((str(ROOT), str(folder), *given))}


@contextmanager
def process(factory: str, folder: Path, variables: dict[str, str]) -> Iterator[tuple[psutil.Process, int]]:
    """uvicorn serving `factory`, given at once; the port may not answer yet. Ended after the block."""
    port = free_port()
    flags = ["--no-access-log", "--no-server-header", "--no-proxy-headers", "--log-level", "warning"]
    command = [sys.executable, "-m", "uvicorn", factory, "--factory", "--port", str(port)]
    command += ["--loop", "uvloop", "--http", "httptools", *flags]
    with open(folder / f"{factory.partition(':')[0]}.log", "ab") as log:
        started = subprocess.Popen(
            command, cwd=folder, env={**environment(folder), **variables}, stdout=log, stderr=log
        )
    try:
        yield psutil.Process(started.pid), port
    finally:
        started.terminate()
        try:
            started.wait(timeout=15)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def wait_for(port: int, running: psutil.Process, log: Path) -> None:
    """Until the port takes connections. RuntimeError with the end of the log when it never does."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and running.is_running() and running.status() != psutil.STATUS_ZOMBIE:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"a contestant does not start:\n{log.read_text()[-3000:]}")


@contextmanager
def running(chosen: Sequence[Contestant], stage: Stage) -> Iterator[list[Server]]:
    """The servers of the chosen contestants, signed in."""
    variables = {VARIABLE: str(stage.told), "CXG_DATA": str(stage.data), "CXG_TOKEN_MINUTES": "1440"}
    servers = []
    with ExitStack() as stack:
        for contestant in chosen:
            found, port = stack.enter_context(process(contestant.factory, stage.data, variables))
            servers.append(Server(contestant, found, port))
        for server in servers:
            wait_for(server.port, server.process, stage.data / f"{server.contestant.factory.partition(':')[0]}.log")
            server.tokens = _sign_in(server, stage)
        engines = [server for server in servers if server.contestant.engine]
        for server in engines:
            server.helpers = [other.process for other in engines if other is not server]
            server.finish = stage.settle
        yield servers


def _sign_in(server: Server, stage: Stage) -> dict[str, str]:
    if server.contestant is FLOOR:
        return {}
    if server.contestant.engine:
        return {"manager": token(server.url, ADMIN), "tenants": token(server.url, "owner@first.example", "first")}
    until = datetime.now(UTC) + timedelta(days=1)
    claims = {
        "sub": str(stage.place.actor),
        "email": ADMIN,
        "tenant": str(stage.place.tenant),
        "permissions": RIGHTS,
        "exp": until,
    }
    return dict.fromkeys(("manager", "tenants"), "Bearer " + jwt.encode(claims, stage.place.secret, "HS256"))


def token(url: str, username: str, tenant: str | None = None) -> str:
    """The Authorization header after signing in at the engine with the password grant."""
    form = {
        "grant_type": "password",
        "username": username,
        "password": PASSWORD,
        **({"tenant": tenant} if tenant else {}),
    }
    answer = httpx.post(f"{url}/auth/token", data=form, timeout=30)
    answer.raise_for_status()
    return f"Bearer {answer.json()['access_token']}"
