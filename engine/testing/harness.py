"""A real server for tests: throw-away PostgreSQL, prepared databases, uvicorn on a free port, clients that are signed in."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import uvicorn
from pydantic import SecretStr

from engine.auth.access_key import access_key
from engine.auth.authenticator import Gate
from engine.catalog import Catalog, Resource
from engine.clock import CLOCK
from engine.install import create_tenant, install
from engine.main import System
from engine.operations import Operations
from engine.runner import Runner
from engine.settings import Settings
from engine.types import Principal, TenantRef
from engine.wire import GuardedProtocol
from tenancy.embedded import start_embedded

PASSWORD = "Test-Password-1"
ADMIN = "admin@example.com"


class Beside:
    """The system's operations on an event loop of their own, for what a test does beside the server."""

    def __init__(self, system: System) -> None:
        self.runner = asyncio.Runner()
        self.pools = system.new_pools()
        self.operations = system.operations_on(self.pools)

    def run(self, work: Callable[[Operations], Awaitable[Any]]) -> Any:
        """What the work returns."""

        async def do() -> Any:
            return await work(self.operations)

        return self.runner.run(do())

    def close(self) -> None:
        """Close its connections."""

        async def close() -> None:
            for pool in self.pools.values():
                await pool.close()

        self.runner.run(close())
        self.runner.close()


@dataclass
class Live:
    """A running server. `client(scope)` is signed in as the administrator or as the owner of the first tenant."""

    system: System
    url: str
    clients: dict[str, httpx.Client] = field(default_factory=dict)
    tenants: dict[httpx.Client, UUID] = field(default_factory=dict)
    lent: dict[bytes, Principal] = field(default_factory=dict)

    @property
    def catalog(self) -> Catalog:
        """What the server serves."""
        return self.system.catalog

    def resource(self, path: str) -> Resource:
        """The resource `scope/domain/entity`."""
        return self.catalog.resources[path]

    def token(self, username: str, password: str = PASSWORD, tenant: str | None = None) -> str:
        """An access token by the password grant."""
        form = {
            "grant_type": "password",
            "username": username,
            "password": password,
            **({"tenant": tenant} if tenant else {}),
        }
        answer = httpx.post(f"{self.url}/auth/token", data=form)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def signed_in(self, username: str, password: str = PASSWORD, tenant: str | None = None) -> httpx.Client:
        """A client of its own with a token."""
        header = {"Authorization": f"Bearer {self.token(username, password, tenant)}"}
        return httpx.Client(base_url=self.url, headers=header, timeout=30)

    def client(self, scope: str) -> httpx.Client:
        """The usual caller of a scope: manager = administrator, a tenant-bound scope = owner of tenant `first`; where nobody
        signs in, the holder of the access key."""
        if scope not in self.clients and self.catalog.identity is None:
            header = {"Authorization": f"Bearer {access_key(self.system.settings.data)}"}
            self.clients[scope] = httpx.Client(base_url=self.url, headers=header, timeout=30)
        if scope not in self.clients:
            bound = self.catalog.scopes[scope].tenant_bound
            self.clients[scope] = (
                self.signed_in("owner@first.example", tenant="first") if bound else self.signed_in(ADMIN)
            )
        return self.clients[scope]

    def sign_in_again(self) -> None:
        """Renew the usual callers' tokens where their sessions have ended: a job that a test runs at a later time ends them."""
        who = {"manager": (ADMIN, None), "tenants": ("owner@first.example", "first")}
        who["second"] = ("owner@second.example", "second")
        for name, (username, tenant) in who.items():
            client = self.clients.get(name)
            if client is not None and client.get("/auth/me").status_code == 401:
                client.headers["Authorization"] = f"Bearer {self.token(username, tenant=tenant)}"

    def other_tenant(self) -> httpx.Client:
        """The owner of tenant `second`."""
        if "second" not in self.clients:
            self.clients["second"] = self.signed_in("owner@second.example", tenant="second")
        return self.clients["second"]

    def tenant(self, client: httpx.Client) -> UUID:
        """The tenant that a client is signed in to."""
        if client not in self.tenants:
            self.tenants[client] = UUID(client.get("/auth/me").json()["data"]["tenant"]["id"])
        return self.tenants[client]

    def lend(self, principal: Principal) -> httpx.Client:
        """A client whom the server takes for `principal`, whatever the registry knows of users."""
        token = f"Bearer lent-{len(self.lent)}"
        self.lent[token.encode()] = principal
        client = httpx.Client(base_url=self.url, headers={"Authorization": token}, timeout=30)
        self.clients[token] = client
        return client

    def powerless(self, scope: str) -> httpx.Client:
        """A caller of the scope who holds no permission."""
        bound = self.catalog.scopes[scope].tenant_bound
        place = TenantRef(self.tenant(self.client(scope)), "first") if bound else None
        return self.lend(Principal(CLOCK.new_id(), tenant=place))

    @cached_property
    def beside(self) -> Beside:
        """The engine in this thread."""
        return Beside(self.system)

    def run_job(self, name: str, now: datetime | None = None, tenant: str | None = None) -> dict[str, Any]:
        """The output of a job run at `now` (unset = what the clock says), of a tenant-bound scope for each tenant in use or
        for the one called `tenant`. What the handler raises comes out."""

        async def work(operations: Operations) -> dict[str, Any]:
            handler = operations.shop.handlers[name]
            return await Runner(operations).run(handler, now or CLOCK.now(), tenant=tenant)

        output: dict[str, Any] = self.beside.run(work)
        return output

    def run_sql(self, database: str, statement: str, *arguments: Any, tenant: UUID | None = None) -> list[Any]:
        """Rows of a statement run beside the engine: as the owner, who sees no row of any tenant, or with `tenant` as the
        runtime role bound to it."""
        import asyncpg

        async def ask() -> list[Any]:
            place = self.system.places[database]
            connection = await asyncpg.connect(place.runtime if tenant else place.owner, ssl=False)
            try:
                if tenant:
                    await connection.fetch("select set_config('app.tenant_id', $1, false)", str(tenant))
                return list(await connection.fetch(statement, *arguments))
            finally:
                await connection.close()

        return asyncio.run(ask())


def settings_for_tests(data: Path, **options: Any) -> Settings:
    """Settings of a test server: cheap password hashes, callers read anew each second."""
    usual: dict[str, Any] = {
        "bcrypt_rounds": 4,
        "admin_email": ADMIN,
        "admin_password": SecretStr(PASSWORD),
        "principal_seconds": 0.0,
        # a machine that is busy with other tests may be slow in a rule
        "hook_timeout": 20.0,
        # a test run may take longer than a token usually lives
        "token_minutes": 600,
        # never a database that somebody works with
        "manager_url": None,
        "tenants_url": None,
        "database_urls": {},
        "environment": "development",
        "access_key": None,
    }
    return Settings(data=data, **{**usual, **options})


def prepare(settings: Settings) -> System:
    """A system with tables, administrator and the tenants `first` and `second`, where it knows of any."""
    system = System(settings)
    system.server = start_embedded(settings.data / "postgres", durable=False)
    system.locate()

    async def fill() -> None:
        await system.prepare_databases()
        await install(system)
        for slug in ("first", "second") if system.catalog.identity is not None else ():
            owner = {"owner_email": f"owner@{slug}.example", "owner_password": PASSWORD}
            await create_tenant(system, {"slug": slug, "name": slug.title(), **owner})
        await system.close()

    asyncio.run(fill())
    return system


@contextlib.contextmanager
def serving(settings: Settings, registries: Sequence[str] | None = None) -> Iterator[Live]:
    """A prepared server for the length of a block."""
    chosen = settings.model_copy(update={"registries": list(registries)}) if registries else settings
    prepared = prepare(chosen)
    assert prepared.server is not None
    try:
        system = System(chosen)
        system.server = prepared.server
        system.locate()
        with served(system) as live:
            yield live
    finally:
        prepared.server.stop()


@contextlib.contextmanager
def served(system: System) -> Iterator[Live]:
    """One more server over databases that are prepared and located."""
    lent: dict[bytes, Principal] = {}
    with listening(system, lent) as url:
        live = Live(system, url, lent=lent)
        try:
            yield live
        finally:
            for client in live.clients.values():
                client.close()
            if "beside" in vars(live):
                live.beside.close()


class Doorman:
    """An authenticator that also lets in callers made up for a test (`Live.lend`)."""

    def __init__(self, authenticator: Gate, lent: dict[bytes, Principal]) -> None:
        self.authenticator, self.lent = authenticator, lent

    async def principal(self, authorization: bytes | None, ip: str | None) -> Principal:
        """The lent caller, else the one whom the authenticator knows."""
        known = self.lent.get(authorization or b"")
        return known or await self.authenticator.principal(authorization, ip)


@contextlib.contextmanager
def listening(system: System, lent: dict[bytes, Principal] | None = None) -> Iterator[str]:
    """uvicorn in a thread of this process, on a free port; gives its address."""
    # the protocol is named so that asyncio sets TCP_NODELAY on what it accepts: 40 ms a request without
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    app = system.app()
    app.state.dispatcher.authenticator = Doorman(app.state.dispatcher.authenticator, {} if lent is None else lent)
    config = uvicorn.Config(
        app,
        http=GuardedProtocol,
        ws="none",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            raise RuntimeError("the test server did not start")
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)
