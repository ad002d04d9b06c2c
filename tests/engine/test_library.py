"""The engine inside somebody's own application: his routes beside, his pool under it, his callers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.orm import Mapped
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from engine import (
    Code,
    ConflictError,
    Engine,
    Entity,
    ForbiddenError,
    Model,
    Name,
    NotFoundError,
    Principal,
    Rules,
    Scope,
    StartupFault,
    TenantRef,
    Text,
    ValidationError,
    change_log,
)
from engine.library import HostedSystem
from engine.places import Place
from engine.testing.contract import broken, contract_cases
from engine.testing.harness import Live, listening, settings_for_tests
from tenancy.embedded import EmbeddedServer, start_embedded
from tests.engine import booth
from tests.owners import let_owner_serve

ANN = {"x-user": "ann"}
ROOT = Path(__file__).parents[2]
Start = Callable[..., Engine]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server with the databases of the booth and of what tests declare."""
    running = start_embedded(tmp_path_factory.mktemp("library"), durable=False)
    for name in ("booth", "desk", "doctest"):
        asyncio.run(running.ensure_database(name))
    let_owner_serve(running)
    yield running
    running.stop()


def who(request: HTTPConnection) -> Principal | None:
    """The host's own idea of callers."""
    name = request.headers.get("x-user")
    rights = frozenset({"sales.articles.read"})
    return {
        "ann": Principal(UUID(int=1), "ann@x.org", everything=True),
        "bob": Principal(UUID(int=2), permissions=rights),
    }.get(name or "")


async def odd(connection: Any) -> None:
    """What hosts tell asyncpg."""
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    await connection.set_type_codec("numeric", encoder=str, decoder=float, schema="pg_catalog", format="text")
    for name in ("uuid", "timestamptz"):
        await connection.set_type_codec(name, encoder=str, decoder=str, schema="pg_catalog", format="text")


def options(tmp_path: Path) -> dict[str, Any]:
    return {"data": tmp_path, "bcrypt_rounds": 4}


class Host:
    """A FastAPI application with routes and a pool of its own, and the engine at /api."""

    def __init__(self, server: EmbeddedServer, data: Path, init: Any) -> None:
        self.pool: asyncpg.Pool
        self.engine = Engine(
            ["tests.engine.booth"], databases={"booth": lambda: self.pool}, authenticate=who, settings=options(data)
        )

        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            url = server.url("booth", "cxg_runtime")
            async with asyncpg.create_pool(url, min_size=1, max_size=4, init=init, ssl=False) as self.pool, self.engine:
                yield

        self.app = FastAPI(lifespan=lifespan)
        self.app.get("/mine")(self.mine)
        self.app.mount("/api", self.engine.app)

    async def mine(self) -> int:
        """A route of the host, over the same pool."""
        found: int = await self.pool.fetchval("select count(*) from sales.articles")
        return found

    def run(self, work: Callable[[Host, httpx.AsyncClient], Coroutine[Any, Any, None]]) -> None:
        """Do something while it serves."""

        async def do() -> None:
            transport = httpx.ASGITransport(self.app)
            async with (
                self.app.router.lifespan_context(self.app),
                httpx.AsyncClient(transport=transport, base_url="http://host", headers=ANN) as client,
            ):
                await work(self, client)

        asyncio.run(do())


@pytest.fixture(params=[None, odd], ids=["usual", "own codecs"])
def host(server: EmbeddedServer, tmp_path: Path, request: pytest.FixtureRequest) -> Host:
    made = Host(server, tmp_path, request.param)
    asyncio.run(made.engine.synchronise({"booth": server.url("booth", "cxg_owner")}))
    return made


def test_it_serves_beside_the_routes_of_its_host(host: Host) -> None:
    async def work(host: Host, client: httpx.AsyncClient) -> None:
        sku, before = f"A{uuid4().hex[:8].upper()}", (await client.get("/mine")).json()
        made = await client.post(
            "/api/booth/sales/articles",
            json={"sku": sku, "name": "x", "price": "1.5", "details": {"a": [1, "b"]}},
        )
        row = made.json()["data"]
        assert (made.status_code, row["price"], row["details"]) == (201, "1.5000", {"a": [1, "b"]})
        # the path that a client can follow, prefix included
        assert made.headers["location"] == f"/api/booth/sales/articles/{row['id']}"
        assert (await client.get(made.headers["location"])).json()["data"] == row
        assert (await client.get("/mine")).json() == before + 1
        document = (await client.get("/api/openapi.json")).json()
        assert document["servers"] == [{"url": "/api"}] and "/booth/sales/articles" in document["paths"]
        assert "/auth/token" not in document["paths"] and "oauth2" not in document["components"]["securitySchemes"]
        page = await client.get("/api/docs")
        assert page.status_code == 200 and 'src="docs/swagger.js"' in page.text
        assert (await client.get("/api/docs/swagger.js")).status_code == 200
        assert (await client.get("/api/booth/sales/nothing")).json()["error"]["code"] == "route_not_found"
        assert (await client.get("/api/booth/_meta")).json()["data"]["scope"] == "booth"
        async with asyncio.timeout(5):
            while sku not in booth.HEARD:  # events go on beside
                await asyncio.sleep(0.05)

    host.run(work)


def test_the_host_says_who_may_what(host: Host) -> None:
    async def work(host: Host, client: httpx.AsyncClient) -> None:
        for user, status in (("ann", 200), ("bob", 200), ("", 401)):
            answer = await client.get("/api/booth/sales/articles", headers={"x-user": user})
            assert answer.status_code == status
        assert "POST /auth/token" not in answer.json()["error"]["message"]
        refused = await client.post(
            "/api/booth/sales/articles", headers={"x-user": "bob"}, json={"sku": "B", "name": "b"}
        )
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")
        me = (await client.get("/api/auth/me", headers={"x-user": "bob"})).json()["data"]
        assert (me["id"], me["permissions"], me["scope"]) == (str(UUID(int=2)), ["sales.articles.read"], "booth")

    host.run(work)


def test_from_python_the_road_is_the_same(host: Host) -> None:
    async def work(host: Host, _client: httpx.AsyncClient) -> None:
        engine, sku = host.engine, f"M{uuid4().hex[:8].upper()}"
        async with engine.moment("booth", Principal(UUID(int=1), everything=True)) as moment:
            row = await moment.create("sales.articles", {"sku": sku, "name": "m", "price": Decimal("3")})
            assert (row["price"], row["created_by"]) == ("3.0000", str(UUID(int=1)))
            receipt = await moment.create(
                "sales.receipts", {"buyer": "b", "lines": [{"article_id": row["id"], "amount": 2}]}
            )
            assert [line["amount"] for line in receipt["lines"]] == ["2.0000"]
            found = await moment.list("sales.articles", filter={"sku": sku}, fields=["sku", "version"])
            assert found == [{"sku": sku, "version": 1}]
            changed = await moment.update("sales.articles", row["id"], {"price": "4", "version": 1})
            assert (changed["version"], (await moment.get("sales.articles", row["id"]))) == (2, changed)
            assert await moment.get("sales.articles", uuid4()) is None
            with pytest.raises(ConflictError, match="at version 2"):
                async with moment.attempt():
                    await moment.update("sales.articles", row["id"], {"price": "5", "version": 1})
            assert (await moment.status("sales.receipts", receipt["id"], "inactive"))["is_active"] is False
        with pytest.raises(NotFoundError):  # and what was written before it is undone
            async with engine.moment("booth") as moment:
                [first, _] = await moment.create("sales.articles", [{"sku": f"{sku}{i}", "name": "m"} for i in "12"])
                await moment.delete("sales.articles", first["id"])
                await moment.update("sales.articles", first["id"], {"price": "1001"})
        async with engine.moment("booth") as moment:
            assert await moment.list("sales.articles", filter={"sku": {"startswith": sku}}, deleted="include") != []
            assert await moment.list("sales.articles", filter={"sku": f"{sku}2"}) == []
            with pytest.raises(ValidationError, match=r"1000"):
                await moment.create("sales.articles", {"sku": f"{sku}3", "name": "m", "price": "1001"})
        with pytest.raises(ForbiddenError):
            async with engine.moment("booth", Principal(None)) as moment:
                await moment.list("sales.articles")

    host.run(work)


def test_before_its_start_and_after_its_end_it_says_so(host: Host) -> None:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(host.app), base_url="http://host") as client:
            return await client.get("/api/booth/sales/articles")

    async def nothing(_host: Host, _client: httpx.AsyncClient) -> None:
        pass

    for _ in range(2):
        answer = asyncio.run(ask())
        assert (answer.status_code, "async with engine" in answer.json()["error"]["message"]) == (503, True)
        host.run(nothing)  # and it can be started again
    with pytest.raises(StartupFault, match="not been started"):
        host.engine.moment("booth")
    with pytest.raises(StartupFault, match="owner's URL of 'booth'"):
        asyncio.run(host.engine.synchronise())


def test_codecs_of_the_host_break_no_part_of_the_contract(server: EmbeddedServer, tmp_path: Path) -> None:
    """Everything that the contract asks, over a pool that reads jsonb, numeric, uuid and timestamptz in its own way."""
    made = Host(server, tmp_path, odd)
    asyncio.run(made.engine.synchronise({"booth": server.url("booth", "cxg_owner")}))
    url = server.url("booth", "cxg_runtime")
    system = HostedSystem(
        settings_for_tests(tmp_path),
        made.engine.loaded,
        {"booth": lambda: asyncpg.create_pool(url, min_size=0, max_size=6, init=odd, ssl=False)},
    )
    lent: dict[bytes, Principal] = {}
    with listening(system, lent) as address:
        system.places["booth"] = Place(server.url("booth", "cxg_owner"), url, None)
        live = Live(system, address, lent=lent)
        cases = contract_cases(live.catalog)
        assert len(cases) > 40
        assert list(broken(live, cases)) == []


# -- what is declared in the program itself


class DeskModel(Model, abstract=True):
    """Base of the tests' own tables."""


class Note(DeskModel, table="office.notes"):
    """A note."""

    code: Mapped[Code]
    text: Mapped[Text]


class SafeModel(Model, abstract=True):
    """Base of tables whose rows belong to tenants."""


class Paper(SafeModel, table="safe.papers"):
    """A paper of somebody's."""

    title: Mapped[Name]


notes = Entity(Note, label="code", unique=["code"])
papers = Entity(Paper, label="title")
safe = [
    Scope("safe", SafeModel.metadata, tenant_bound=True, database="desk"),
    papers,
    change_log(SafeModel, "safe.changes"),
]


def test_entities_of_the_program_need_no_package(server: EmbeddedServer, tmp_path: Path) -> None:
    url = server.url("desk")
    engine = Engine(entities=[notes], databases={"desk": url}, authenticate=who, settings=options(tmp_path))
    assert engine.entities == ["desk/office/notes", "desk/log/changes"]
    app = Starlette(routes=engine.routes("/data"), lifespan=engine.lifespan)

    async def work() -> None:
        await engine.synchronise()
        transport = httpx.ASGITransport(app, root_path="/outer")
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://host", headers=ANN) as client,
        ):
            body = {"code": "N1", "text": "t"}
            made = await client.post("/outer/data/desk/office/notes", json=body)
            assert made.headers["location"].startswith("/outer/data/desk/office/notes/")
            again = await client.post("/outer/data/desk/office/notes/upsert?on=code", json=body)
            assert again.status_code == 200, again.text
            assert (await client.get("/outer/data/openapi.json")).json()["servers"] == [{"url": "/outer/data"}]

    asyncio.run(work())


def test_tenants_are_the_hosts_and_walled(server: EmbeddedServer, tmp_path: Path) -> None:
    first, second = (Principal(uuid4(), tenant=TenantRef(uuid4(), slug), everything=True) for slug in ("a", "b"))

    async def work() -> None:
        async with asyncpg.create_pool(server.url("desk"), min_size=0, max_size=4, ssl=False) as pool:
            given = {"databases": {"desk": pool}, "authenticate": who, "settings": options(tmp_path)}
            engine = Engine(entities=safe, **given)
            await engine.synchronise({"desk": server.url("desk", "cxg_owner")})
            async with engine:
                async with engine.moment("safe", first) as moment:
                    mine = await moment.create("safe.papers", {"title": "mine"})
                async with engine.moment("safe", second) as moment:
                    assert await moment.list("safe.papers") == []
                    assert await moment.get("safe.papers", mine["id"]) is None
                with pytest.raises(ForbiddenError, match="another scope"):
                    async with engine.moment("safe") as moment:
                        await moment.list("safe.papers")
            # nothing of it stays on the connections of the host
            assert await pool.fetchval("select current_setting('app.tenant_id', true)") in (None, "")

    asyncio.run(work())


@pytest.mark.parametrize(
    ("given", "way_out"),
    [
        ({}, "give registries"),
        ({"entities": [notes]}, r"Scope\(name, Model.metadata\)"),
        ({"entities": [notes, papers], "databases": {"desk": "x"}}, "office.notes belongs to no Scope"),
        ({"entities": [notes], "databases": {"desk": "x"}}, "Give authenticate="),
        (
            {"entities": [*safe, Rules("safe/nothing")], "databases": {"disk": "x"}},
            "no scope lives in 'disk'; there are desk",
        ),
        ({"registries": ["nowhere_at_all"]}, "nowhere_at_all"),
    ],
)
def test_what_does_not_fit_is_said_when_it_is_made(given: dict[str, Any], way_out: str, tmp_path: Path) -> None:
    with pytest.raises(StartupFault, match=way_out):
        Engine(**given, settings=options(tmp_path))
