"""The engine inside a program of your own: its routes beside yours, its rows in your database, its lifetime in yours.

engine = Engine(["shop"], databases={"shop": pool}, authenticate=who)
app = FastAPI(lifespan=engine.lifespan)
app.mount("/api", engine.app)
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp

from engine.assembly import compiled
from engine.dispatch import Dispatcher, reply
from engine.encode import failure
from engine.entity import Entity
from engine.entrance import WayIn
from engine.errors import StartupFault, generic
from engine.load import Registry, load_registries
from engine.main import System
from engine.observe import Observer
from engine.places import Place
from engine.reflection import Reflected, reflected_of
from engine.request import Receive, Request, Send
from engine.request import Scope as AsgiScope
from engine.session import Session
from engine.settings import Settings
from engine.types import ENGINE, Principal, Scope
from tenancy.borrowed import BorrowedPool, BorrowOptions, Source, once

# given the request (headers, cookies, state): who sends it, or None for a stranger
Authenticate = Callable[[HTTPConnection], Principal | Awaitable[Principal | None] | None]
NOT_STARTED = "The engine has not been started: `async with engine:` goes around the life of the application"


class Stranger:
    """The gate of an application whose host knows the callers."""

    async def principal(self, authorization: bytes | None, ip: str | None) -> Principal:
        """401: who asks here has not come in by a request."""
        raise generic("not_authenticated", "The caller is not known")


class HostedDispatcher(Dispatcher):
    """A dispatcher whose callers its host knows."""

    authenticate: Authenticate

    async def caller(self, request: Request) -> Principal:
        """Whom the host says. 401 for a stranger."""
        found = self.authenticate(HTTPConnection(request.scope))
        principal = await found if inspect.isawaitable(found) else found
        if principal is None:
            raise generic("not_authenticated", "The caller is not known")
        return principal


class HostedSystem(System):
    """A system over databases of its host's: pools that are lent, URLs that are given, and the rest as settings say."""

    def __init__(
        self,
        settings: Settings,
        loaded: tuple[Registry, Any],
        given: Mapping[str, str | Source],
        reflected: Reflected | None = None,
    ) -> None:
        super().__init__(settings, loaded=loaded)
        self.reflected = reflected
        self.lent = {name: once(source) for name, source in given.items() if not isinstance(source, str)}
        role = settings.runtime_role
        self.places |= {name: Place(url, url, role) for name, url in given.items() if isinstance(url, str)}

    @property
    def databases(self) -> list[str]:
        """The databases that are to be found: those that nobody lends or names."""
        return [name for name in super().databases if name not in self.lent and name not in self.places]

    def _pool(self, scope: Scope) -> Any:
        if scope.stored_in not in self.lent:
            return super()._pool(scope)
        known = self.settings
        options = BorrowOptions(known.runtime_role, known.acquire_timeout, known.command_timeout, scope.tenant_bound)
        return BorrowedPool(self.lent[scope.stored_in], options)


class Mounted:
    """The ASGI application, from the first start on."""

    def __init__(self) -> None:
        self.inner: ASGIApp | None = None

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """503 before the engine is started and after it has stopped. The host's lifespan is not this application's."""
        if scope["type"] == "http" and self.inner is None:
            request = Request(scope, receive)
            await reply(send, request, failure(generic("db_unavailable", NOT_STARTED), request.id))
        elif self.inner is not None:
            await self.inner(scope, receive, send)


class Engine:
    """Everything that is served, for use inside another program.

    `registries`: packages, as `cxg serve --registry` takes them. `entities`: declarations of the program's own, with the rules,
    jobs, events and scopes that belong to them; without a Scope their tables are the scope that `databases` names.
    `databases`: name -> URL (as its owner) or an asyncpg pool, or a function that gives one when the engine starts; what is
    not named is found as settings say. `authenticate`: who sends a request, and what he may. `settings`: a Settings record,
    or single ones by name; what is not said comes from `CXG_*` and `cxg.toml`. `database` among them is one that is served as it
    is, beside the others or alone; its log (`audit_schema`) is made by `synchronise`.

    >>> class DeskModel(Model, abstract=True): ...
    >>> class Note(DeskModel, table="office.notes"):
    ...     text: Mapped[Text]
    >>> notes = Entity(Note)
    >>> engine = Engine(entities=[notes], databases={"desk": url}, authenticate=lambda request: ENGINE)
    >>> engine.entities
    ['desk/office/notes', 'desk/log/changes']
    >>> async def work():
    ...     await engine.synchronise()
    ...     async with engine, engine.moment("desk") as moment:
    ...         return await moment.create("office.notes", {"text": "by hand"})
    >>> run(work())["text"]
    'by hand'
    """

    def __init__(
        self,
        registries: Sequence[str] = (),
        *,
        entities: Sequence[Any] = (),
        databases: Mapping[str, str | Source] | None = None,
        authenticate: Authenticate | None = None,
        settings: Settings | Mapping[str, Any] | None = None,
    ) -> None:
        given = dict(databases or {})
        self.settings = settings if isinstance(settings, Settings) else Settings(**(settings or {}))
        self.reflected = reflected_of(self.settings)
        registry = _declared(registries, entities, list(given), alone=self.reflected is not None)
        self.loaded = (registry, compiled(registry, self.reflected))
        self.given, self.authenticate = given, authenticate
        known = [scope.stored_in for scope in registry.scopes]
        if unknown := sorted(set(given) - set(known)):
            raise StartupFault(
                f"databases: no scope lives in {unknown[0]!r}; there are {', '.join(dict.fromkeys(known))}"
            )
        if self.reflected is not None and self.reflected.scope.stored_in in given:
            raise StartupFault("a database that is served as it is has its address in `settings`, not in `databases`")
        if authenticate is None and registry.identity is None and not self.settings.issuer:
            raise StartupFault(
                "who may enter? Give authenticate=, a function of the request that answers a Principal or None"
            )
        self.system: HostedSystem | None = None
        self.dispatcher: Dispatcher | None = None
        self.app = Mounted()

    @property
    def entities(self) -> list[str]:
        """The paths `scope/domain/entity` of what is served."""
        return list(self.loaded[1].resources)

    def routes(self, prefix: str = "/api") -> list[BaseRoute]:
        """The application below `prefix`, to be put into a list of Starlette's routes."""
        return [Mount(prefix, self.app)]

    async def __aenter__(self) -> Engine:
        """Find the databases, open what goes on beside the requests, and answer from now on."""
        system = HostedSystem(self.settings, self.loaded, self.given, self.reflected)
        await asyncio.to_thread(system.locate)
        try:
            for pool in system.pools.values():
                if isinstance(pool, BorrowedPool):
                    await pool.settle()
            dispatcher, beside = self._dispatcher(system)
            self.app.inner = system.app_of(dispatcher, beside)
            self.system, self.dispatcher = system, dispatcher
            await system.start()
        except BaseException:
            await self._end(system)
            raise
        return self

    async def __aexit__(self, *failure: Any) -> None:
        """Stop answering, and close what was opened; what was lent stays open."""
        assert self.system is not None, "it was started"
        await self._end(self.system)

    async def _end(self, system: HostedSystem) -> None:
        self.app.inner = self.system = self.dispatcher = None
        await system.close()
        if system.server is not None and system.server.started:
            await asyncio.to_thread(system.server.stop)

    @asynccontextmanager
    async def lifespan(self, _app: Any) -> AsyncIterator[None]:
        """For `FastAPI(lifespan=engine.lifespan)`; an application with a lifespan of its own says `async with engine:` in it."""
        async with self:
            yield

    def _dispatcher(self, system: System) -> tuple[Dispatcher, list[WayIn]]:
        """The dispatcher, and the routes of signing in."""
        if self.authenticate is None:
            return system.guarded()
        limits = (self.settings.max_body_bytes, self.settings.max_bulk_bytes)
        dispatcher = HostedDispatcher(system.operations, Stranger(), Observer(), limits)
        dispatcher.authenticate = self.authenticate
        return dispatcher, []

    def moment(self, scope: str, principal: Principal = ENGINE) -> Session:
        """A transaction in which entities are asked and written without HTTP, on the same road: permissions, validation, rules,
        audit. By default as the program itself, who may do everything; a scope of tenants needs a principal with one."""
        if self.dispatcher is None:
            raise StartupFault(NOT_STARTED)
        if scope not in (known := self.loaded[1].scopes):
            raise StartupFault(f"moment: there is no scope {scope!r}; there are {', '.join(known)}")
        return Session(self.dispatcher, scope, principal)

    async def synchronise(self, owners: Mapping[str, str] | None = None) -> None:
        """Development: bring the tables to the models, additions only. `owners`: the URL of each database's owner, where
        `databases` lends a pool: its user need not own anything."""
        given = {**self.given, **(owners or {})}
        if lent := [name for name, source in given.items() if not isinstance(source, str)]:
            raise StartupFault(f"synchronise needs the owner's URL of {lent[0]!r}: synchronise({{{lent[0]!r}: url}})")
        system = HostedSystem(self.settings, self.loaded, given, self.reflected)
        await asyncio.to_thread(system.locate)
        try:
            await system.prepare_databases()
        finally:
            if system.server is not None and system.server.started:
                await asyncio.to_thread(system.server.stop)


def _declared(
    registries: Sequence[str], entities: Sequence[Any], names: Sequence[str], *, alone: bool = False
) -> Registry:
    """What packages and the program itself declare; `alone`: nothing need be, for a database is served as it is."""
    registry = load_registries(registries) if registries else Registry()
    own = ModuleType("declared")
    own.__dict__["declared"] = list(entities)
    registry.add(own)
    homeless = [e for e in entities if isinstance(e, Entity)]
    homeless = [e for e in homeless if all(scope.metadata is not e.table.metadata for scope in registry.scopes)]
    if homeless:
        free = [name for name in names if all(scope.stored_in != name for scope in registry.scopes)]
        if len(free) != 1 or any(e.table.metadata is not homeless[0].table.metadata for e in homeless):
            raise StartupFault(
                f"{homeless[0].key} belongs to no Scope; put Scope(name, Model.metadata) beside it in entities"
            )
        registry.scopes.append(Scope(free[0], homeless[0].table.metadata, database=free[0]))
        registry.origin[id(registry.scopes[-1])] = own
    if not registry.scopes and not alone:
        raise StartupFault("nothing is declared: give registries=[...] or entities=[...]")
    return registry
