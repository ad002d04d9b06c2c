"""The door: loads registries, binds them to their databases, and builds the application."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from starlette.applications import Starlette

import tenancy
from engine import registration
from engine.app import build_app, plain
from engine.auth.authenticator import Authenticator
from engine.auth.fetch import address_of
from engine.auth.jwks import KeySet
from engine.auth.keys import SigningKeys, secret_file
from engine.auth.outside import Mapped, Outside
from engine.auth.tokens import ISSUER, Tokens
from engine.auth.vault import KeyRing, PasswordVault
from engine.batch import Batch
from engine.catalog import Catalog, compile_catalog
from engine.chain import add_heads, home_of, logs_of
from engine.checks import check_declarations, check_scope
from engine.clock import random_token
from engine.dispatch import Dispatcher
from engine.docs import docs_routes
from engine.errors import StartupFault
from engine.load import Registry, load_registries
from engine.meta import Meta
from engine.moment import UnitOfWork, Workshop
from engine.observe import LOG, Observer, configure_logging
from engine.operations import Operations
from engine.reflection import Reflected, Wish, reflect, wishes_of
from engine.relay import Relay
from engine.repetition import add_answers
from engine.row_rules import with_row_rules
from engine.settings import Settings
from engine.signin import OutsideEndpoints, PrincipalLoader, SignInEndpoints, callers_of, routes_of
from engine.store import has_trigrams
from engine.tracking import Tracking
from engine.transfers.table import add_transfers
from engine.types import ENGINE, Principal, Scope
from engine.views import Policy
from engine.wire import WireLimits
from tenancy.embedded import EmbeddedServer, start_embedded
from tenancy.pool import Pool, PoolOptions
from tenancy.shape import bind_to_tenant, index_foreign_keys
from tenancy.trigrams import offer_trigrams

if TYPE_CHECKING:
    # Alembic is imported where it is used: a worker only serves, and starts 0.2 s sooner without it
    from tenancy.migrate import MigrationOptions

Say = Callable[[str], None]
# settings that say what a query may cost
BUDGETS = (
    *("max_expand_depth", "max_filters", "max_in_values"),
    *("role_timeouts", "max_query_cost", "tenant_query_costs", "facet_timeout"),
)


def silent(_message: str) -> None:
    """Where nobody listens."""


def load(packages: list[str], reflected: Reflected | None = None) -> tuple[Registry, Catalog]:
    """Registries, a database that is served as it is, and the compiled catalogue. StartupFault lists every fault at once."""
    # thousands of long-lived objects come now: collecting while they are made costs seconds and finds nothing
    gc.disable()
    try:
        return _load(packages, reflected)
    finally:
        gc.enable()
        gc.freeze()


def _load(packages: list[str], reflected: Reflected | None) -> tuple[Registry, Catalog]:
    registry = load_registries(packages)
    check_declarations(registry.scopes, registry.entities, registry.rules, registry.jobs)
    registration.complete(registry.entities)
    own = list(registry.scopes)
    if reflected is not None:
        check_scope(reflected.scope, registry.scopes)
        registry.scopes.append(reflected.scope)
        registry.entities += reflected.entities
    for scope in own:
        add_answers(scope)
        add_transfers(scope)
        if scope.tenant_bound:
            bind_to_tenant(scope.metadata)
        index_foreign_keys(scope.metadata)
    catalog = with_row_rules(compile_catalog(registry.scopes, registry.entities, registry.rules, registry.identity))
    home = home_of(catalog)
    if home is not None and logs_of(catalog):
        add_heads(catalog.scopes[home].metadata)
    return registry, catalog


@dataclass
class Place:
    """Where a database is: the URL its owner uses, and the one that requests use (with a role to take on)."""

    owner: str
    runtime: str
    role: str | None


class System:
    """Everything of one process: settings, catalogue, databases, application."""

    def __init__(self, settings: Settings, say: Say = silent, *, walled: bool = True) -> None:
        """`walled` False is the isolation tests' switch for the first wall."""
        self.settings, self.say, self.walled = settings, say, walled
        self.reflected = reflected_of(settings)
        self.registry, self.catalog = load(settings.registries, self.reflected)
        self.server: EmbeddedServer | None = None
        self.places: dict[str, Place] = {}
        self.relay: Relay | None = None
        self.authenticator: Authenticator | None = None
        self.policy: Policy | None = None

    @property
    def databases(self) -> list[str]:
        """Names of the databases that the scopes live in."""
        return list(dict.fromkeys(scope.stored_in for scope in self.catalog.scopes.values()))

    @property
    def own_scopes(self) -> list[Scope]:
        """The scopes whose databases are the engine's to shape."""
        return [scope for scope in self.catalog.scopes.values() if not scope.foreign]

    def locate(self) -> None:
        """Find each database: an explicit URL, else the embedded server (started here when it does not run)."""
        urls = {"manager": self.settings.manager_url, "tenants": self.settings.tenants_url}
        foreign = self.reflected.scope.stored_in if self.reflected else None
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

        folder = Path(tenancy.__file__).parent / "migrations" / scope.name / "versions"
        return MigrationOptions(
            scope=scope.name,
            tenant_bound=scope.tenant_bound,
            runtime_role=self.settings.runtime_role,
            folder=folder,
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

    async def upgrade(self) -> dict[str, list[str]]:
        """Run the pending revisions of every scope."""
        from tenancy.migrate import upgrade

        for scope in self.own_scopes:
            await offer_trigrams(self.places[scope.stored_in].owner)
        return {s.name: await upgrade(self.places[s.stored_in].owner, self.migration(s)) for s in self.own_scopes}

    async def make_migrations(self, name: str) -> list[Path]:
        """Write the next revision of each scope whose models changed, compared with a scratch database that only
        migrations made. Returns the files."""
        from tenancy.migrate import NothingToWrite, make_migration

        if self.server is None:
            raise StartupFault(
                "cxg migrate make compares with a scratch database on the embedded server; unset the database URLs"
            )
        made = []
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
        identity, outside = self.catalog.identity, outside_of(self.settings)
        if identity is None and outside is None:
            raise StartupFault(
                "no registry says who may enter; one module needs `identity_provider = ...` (engine.hooks.Identity), "
                "or the settings name an issuer"
            )
        tokens = Tokens(SigningKeys(self.settings.data / "keys"), self.settings.token_minutes)
        loader = PrincipalLoader(self.operations, identity) if identity else None
        self.authenticator = callers_of(tokens, loader, self.settings.principal_seconds, outside)
        limits = (self.settings.max_body_bytes, self.settings.max_bulk_bytes)
        dispatcher = Dispatcher(self.operations, self.authenticator, Observer(), limits)
        if outside is not None and self.settings.policy is not None:
            self.policy = Policy(self.settings.policy, dispatcher.service)
            outside.govern = self.policy.govern
        endpoints = (
            SignInEndpoints(loader, self.authenticator, tokens) if loader else OutsideEndpoints(self.authenticator)
        )
        routes = [plain(dispatcher, path, endpoint, method) for path, endpoint, method in routes_of(endpoints)]
        meta = Meta(dispatcher)
        routes += [
            plain(dispatcher, path, meta.answer) for path in ("/{scope}/_meta", "/{scope}/{domain}/{entity:path}/_meta")
        ]
        routes.append(plain(dispatcher, "/{scope}/batch", Batch(dispatcher).answer, "POST"))
        tracking = Tracking(dispatcher)
        routes.append(plain(dispatcher, "/{scope}/_transfers/{id}", tracking.answer, "GET", "DELETE"))
        routes.append(plain(dispatcher, "/{scope}/_transfers/{id}/file", tracking.file))
        stop = [dispatcher.service.carrier.stop, self.close]
        app = build_app(dispatcher, [*routes, *docs_routes(self.catalog)], start=[self.start], stop=stop)
        app.state.wire = WireLimits.of(self.settings)
        return app

    async def start(self) -> None:
        """Ask each database whether it knows trigrams, and begin what goes on beside the requests."""
        assert self.relay is not None, "app() made it"
        known = {name: await has_trigrams(pool, 1.0) for name, pool in self.pools.items()}
        self.operations.shop.reads.similar = frozenset(name for name, there in known.items() if there)
        await self.relay.start()
        if self.policy is not None:
            # only the main thread gets signals, and not every system has this one
            with suppress(NotImplementedError, RuntimeError, ValueError):
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.reread_policy)

    def reread_policy(self) -> bool:
        """Take what the policy file says now, at once and for everybody; one that does not fit changes nothing."""
        assert self.policy is not None and self.authenticator is not None, "app() made them"
        try:
            self.policy.reread()
        except StartupFault as fault:
            LOG.error("the policy stays as it was", fault=str(fault))
            return False
        self.authenticator.forget()
        LOG.info("the policy was read anew", file=str(self.policy.path))
        return True

    async def close(self) -> None:
        """Close pools and threads; the embedded server goes on until its owner stops it."""
        if self.relay is not None:
            await self.relay.stop()
        for pool in self.pools.values():
            await pool.close()
        self.vault.close()


def outside_of(settings: Settings) -> Outside | None:
    """The outside issuer of the settings. StartupFault when they say half of it, or what cannot be trusted."""
    said = {name: getattr(settings, name) for name in ("issuer", "jwks_url", "audience", "policy")}
    if not any(said.values()):
        return None
    if missing := [name for name, value in said.items() if not value]:
        raise StartupFault(f"issuer, jwks_url, audience and policy go together; {', '.join(missing)} is not set")
    if settings.issuer == ISSUER:
        raise StartupFault(f"{ISSUER!r} is who issues tokens here; an outside issuer has a name of its own")
    try:
        address_of(str(settings.jwks_url))
        keys = KeySet(str(settings.jwks_url), settings.jwks_seconds, settings.jwks_pause)
        outside = Outside(str(settings.issuer), str(settings.audience), keys, tuple(settings.issuer_algorithms))
    except ValueError as wrong:
        raise StartupFault(f"the outside issuer cannot be trusted: {wrong}") from wrong
    outside.mapped = Mapped(settings.roles_claim, settings.tenant_claim or "", settings.email_claim)
    return outside


def reflected_of(settings: Settings) -> Reflected | None:
    """The database that the settings name, as its catalogue describes it now."""
    url = settings.database
    if url is None:
        return None
    told = (settings.scope, settings.write, tuple(settings.schemas), settings.audit_schema or "", settings.columns)
    return reflect(Wish(url.get_secret_value(), *told))


async def ensure_role(owner_url: str, role: str) -> None:
    """Make the role that requests run as, and let the owner take it on."""
    connection = await asyncpg.connect(owner_url, timeout=10)
    try:
        if not await connection.fetchval("select 1 from pg_roles where rolname = $1", role):
            quoted = role.replace('"', '""')
            await connection.execute(f'create role "{quoted}" nologin nosuperuser nobypassrls')
            await connection.execute(f'grant "{quoted}" to current_user')
    finally:
        await connection.close()


def create_app() -> Starlette:
    """Application factory of a worker: settings from the environment, databases that are already prepared."""
    system = System(Settings())
    system.locate()
    return system.app()
