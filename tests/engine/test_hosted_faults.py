"""Faults of an engine inside somebody's program: named for what they are, and logged without what callers sent."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import structlog
from sqlalchemy.orm import Mapped
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from engine import Change, Engine, Entity, Model, Moment, Name, Point, Principal, Rules, StartupFault, UnavailableError
from engine.observe import told
from tenancy.embedded import EmbeddedServer, start_embedded
from tests.owners import as_superuser, let_owner_serve

SECRET = "tell-nobody-7"


class HutModel(Model, abstract=True):
    """Base of the tests' own table."""


class Thing(HutModel, table="hut.things"):
    """A thing."""

    name: Mapped[Name]


things, rules = Entity(Thing), Rules("hut/hut")
Given = Callable[[str], Any]


@rules.on("HUT-1", "things", Point.BEFORE_CREATE, watches="name")
async def breaks(_moment: Moment, changes: list[Change]) -> None:
    """A fault of the host's own rule."""
    raise RuntimeError("a fault of the program")


def who(_request: HTTPConnection) -> Principal:
    return Principal(None, everything=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    running = start_embedded(tmp_path_factory.mktemp("hut"), durable=False)
    for name in ("hut", "bare"):
        asyncio.run(running.ensure_database(name))
    let_owner_serve(running)
    yield running
    running.stop()


@asynccontextmanager
async def hosted(database: Any, tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Engine, httpx.AsyncClient]]:
    """The engine over a database, and a client of it."""
    settings = {"data": tmp_path, "bcrypt_rounds": 4, **options}
    engine = Engine(entities=[things, rules], databases={"hut": database}, authenticate=who, settings=settings)
    app = Starlette(routes=engine.routes("/api"), lifespan=engine.lifespan)
    transport = httpx.ASGITransport(app)
    headers = {"authorization": f"Bearer {SECRET}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://host", headers=headers) as client,
    ):
        yield engine, client


RICH = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.RichTracebackFormatter(show_locals=True))


@pytest.mark.parametrize("last", [RICH, structlog.processors.JSONRenderer()], ids=["rich", "json"])
def test_no_line_shows_what_a_caller_sent(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: Any
) -> None:
    lines, before = io.StringIO(), structlog.get_config()
    monkeypatch.setattr("engine.observe.LOG", structlog.wrap_logger(structlog.PrintLogger(lines), processors=[told]))
    structlog.configure(processors=[structlog.processors.dict_tracebacks, last] if last is not RICH else [last])

    async def work() -> None:
        async with hosted(server.url("hut"), tmp_path) as (engine, client):
            await engine.synchronise()
            answer = await client.post("/api/hut/hut/things", json={"name": f"body-{SECRET}"})
            assert answer.status_code == 500

    try:
        asyncio.run(work())
    finally:
        structlog.configure(**before)
    assert "a fault of the program" in lines.getvalue() and "breaks" in lines.getvalue()
    assert SECRET not in lines.getvalue() and len(lines.getvalue().splitlines()) < 100


FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "no role": ("hut", {"runtime_role": "nobody_there"}, "db_unavailable"),
    "no tables": ("bare", {}, "schema_changed"),
    "no database": ("nowhere", {}, "db_unavailable"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_with_the_database_is_503(server: EmbeddedServer, tmp_path: Path, name: str) -> None:
    database, options, code = FAULTS[name]

    async def work() -> None:
        async with hosted(server.url(database), tmp_path, **options) as (engine, client):
            answer = await client.get("/api/hut/hut/things")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, code)
            with pytest.raises(UnavailableError):
                async with engine.moment("hut") as moment:
                    await moment.list("hut.things")

    asyncio.run(work())


def test_a_wrong_password_is_503_and_logged(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = io.StringIO()
    processors = [structlog.processors.JSONRenderer()]
    monkeypatch.setattr(
        "engine.observe.LOG", structlog.wrap_logger(structlog.PrintLogger(lines), processors=processors)
    )
    head, _, tail = server.url("hut").rpartition("@")

    async def work() -> None:
        async with hosted(f"{head}wrong@{tail}", tmp_path) as (_, client):
            answer = await client.get("/api/hut/hut/things")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "db_unavailable")
            assert "InvalidPasswordError" in lines.getvalue() and answer.headers["x-request-id"] in lines.getvalue()

    asyncio.run(work())


def test_a_lent_pool_without_rights_is_503(server: EmbeddedServer, tmp_path: Path) -> None:
    as_superuser(server, "create role guest login password 'guest'; grant connect on database hut to guest")
    address = server.url("hut").rpartition("@")[2]

    async def work() -> None:
        async with hosted(server.url("hut"), tmp_path) as (engine, _):
            await engine.synchronise()
        pool = asyncpg.create_pool(f"postgresql://guest:guest@{address}", min_size=0, max_size=3, ssl=False)
        async with pool, hosted(pool, tmp_path) as (engine, client):
            answer = await client.get("/api/hut/hut/things")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "db_unavailable")

    asyncio.run(work())


def test_a_scope_that_is_not_there_is_named_with_those_that_are(server: EmbeddedServer, tmp_path: Path) -> None:
    async def work() -> None:
        async with hosted(server.url("hut"), tmp_path) as (engine, _):
            with pytest.raises(StartupFault, match="no scope 'nope'; there are hut"):
                engine.moment("nope")

    asyncio.run(work())
