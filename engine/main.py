"""The door: loads registries, binds them to their databases, and builds the application."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from starlette.applications import Starlette

import tenancy
from engine.app import build_app, plain
from engine.assembly import compiled
from engine.auth.keys import secret_file
from engine.auth.vault import KeyRing, PasswordVault
from engine.batch import Batch
from engine.budgets import BUDGETS
from engine.catalog import Catalog
from engine.clock import random_token
from engine.dispatch import Dispatcher
from engine.docs import docs_routes
from engine.entrance import Entrance, WayIn, check_entrance, entrance
from engine.errors import StartupFault
from engine.load import Registry, load_registries, refuse_strangers
from engine.meta import Meta
from engine.moment import UnitOfWork, Workshop
from engine.observe import LOG, Observer, configure_logging
from engine.operations import Operations
from engine.packages import BUNDLED, home_of_migrations, packages_of
from engine.places import Place, ensure_role
from engine.reflection import Reflected, reflected_of, wishes_of
from engine.relay import Relay
from engine.reloading import Reloading
from engine.settings import Settings
from engine.store import has_trigrams
from engine.tracking import Tracking
from engine.types import ENGINE, Principal, Scope
from engine.views import Policy
from engine.wire import WireLimits
from tenancy.embedded import EmbeddedServer, start_embedded
from tenancy.pool import Pool, PoolOptions
from tenancy.trigrams import offer_trigrams

if TYPE_CHECKING:
    # Alembic is imported where it is used: a worker only serves, and starts 0.2 s sooner without it
    from tenancy.migrate import MigrationOptions

Say = Callable[[str], None]
# settings that a running server keeps
FIXED = ("data", "pg_bin", "host", "port", "workers", "environment")


def silent(_message: str) -> None:
    """Where nobody listens."""


def load(packages: list[str], reflected: Reflected | None = None) -> tuple[Registry, Catalog]:
    """Registries, a database that is served as it is, and the compiled catalogue. StartupFault lists every fault at once."""
    # thousands of long-lived objects come now: collecting while they are made costs seconds and finds nothing
    gc.disable()
    try:
        # a database that is served as it is needs no package beside it
        registry = load_registries(packages) if packages or reflected is None else Registry()
        return registry, compiled(registry, reflected)
    finally:
        gc.enable()
        gc.freeze()


class System:
    """Everything of one process: settings, catalogue, databases, application."""

    def __init__(
        self,
        settings: Settings,
        say: Say = silent,
        *,
        walled: bool = True,
        loaded: tuple[Registry, Catalog] | None = None,
    ) -> None:
        """`walled` False is the isolation tests' switch for the first wall. `loaded`: what is served, where it is not the
        registries that the settings name."""
        self.settings, self.say, self.walled = settings, say, walled
        self.reflected = None if loaded else reflected_of(settings)
        self.registry, self.catalog = loaded or load(packages_of(settings), self.reflected)
        self.server: EmbeddedServer | None = None
        self.places: dict[str, Place] = {}
        self.relay: Relay | None = None
        self.entrance: Entrance | None = None
        self.policy: Policy | None = None

    @property
    def databases(self) -> list[str]:
        """Names of the databases that the scopes live in."""
        return list(dict.fromkeys(scope.stored_in for scope in self.catalog.scopes.values()))

    @property
    def own_scopes(self) -> list[Scope]:
        """The scopes whose databases are the engine's to shape."""
        return [scope for scope in self.catalog.scopes.values() if not scope.foreign]

    def again(self) -> System:
        """The same over connections of its own, which belong to another event loop."""
        twin = System(self.settings, self.say, walled=self.walled, loaded=(self.registry, self.catalog))
        twin.reflected, twin.server, twin.places = self.reflected, self.server, self.places
        return twin

    def locate(self) -> None:
        """Find each database: an explicit URL, else the embedded server (started here when it does not run)."""
        urls = {
            "manager": self.settings.manager_url,
            "tenants": self.settings.tenants_url,
            **self.settings.database_urls,
        }
        foreign = self.reflected.scope.stored_in if self.reflected else None
        if unknown := sorted(set(self.settings.database_urls) - set(self.databases)):
            raise StartupFault(
                f"database_urls: no scope lives in {unknown[0]!r}; there are {', '.join(self.databases)}"
            )
        for name in self.databases:
            url = self.settings.database if name == foreign else urls.get(name)
            if url is not None:
                role = None if name == foreign else self.settings.runtime_role
                self.places[name] = Place(url.get_secret_value(), url.get_secret_value(), role)
                continue
            if self.server is None:
                folder = self.settings.data / "postgres"
                self.server = start_embedded(folder, binaries=self.settings.pg_bin, say=self.say)
            self.places[name] = Place(self.server.url(name, "cxg_owner"), self.server.url(name, "cxg_runtime"), None)

    def migration(self, scope: Scope) -> MigrationOptions:
        """How a scope's database is migrated."""
        from tenancy.migrate import MigrationOptions

        root = self.registry.origin.get(id(scope))
        own = root is not None and root.__name__ != BUNDLED
        home = home_of_migrations(root) if root is not None and own else Path(tenancy.__file__).parent / "migrations"
        return MigrationOptions(
            scope=scope.name,
            tenant_bound=scope.tenant_bound,
            runtime_role=self.settings.runtime_role,
            folder=home / scope.name / "versions",
            triggers=not scope.tenant_bound,
            say=self.say,
        )

    async def prepare_roles(self) -> None:
        """Databases and the role that requests run as."""
        for name, place in ((scope.stored_in, self.places[scope.stored_in]) for scope in self.own_scopes):
            if self.server is not None and place.role is None:
                await self.server.ensure_database(name)
            else:
                await ensure_role(place.owner, self.settings.runtime_role)

    async def prepare_databases(self) -> None:
        """Databases, roles, tables: automatic in development, by reviewed revisions in production."""
        await self.prepare_roles()
        for scope in self.own_scopes:
            await self._migrate(scope)
        if self.reflected is not None:
            await self.reflected.make_schema()

    async def _migrate(self, scope: Scope) -> None:
        from tenancy.migrate import pending, synchronise

        owner, options = self.places[scope.stored_in].owner, self.migration(scope)
        if self.settings.environment == "production":
            if waiting := await pending(owner, options):
                raise StartupFault(
                    f"{scope.name}: migrations are pending ({', '.join(waiting)}); run `cxg migrate` first"
                )
        elif await synchronise(owner, scope.metadata, options):
            self.say(f"{scope.name}: tables are up to date with the models")
        if self.settings.environment != "production":
            await offer_trigrams(owner)

    async def upgrade(self, *, stamped: bool = False) -> dict[str, list[str]]:
        """Run the pending revisions of every scope, or take them for done (`stamped`), where development made the tables."""
        from tenancy.migrate import stamp, upgrade

        own = [(scope, self.places[scope.stored_in].owner) for scope in self.own_scopes]
        if stamped:
            return {s.name: await stamp(url, s.metadata, self.migration(s)) for s, url in own}
        for _, url in own:
            await offer_trigrams(url)
        return {s.name: await upgrade(url, self.migration(s)) for s, url in own}

    async def make_migrations(self, name: str) -> list[Path]:
        """Write the next revision of each scope whose models changed, compared with a scratch database that only
        migrations made. Returns the files."""
        from tenancy.migrate import NothingToWrite, make_migration

        if self.server is None:
            raise StartupFault(
                "cxg migrate make compares with a scratch database on the embedded server; unset the database URLs"
            )
        made = []
        refuse_strangers(self.registry, self.catalog)
        for scope in self.own_scopes:
            scratch = f"{scope.stored_in}_migrations"
            await self.server.ensure_database(scratch)
            url = self.server.url(scratch, "cxg_owner")
            with suppress(NothingToWrite):
                made.append(await make_migration(url, scope.metadata, self.migration(scope), name))
        return made

    def _pool(self, scope: Scope) -> Pool:
        place, settings = self.places[scope.stored_in], self.settings
        return Pool(
            PoolOptions(
                place.runtime,
                role=place.role,
                size=settings.pool_size,
                acquire_timeout=settings.acquire_timeout,
                command_timeout=settings.command_timeout,
                connect_timeout=settings.connect_timeout,
                pooler=settings.pooler,
                tenant_bound=scope.tenant_bound,
                settings=wishes_of(self.reflected.wish) if scope.foreign and self.reflected else {},
            )
        )

    @cached_property
    def pools(self) -> dict[str, Pool]:
        """Connections of each scope."""
        return self.new_pools()

    def new_pools(self) -> dict[str, Pool]:
        """Connections of each scope, once more: a pool belongs to one event loop."""
        return {scope.name: self._pool(scope) for scope in self.catalog.scopes.values()}

    @cached_property
    def vault(self) -> PasswordVault:
        """Passwords and secrets of this installation."""
        key = self.settings.secret_key
        secret = (
            key.get_secret_value().encode()
            if key
            else secret_file(self.settings.data / "secret.key", lambda: random_token(48).encode())
        )
        before = [former.get_secret_value().encode() for former in self.settings.secret_keys_before]
        return PasswordVault(self.settings.bcrypt_rounds, KeyRing(secret, before))

    @cached_property
    def operations(self) -> Operations:
        """The operations over this catalogue and these databases."""
        operations = self.operations_on(self.pools)
        self.relay = Relay(operations, self.registry.events)
        operations.shop.wake = self.relay.wake
        return operations

    def operations_on(self, pools: dict[str, Pool]) -> Operations:
        """The operations over connections of the caller's own."""
        own = {"auth.session_days": self.settings.session_days, "hook_timeout": self.settings.hook_timeout}
        own["setting_seconds"] = self.settings.principal_seconds
        own |= {name: getattr(self.settings, name) for name in ("max_import_bytes", "async_rows")}
        own |= {name: getattr(self.settings, name) for name in BUDGETS}
        shop = Workshop(self.catalog, pools, self.vault, {**self.registry.settings, **own}, walled=self.walled)
        shop.handlers = {handler.name: handler for jobs in self.registry.jobs for handler in jobs.handlers}
        if self.relay is not None:
            shop.wake = self.relay.wake
        return Operations(shop)

    def unit(self, scope: str, principal: Principal = ENGINE) -> UnitOfWork:
        """A unit of work, as the engine itself unless told otherwise."""
        return UnitOfWork(self.operations, scope, principal)

    def app(self) -> Starlette:
        """The application."""
        configure_logging(self.settings.log_format)
        dispatcher, beside = self.guarded()
        return self.app_of(dispatcher, beside)

    def guarded(self) -> tuple[Dispatcher, list[WayIn]]:
        """A dispatcher behind the entrance that settings and registries make, and the routes that belong to that."""
        self.entrance = entrance(self.settings, self.operations)
        limits = (self.settings.max_body_bytes, self.settings.max_bulk_bytes)
        dispatcher = Dispatcher(self.operations, self.entrance.gate, Observer(), limits)
        if self.entrance.outside is not None and self.settings.policy is not None:
            self.policy = Policy(self.settings.policy, dispatcher.service)
            self.entrance.outside.govern = self.policy.govern
        return dispatcher, self.entrance.routes

    def app_of(self, dispatcher: Dispatcher, beside: list[WayIn]) -> Starlette:
        """The application over a dispatcher; `beside`: routes of signing in."""
        routes = [plain(dispatcher, path, endpoint, method) for path, endpoint, method in beside]
        meta, tracking = Meta(dispatcher), Tracking(dispatcher)
        routes += [] if beside else [plain(dispatcher, "/auth/me", meta.me)]
        routes += [
            plain(dispatcher, "/{scope}/_meta", meta.answer),
            plain(dispatcher, "/{scope}/{domain}/{entity:path}/_meta", meta.answer),
            plain(dispatcher, "/{scope}/batch", Batch(dispatcher).answer, "POST"),
            plain(dispatcher, "/{scope}/_transfers/{id}", tracking.answer, "GET", "DELETE"),
            plain(dispatcher, "/{scope}/_transfers/{id}/file", tracking.file),
        ]
        pages = docs_routes(self.catalog, signs_in=bool(beside))
        stop = [dispatcher.service.carrier.stop, self.close]
        app = build_app(dispatcher, [*routes, *pages], start=[self.start], stop=stop)
        app.state.wire = WireLimits.of(self.settings)
        return app

    async def start(self) -> None:
        """Ask each database whether it knows trigrams, and begin what goes on beside the requests."""
        assert self.relay is not None, "app() made it"
        known = {name: await has_trigrams(pool, 1.0) for name, pool in self.pools.items()}
        self.operations.shop.reads.similar = frozenset(name for name, there in known.items() if there)
        await self.relay.start()

    def reread_policy(self) -> bool:
        """Take what the policy file says now, at once and for everybody; one that does not fit changes nothing."""
        assert self.policy is not None and self.entrance is not None, "app() made them"
        try:
            self.policy.reread()
        except StartupFault as fault:
            LOG.error("the policy stays as it was", fault=str(fault))
            return False
        self.entrance.forget()
        LOG.info("the policy was read anew", file=str(self.policy.path))
        return True

    async def retire(self) -> None:
        """Leave what goes on beside the requests to whoever comes after."""
        if self.relay is not None:
            await self.relay.stop()

    @property
    def heard_at(self) -> list[str]:
        """URLs of the databases whose NOTIFY asks for a reload."""
        return list({place.owner for place in self.places.values()}) if self.settings.reload_on_notify else []

    @property
    def roots(self) -> list[ModuleType]:
        """The packages that are served."""
        return list({id(root): root for root in self.registry.origin.values()}.values())

    async def close(self) -> None:
        """Close pools and threads; the embedded server goes on until its owner stops it."""
        await self.retire()
        for pool in self.pools.values():
            await pool.close()
        self.vault.close()


def create_app() -> Reloading:
    """Application factory of a worker: settings from the environment, databases that are already prepared."""
    system = System(Settings())
    system.locate()
    return Reloading(system, fresh_system)


async def fresh_system(former: System) -> System:
    """A system of what the settings and registries say now, its databases prepared; made beside the former one."""
    settings = Settings()
    if moved := [name for name in FIXED if getattr(settings, name) != getattr(former.settings, name)]:
        raise StartupFault(f"{moved[0]} changes only when the server is started again")
    system = await asyncio.to_thread(System, settings, former.say)
    check_entrance(settings, system.catalog)
    await asyncio.to_thread(system.locate)
    try:
        await system.prepare_databases()
        if system.catalog.identity is not None:
            async with system.unit(system.catalog.identity.scope) as unit:
                await system.catalog.identity.seed(unit)
    except BaseException:
        await system.close()
        raise
    return system
