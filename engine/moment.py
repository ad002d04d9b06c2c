"""A unit of work: who, when, which tenant, and the connection. Hooks are given one as their only way to the data."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.sql import ColumnElement, Executable

from engine.attempts import attempt, join
from engine.catalog import Catalog, Resource, sensitive
from engine.clock import CLOCK
from engine.errors import ApiError, ForbiddenError, UnavailableError, generic
from engine.hooks import Change, Key, Point, Row, Rows, Rule
from engine.jobs import Handler
from engine.observe import Observer
from engine.past import TIMES, day_of
from engine.secrets import readable, shows_secrets
from engine.setting_lookup import SettingLookup
from engine.shapes import ChangeShape, GetShape, InsertShape, ListShape, Statement
from engine.sql import Reads, Writes
from engine.sql.numbers import next_number
from engine.sql.parts import ONE_MOMENT, UNMASKED, presence
from engine.sql.walls import RuleStatements
from engine.store import Connection, Database, Shared
from engine.stored import rows_of
from engine.types import Principal, TenantRef

if TYPE_CHECKING:
    from engine.operations import Operations

# currencies without a minor unit, where no entity with role `currencies` says otherwise
WHOLE = frozenset({"JPY", "KRW", "VND"})


class Vault(Protocol):
    """Passwords and secrets, as the authentication part provides them."""

    async def hash_password(self, password: str) -> str: ...
    async def check_password(self, password: str, hashed: str | None) -> bool: ...
    def encrypt(self, text: str, place: str = "") -> str: ...
    def decrypt(self, text: str, place: str = "") -> str: ...
    def sign(self, message: bytes) -> bytes: ...


class Workshop:
    """What every unit of work shares: the catalogue, the statement builders, the databases."""

    def __init__(
        self,
        catalog: Catalog,
        databases: Mapping[str, Database],
        vault: Vault,
        defaults: Mapping[str, Any],
        *,
        walled: bool = True,
    ) -> None:
        """`defaults`: settings that rules read. `walled` False is the isolation tests' switch for the first wall."""
        self.catalog, self.databases, self.vault, self.defaults = catalog, databases, vault, defaults
        # told (scope, tenant) after a write; the relay listens where one runs
        self.wake: Callable[[str, TenantRef | None], None] = lambda scope, tenant: None
        # by name; the door puts the registries' handlers here
        self.handlers: Mapping[str, Handler] = {}
        self.settings = SettingLookup(catalog, vault, defaults)
        # column -> whose cipher it holds
        self.sealed = {r.table.c[name]: (r, name) for r in catalog.resources.values() for name in r.entity.encrypted}
        self.revealing = {r.path for r in catalog.resources.values() if shows_secrets(catalog, r)}
        self.asked = RuleStatements()
        self.hook_timeout = float(defaults.get("hook_timeout", 2.0))
        self.reads = Reads(catalog, walled=walled)
        self.writes = Writes(catalog, self.reads, walled=walled)
        self.builders: dict[type, Any] = {
            GetShape: self.reads.get,
            ListShape: self.reads.listing,
            InsertShape: self.writes.insert,
            ChangeShape: self.writes.change,
        }
        # equal shapes share one text: compiled at its first use, then looked up; bounded, since lists have endless shapes
        room = max(4096, 16 * len(catalog.resources))
        self.statement = lru_cache(maxsize=room)(self._statement)
        self.question = lru_cache(maxsize=room)(self._question)

    def _statement(self, resource: Resource, shape: Any) -> Statement:
        return self.builders[type(shape)](resource, shape)  # type: ignore[no-any-return]

    def readable(self, resource: Resource, text: str) -> str:
        """Rendered rows as their reader sees them: the database cannot read ciphers."""
        return readable(self.vault, self.catalog, resource, text) if resource.path in self.revealing else text

    def _question(self, name: str, *given: Any) -> Statement:
        return getattr(self.reads if hasattr(self.reads, name) else self.writes, name)(*given)  # type: ignore[no-any-return]


class Caller(NamedTuple):
    """Where a request comes from, for the audit record."""

    request_id: str = ""
    ip: str | None = None
    user_agent: str | None = None


NOBODY = Caller()


class Circumstances(dict[str, Any]):
    """Parameters by name. The clock, and what lifts the masks of a domain, are asked only by statements that name them."""

    def __init__(self, unit: UnitOfWork, known: Mapping[str, Any]) -> None:
        super().__init__(known)
        self.unit = unit

    def __missing__(self, name: str) -> Any:
        if name in TIMES:
            return TIMES[name](self.unit, self)
        if name.startswith(UNMASKED):
            return self.unit.principal.may(sensitive(name.removeprefix(UNMASKED)))
        if name in (row_values := self.unit.shop.catalog.row_values):
            return row_values[name](self.unit.principal)
        raise KeyError(name)


class UnitOfWork:
    """Implements `engine.hooks.Moment` for one scope's database."""

    __slots__ = (
        "_now",
        "_places",
        "_stack",
        "attempts",
        "caller",
        "connection",
        "database",
        "done",
        "elsewhere",
        "hosted",
        "merging",
        "operations",
        "principal",
        "scope",
        "settings_written",
        "shared",
        "shop",
        "shows_once",
        "tenant",
        "written",
        "wrote",
    )

    def __init__(
        self,
        operations: Operations,
        scope: str,
        principal: Principal,
        caller: Caller = NOBODY,
        now: datetime | None = None,
    ) -> None:
        """`now`: the time to work at; None = what the clock says when somebody asks first."""
        self.operations, self.shop = operations, operations.shop
        self.scope, self.principal, self.caller = scope, principal, caller
        self.database = self.shop.databases[scope]
        self.connection: Connection | None = None
        bound = self.shop.catalog.scopes[scope].tenant_bound
        self.tenant: UUID | None = principal.tenant.id if bound and principal.tenant else None
        self.done: list[tuple[Resource, Sequence[Any]]] = []
        self._now = now
        self._places: dict[str, int] | None = None
        self._stack: AsyncExitStack | None = None
        self.elsewhere: dict[str, UnitOfWork] = {}
        # of the engine's own work in tenants: by scope and tenant, and the transaction by scope that they share
        self.hosted: dict[tuple[str, UUID], UnitOfWork] = {}
        self.shared: dict[str, Shared] = {}
        self.settings_written = False
        self.wrote, self.attempts = False, 0
        # (path, key) of the headers of nested rows that this transaction has written
        self.written: set[tuple[str, Key]] = set()
        # whether a stale version does no harm where the edits touch different fields
        self.merging = False
        # whether the answer shows what is shown this once
        self.shows_once = False

    @property
    def request_id(self) -> str:
        return self.caller.request_id

    @property
    def now(self) -> datetime:
        if self._now is None:
            self._now = CLOCK.now()
        return self._now

    @property
    def today(self) -> date:
        return day_of(self.now, self.principal)

    async def __aenter__(self) -> UnitOfWork:
        """Begin a transaction."""
        self._stack, self.done = AsyncExitStack(), []
        self.elsewhere, self.hosted, self.shared, self.attempts, self.written = {}, {}, {}, 0, set()
        self.connection = await self._stack.enter_async_context(self.database.transaction(self.tenant))
        if self.scope in self.shop.catalog.unlockable:
            await self.connection.fetch(ONE_MOMENT, [])
        return self

    async def __aexit__(self, *failure: Any) -> None:
        """Commit, or roll back when the block raised; the same for transactions opened in other scopes."""
        assert self._stack is not None
        stack, self._stack, self.connection = self._stack, None, None
        try:
            await stack.__aexit__(*failure)
        finally:
            if self.settings_written or any(other.settings_written for other in self.hosted.values()):
                self.settings_written = False
                self.shop.settings.forget()
            for unit in (self, *self.hosted.values()):
                if unit.wrote:
                    unit.wrote = False
                    self.shop.wake(unit.scope, unit.principal.tenant)

    def note_write(self) -> None:
        """A record of the change log was written: the relay is told as soon as it is durable."""
        if self.connection is None:
            self.shop.wake(self.scope, self.principal.tenant)
        else:
            self.wrote = True

    def note_headers(self, resource: Resource, changes: Sequence[Change]) -> None:
        """Rows were written whose version need not be renewed for what happens to their nested ones."""
        if resource.entity.nested and self.connection is not None:
            self.written.update((resource.path, change.key) for change in changes)

    def base(self, resource: Resource, **more: Any) -> dict[str, Any]:
        """Parameters that any statement over the resource may name, and what else it is given."""
        who = self.principal
        caller = self.caller
        more |= {
            "actor": who.user_id,
            "actor_email": who.email,
            "tenant": self.tenant,
            "ip": caller.ip,
            "user_agent": caller.user_agent,
            "request_id": caller.request_id,
        }
        return Circumstances(self, more)

    async def run(self, statement: Statement, values: Mapping[str, Any]) -> list[Any]:
        """Rows of a compiled statement: inside the transaction when there is one, else in autocommit."""
        arguments = statement.arguments(values)
        if self.connection is not None:
            return await self.connection.fetch(statement.text, arguments)
        return await self.database.run(self.tenant, statement.text, arguments)

    def find(self, entity: str) -> Resource:
        """The resource `domain.entity` of this scope."""
        return self.shop.catalog.find(self.scope, entity)

    async def get(self, entity: str, key: Key) -> Row | None:
        row = (await self.operations.rows(self, self.find(entity), [key], lock=None))[0]
        return row if row is not None and self.find(entity).marks.living(row) else None

    async def list(self, entity: str, *conditions: ColumnElement[bool], limit: int = 1000) -> Rows:
        table = (resource := self.find(entity)).table
        columns = (table.c[f.name] for f in resource.columns)
        statement = sa.select(*columns).where(*presence(resource, table, "exclude"), *conditions)
        if resource.scope.tenant_bound:
            statement = statement.where(table.c.tenant_id == self.tenant)
        return await self.fetch(statement.order_by(*(table.c[key] for key in resource.keys)).limit(limit))

    async def create(self, entity: str, rows: Sequence[Mapping[str, Any]]) -> Rows:
        return await self.operations.create_internal(self, self.find(entity), rows)

    async def update(self, entity: str, rows: Sequence[Mapping[str, Any]]) -> Rows:
        return await self.operations.change_internal(self, self.find(entity), "update", rows)

    async def delete(self, entity: str, keys: Sequence[Key]) -> Rows:
        resource = self.find(entity)
        rows = [dict(zip(resource.keys, key if isinstance(key, tuple) else (key,), strict=True)) for key in keys]
        return await self.operations.change_internal(self, resource, "delete", rows)

    async def status(self, entity: str, keys: Sequence[Key], status: str, reason: str | None = None) -> Rows:
        return await self.operations.status_internal(self, self.find(entity), keys, (status, reason))

    async def renew(self, entity: str, keys: Collection[Key]) -> None:
        resource = self.find(entity)
        if left := [{"id": key} for key in keys if (resource.path, key) not in self.written]:
            await self.operations.change_internal(self, resource, "update", left)

    async def fetch(self, statement: Executable) -> Rows:
        assert self.connection is not None, "hooks run inside a transaction"
        text, arguments = self.shop.asked.ask(statement, self.tenant if self.shop.reads.walled else None)
        return rows_of(statement, await self.connection.fetch(text, arguments), self.shop.vault, self.shop.sealed)

    async def number(self, prefix: str, on: date) -> str:
        return (await self.numbers(prefix, on, 1))[0]

    async def numbers(self, prefix: str, on: date, count: int) -> Sequence[str]:
        log = self.shop.catalog.roles.get((self.scope, "number_sequences"))
        if log is None:
            raise generic("internal_error", "no entity with role number_sequences is registered in this scope")
        values = self.base(log, sequence_id=CLOCK.new_id(), code=prefix, year=on.year, count=count)
        row = (await self.run(next_number(log), values))[0]
        return [f"{row[0]}-{row[3]}-{number:0{row[1]}d}" for number in range(row[2], row[2] + count)]

    def require(self, permission: str) -> None:
        if not self.principal.may(permission):
            raise ForbiddenError("permission_denied", f"This needs the permission {permission}")

    async def setting(self, key: str) -> Any:
        return await self.shop.settings.find(self, key)

    def forget_settings(self) -> None:
        """A row of settings was written: what was read before counts no more, in this transaction and after it."""
        for unit in (self, *self.elsewhere.values()):  # whichever of them ends the transaction
            unit.settings_written = unit.connection is not None
        self.shop.settings.forget()

    async def places(self, currency: str) -> int:
        currencies = self.shop.catalog.roles.get((self.scope, "currencies"))
        if self._places is None and currencies is not None:
            table = currencies.table.c
            rows = await self.fetch(sa.select(table.code, table.decimal_places).where(table.is_active))
            self._places = {row["code"]: row["decimal_places"] for row in rows}
        return (self._places or {}).get(currency, 0 if currency in WHOLE else 2)

    async def hash_password(self, password: str) -> str:
        return await self.shop.vault.hash_password(password)

    async def check_password(self, password: str, hashed: str | None) -> bool:
        return await self.shop.vault.check_password(password, hashed)

    def permissions(self, *, of_tenants: bool) -> frozenset[str]:
        return self.shop.catalog.permissions[of_tenants]

    async def in_scope(self, scope: str, tenant: TenantRef | None = None) -> UnitOfWork:
        if tenant is not None and self.principal.tenant is None:
            return await self._host(scope, tenant)
        if tenant is not None and self.principal.tenant and self.principal.tenant.id != tenant.id:
            raise generic("wrong_scope")
        if scope == self.scope:
            return self
        if scope not in self.elsewhere:
            assert self._stack is not None, "hooks run inside a transaction"
            other = UnitOfWork(self.operations, scope, self.principal, self.caller, self.now)
            self.elsewhere[scope] = await self._stack.enter_async_context(other)
            await join(self, other.connection)
        return self.elsewhere[scope]

    async def _host(self, scope: str, tenant: TenantRef) -> UnitOfWork:
        """The moment of one tenant, beside those of others in one transaction."""
        if (scope, tenant.id) not in self.hosted:
            assert self._stack is not None, "hooks run inside a transaction"
            if scope not in self.shared:
                opened = self.shop.databases[scope].transaction(tenant.id)
                self.shared[scope] = Shared(await self._stack.enter_async_context(opened))
                await join(self, self.shared[scope].connection)
            other = UnitOfWork(self.operations, scope, replace(self.principal, tenant=tenant), self.caller, self.now)
            other._stack, other.connection = self._stack, self.shared[scope].of(tenant.id)
            other.elsewhere[self.scope] = self
            self.hosted[scope, tenant.id] = other
        return self.hosted[scope, tenant.id]

    def attempt(self) -> AbstractAsyncContextManager[None]:
        return attempt(self)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return self.shop.handlers

    async def after_commit(self) -> None:
        """DONE hooks: the change is durable, so a failure is logged and the answer stands."""
        for resource, changes in self.done:
            for rule in resource.hooks.get(Point.DONE, ()):
                try:
                    async with UnitOfWork(self.operations, self.scope, self.principal, self.caller, self._now) as later:
                        await later.within(rule, rule.run(later, list(changes)))
                except Exception as error:
                    Observer.hook_failed(rule.id, self.request_id, error)

    async def within(self, rule: Rule, work: Awaitable[None]) -> None:
        """Await a hook under the time limit of hooks. One that hangs ends the request, named in the log."""
        try:
            async with asyncio.timeout(self.shop.hook_timeout):
                await work
        except TimeoutError as error:
            raise UnavailableError("hook_timeout", f"The rule {rule.id} took too long", status=504) from error
        except Exception as error:
            if self.principal.view is not None and isinstance(error, ApiError):
                self.principal.view.discreet(rule.entity, error)
            error.add_note(f"in the rule {rule.id} of {rule.entity}")
            raise
