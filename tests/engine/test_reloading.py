"""Reloads: a running server takes on what is new, and no request notices."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import asyncpg
import httpx
import pytest

from engine.auth.access_key import FILE
from engine.main import System, fresh_system
from engine.places import Place
from engine.reloading import SWITCH, Reloading, newest_source
from engine.testing.harness import settings_for_tests
from engine.wire import WireLimits
from tenancy.embedded import start_embedded

ROOT = Path(__file__).parents[2]
CLIENTS, REQUESTS = 8, 60
PACKAGE = '''
from sqlalchemy.orm import Mapped

from engine import Code, Entity, Model, Scope, change_log


class {Name}Model(Model, abstract=True): ...


class Thing({Name}Model, table="stock.things"):
    """A thing."""

    code: Mapped[Code]


scopes = [Scope("{name}", {Name}Model.metadata, database="{name}")]
things = Entity(Thing, label="code", unique=["code"])
changes = change_log({Name}Model)
'''


class Server:
    """`cxg serve` in a folder of its own."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder, self.log = folder, folder / "log.txt"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for name in ("alpha", "beta"):
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text(PACKAGE.format(name=name, Name=name.title()))
        self.configure('registries = ["alpha"]')
        command = [sys.executable, "-m", "engine", "serve", "--port", str(self.port), "--workers", str(workers)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=self.environment, stdout=log, stderr=log)
        self.wait(lambda: self.get("/health/ready").status_code == 200)
        self.header = {"Authorization": f"Bearer {(folder / 'cxg-data' / FILE).read_text().strip()}"}

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CXG_")}
        return {**kept, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "CXG_POOL_SIZE": "3"}

    def configure(self, text: str) -> None:
        """The settings from now on."""
        (self.folder / "cxg.toml").write_text(text + "\n")

    def get(self, path: str) -> httpx.Response:
        """A request of a connection of its own."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=getattr(self, "header", {}), timeout=10)

    def wait(self, true: Any, seconds: float = 40) -> None:
        """Until something holds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with suppress(httpx.HTTPError):
                if true():
                    return
            assert self.process.poll() is None, self.told()
            time.sleep(0.1)
        raise AssertionError(f"waited in vain\n{self.told()}")

    def told(self) -> str:
        """The log so far."""
        return self.log.read_text()

    def reload(self) -> str:
        """`cxg reload`, as a person says it."""
        command = [sys.executable, "-m", "engine", "reload"]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    running = Server(tmp_path, request.param)
    yield running
    running.stop()


class Load:
    """Clients that read and write, until each has had its answers and somebody says stop."""

    def __init__(self, server: Server) -> None:
        self.server, self.faults, self.done = server, list[str](), 0
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._client, args=(n,)) for n in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_failure: Any) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)

    def _client(self, number: int) -> None:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{self.server.port}", headers=self.server.header, timeout=20
        ) as client:
            for turn in range(20 * REQUESTS):
                if self.stopping.is_set() and turn >= REQUESTS:
                    return
                try:
                    if turn % 3:
                        answer, wanted = client.get("/alpha/stock/things", params={"page_size": 5}), 200
                    else:
                        answer, wanted = client.post("/alpha/stock/things", json={"code": f"T{number}-{turn}"}), 201
                    if answer.status_code != wanted:
                        self.faults.append(f"{answer.status_code} {answer.text[:200]}")
                except httpx.HTTPError as error:
                    self.faults.append(repr(error))
                self.done += 1


def connections(server: Server) -> int:
    """How many the server has open."""

    async def count() -> int:
        running = start_embedded(server.folder / "cxg-data" / "postgres", durable=False)
        connection = await asyncpg.connect(running.url("alpha"), ssl=False)
        found: int = await connection.fetchval("select count(*) from pg_stat_activity where application_name = 'cxg'")
        await connection.close()
        return found

    return asyncio.run(count())


def test_reloads_under_load_lose_no_request(server: Server) -> None:
    workers = server.process.args[-1]  # type: ignore[index]
    with Load(server) as load:
        time.sleep(0.5)
        assert server.get("/beta/stock/things").status_code == 404
        server.configure('registries = ["alpha", "beta"]')
        assert str(server.process.pid) in server.reload()
        # every worker swaps: fresh connections reach any of them
        server.wait(lambda: all(server.get("/beta/stock/things").status_code == 200 for _ in range(12)))
        server.configure('registries = ["alpha", "nowhere"]')
        server.reload()
        server.wait(lambda: server.told().count("reload failed") >= int(workers))
        assert "registry 'nowhere' cannot be imported" in server.told()
        assert server.get("/beta/stock/things").status_code == 200
        server.configure('registries = ["alpha"]\nmax_filters = 1\nreload_on_notify = true')
        server.process.send_signal(signal.SIGHUP)
        server.wait(lambda: all(server.get("/beta/stock/things").status_code == 404 for _ in range(12)))
    assert load.faults == [] and load.done >= CLIENTS * REQUESTS
    many = "/alpha/stock/things?filter[code]=A&filter[code][ne]=B"
    assert "1 filter" in server.get(many).text or "at most 1" in server.get(many).text, server.get(many).text
    # former pools are closed: what is open belongs to the present ones (3 a database), a relay each, and its waiting
    server.wait(lambda: connections(server) <= int(workers) * 5)


def test_the_wire_knows_the_limits_of_the_present_generation(tmp_path: Path) -> None:
    system = System(settings_for_tests(tmp_path, registries=["tests.engine.booth"], max_body_bytes=2048))
    system.places["booth"] = Place("postgresql://127.0.0.1:1/x", "postgresql://127.0.0.1:1/x", None)
    application = Reloading(system, fresh_system)
    assert application.state.wire == WireLimits.of(system.settings)
    asyncio.run(system.close())


def test_a_notify_reloads_and_fixed_settings_stay(tmp_path: Path) -> None:
    server = Server(tmp_path, 1)
    try:
        server.configure('registries = ["alpha", "beta"]\nreload_on_notify = true')
        server.reload()
        server.wait(lambda: server.get("/beta/stock/things").status_code == 200)
        server.configure('registries = ["alpha"]\nreload_on_notify = true')

        async def notify() -> None:
            running = start_embedded(tmp_path / "cxg-data" / "postgres", durable=False)
            connection = await asyncpg.connect(running.url("alpha"), ssl=False)
            await connection.execute("notify cxg_reload")
            await connection.close()

        time.sleep(1)
        asyncio.run(notify())
        server.wait(lambda: server.get("/beta/stock/things").status_code == 404)
        server.configure('registries = ["alpha"]\nenvironment = "production"')
        server.reload()
        server.wait(lambda: "environment changes only when the server is started again" in server.told())
        path = tmp_path / "alpha" / "__init__.py"
        os.utime(path, (time.time() + 5, time.time() + 5))
        server.configure('registries = ["alpha"]')
        server.reload()
        server.wait(lambda: "sources have changed" in server.told())
    finally:
        server.stop()
    refused = subprocess.run(
        [sys.executable, "-m", "engine", "reload"], cwd=tmp_path, env=server.environment, capture_output=True, text=True
    )
    assert refused.returncode == 1 and "no server serves" in refused.stderr


def test_new_code_is_served_by_new_workers(tmp_path: Path) -> None:
    server = Server(tmp_path, 2)
    try:
        with Load(server) as load:
            path = tmp_path / "alpha" / "__init__.py"
            path.write_text(path.read_text().replace('"""A thing."""', '"""A thing, described anew."""'))
            os.utime(path, (time.time() + 5, time.time() + 5))
            server.reload()
            described = "A thing, described anew."
            server.wait(lambda: all(described in server.get("/openapi.json").text for _ in range(8)))
        # a client's idle connection may close as its worker goes; nothing else may happen
        assert [fault for fault in load.faults if "disconnected" not in fault and "reset" not in fault] == []
    finally:
        server.stop()


# -- the swap by itself


class Fake:
    """A system that answers its name when it is allowed to."""

    heard_at: tuple[str, ...] = ()
    roots: tuple[ModuleType, ...] = ()

    def __init__(self, name: str, allowed: asyncio.Event, life: list[str]) -> None:
        self.name, self.allowed, self.life = name, allowed, life

    def app(self) -> Any:
        async def answer(_scope: Any, _receive: Any, send: Any) -> None:
            await self.allowed.wait()
            await send(self.name)

        return answer

    async def start(self) -> None:
        self.life.append(f"start {self.name}")
        if self.name == "unfit":
            raise OSError("no such database")

    async def retire(self) -> None:
        self.life.append(f"retire {self.name}")

    async def close(self) -> None:
        self.life.append(f"close {self.name}")


def test_a_request_ends_where_it_began() -> None:
    async def work() -> None:
        life: list[str] = []
        slow, free, names = asyncio.Event(), asyncio.Event(), iter(["new", "unfit"])
        free.set()

        async def fresh(_former: Any) -> Fake:
            return Fake(next(names), free, life)

        application, answers = Reloading(Fake("old", slow, life), fresh), list[Any]()

        async def send(message: Any) -> None:
            answers.append(message)

        async def ask() -> None:
            await application({"type": "http"}, None, send)  # type: ignore[arg-type]

        early = asyncio.create_task(ask())
        await asyncio.sleep(0)
        assert await application.reload()
        await ask()
        await asyncio.sleep(0.01)
        assert answers == ["new"] and life == ["start new", "retire old"]
        slow.set()
        await early
        await asyncio.sleep(0.01)
        assert answers == ["new", "old"] and life[-1] == "close old"
        assert not await application.reload()
        await ask()
        assert answers[-1] == "new" and life[-2:] == ["start unfit", "close unfit"]

    asyncio.run(work())


def test_a_server_lives_from_start_to_end_and_its_threads_let_requests_go_on() -> None:
    usual, life, said = sys.getswitchinterval(), list[str](), list[str]()

    async def work() -> None:
        free, told = asyncio.Event(), iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> Any:
            return {"type": next(told)}

        async def send(message: Any) -> None:
            said.append(message["type"])
            if message["type"] == "lifespan.startup.complete":
                assert sys.getswitchinterval() == pytest.approx(SWITCH)

        async def fresh(_former: Any) -> Fake:
            return Fake("new", free, life)

        await Reloading(Fake("old", free, life), fresh)({"type": "lifespan"}, receive, send)

    try:
        asyncio.run(work())
    finally:
        sys.setswitchinterval(usual)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert life[0] == "start old" and life[-1] == "close old"


def test_the_newest_source_of_packages_is_found(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    file = tmp_path / "deep" / "a.py"
    file.write_text("")
    os.utime(file, (10_000, 10_000))
    module = ModuleType("package")
    module.__path__ = [str(tmp_path)]
    assert newest_source([module]) == 10_000 and newest_source([]) == 0
