"""Connections to one database, and their binding to a tenant.

Own pool rather than asyncpg's: it hands back a connection last used by the same tenant, sends no reset query on release, and
is fair above its size (asyncpg's p99 was 175 ms with 64 callers on 8 connections, a semaphore in front made it 10 ms).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any
from uuid import UUID

import asyncpg

from engine.errors import ApiError, UnavailableError, generic
from tenancy.lease import PROBE, Lease, notice, take_lease
from tenancy.slots import Slots

BIND = "select set_config('app.tenant_id', $1, false)"
ALLOW = "select set_config('statement_timeout', $1, false)"
BIND_TRANSACTION = "select set_config('app.tenant_id', $1, true)"
SWEEP_SECONDS, GRACE_SECONDS = 0.5, 0.5
BROKEN = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError)


@dataclass(frozen=True)
class PoolOptions:
    """How to reach one database. `role`: what requests run as when the URL is the owner's. Times in seconds."""

    url: str
    role: str | None = None
    size: int = 8
    acquire_timeout: float = 1.0
    command_timeout: float = 5.0
    connect_timeout: float = 2.0
    pooler: str = "none"
    tenant_bound: bool = False
    # what the server is told of each connection beside that
    settings: Mapping[str, str] = field(default_factory=dict)


class Bound:
    """One connection, the tenant that it is bound to, and the seconds that its statements may take."""

    __slots__ = ("due", "raw", "seconds", "tenant")

    def __init__(self, raw: Any, seconds: float) -> None:
        self.raw, self.seconds = raw, seconds
        self.tenant: UUID | None = None
        self.due = 0.0


class Transaction:
    """A connection inside a transaction, bound to one tenant."""

    __slots__ = ("bound", "watch")

    def __init__(self, bound: Bound, watch: Watch) -> None:
        self.bound, self.watch = bound, watch

    async def fetch(self, text: str, arguments: Sequence[Any]) -> list[Any]:
        """Rows of one statement."""
        self.bound.due = self.watch.due(self.bound)
        try:
            return await self.bound.raw.fetch(text, *arguments)  # type: ignore[no-any-return]
        except asyncpg.QueryCanceledError as error:
            raise _overdue(error, self.bound) from error.__cause__

    def rest(self) -> None:
        """Nothing is overdue until the next statement: a reader is slow, not the database."""
        self.bound.due = inf

    async def bind(self, tenant: UUID) -> None:
        """Bind the rest of the transaction to another tenant; after it the connection is its first one's again."""
        await self.fetch(BIND_TRANSACTION, [str(tenant)])


class Watch:
    """Ends connections whose statement is overdue. PostgreSQL's own statement_timeout comes first; this is for a network
    that went silent. One timer for all, since a timer a statement costs 6 us."""

    def __init__(self) -> None:
        self.busy: set[Bound] = set()
        self.timer: asyncio.TimerHandle | None = None

    def due(self, bound: Bound) -> float:
        """When a statement that begins now is overdue."""
        return asyncio.get_running_loop().time() + bound.seconds + GRACE_SECONDS

    def enter(self, bound: Bound) -> None:
        """A connection goes to work."""
        bound.due = self.due(bound)
        self.busy.add(bound)
        if self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for bound in self.busy:
            if bound.due < loop.time():
                bound.raw.terminate()
        self.timer = loop.call_later(SWEEP_SECONDS, self._sweep) if self.busy else None


class Pool:
    """Connections to one database; satisfies `engine.store.Database`."""

    def __init__(self, options: PoolOptions) -> None:
        self.options = options
        self.idle: list[Bound] = []
        self.slots = Slots(options.size, options.acquire_timeout)
        self.closed = False
        self.watch = Watch()
        self.session_bound = options.tenant_bound and options.pooler == "none"

    async def _connect(self) -> Bound:
        try:
            return Bound(await self._open(), self.options.command_timeout)
        except asyncpg.PostgresError as error:
            # a password, a role, a database that is not there: said of the connection, and not of any request
            raise unreachable() from error

    async def _open(self) -> Any:
        options = self.options
        settings = {
            "statement_timeout": _milliseconds(options.command_timeout),
            "TimeZone": "UTC",
            "application_name": "cxg",
            **options.settings,
        }
        if options.role:
            settings["role"] = options.role
        return await asyncpg.connect(
            options.url,
            ssl=False if "127.0.0.1" in options.url else None,
            timeout=options.connect_timeout,
            statement_cache_size=0 if options.pooler == "transaction" else 1000,
            max_cached_statement_lifetime=0,
            server_settings={} if options.pooler == "transaction" else settings,
        )

    async def acquire(self, tenant: UUID | None, seconds: float | None = None) -> Bound:
        """A connection, bound to `tenant` where binding lasts for the session, whose statements may take `seconds` (None =
        `command_timeout`). 503 after `acquire_timeout`."""
        try:
            await self.slots.take()
        except TimeoutError:
            raise generic("pool_exhausted", headers={"Retry-After": "1"}) from None
        bound: Bound | None = None
        try:
            bound = self._pick(tenant) or await self._connect()
            self.watch.enter(bound)
            if self.session_bound and bound.tenant != tenant:
                await self._bind(bound, tenant)
            if bound.seconds != (seconds or self.options.command_timeout):
                await self._allow(bound, seconds or self.options.command_timeout)
        except BaseException:
            if bound is not None:
                self.watch.busy.discard(bound)
            self.slots.give()
            raise
        return bound

    def _pick(self, tenant: UUID | None) -> Bound | None:
        for index in range(len(self.idle) - 1, -1, -1):
            if self.idle[index].tenant == tenant:
                return self._alive(self.idle.pop(index))
        return self._alive(self.idle.pop(0)) if self.idle else None

    def _alive(self, bound: Bound) -> Bound | None:
        if not bound.raw.is_closed():
            return bound
        return self._pick(bound.tenant)

    async def _bind(self, bound: Bound, tenant: UUID | None) -> None:
        try:
            await bound.raw.fetch(BIND, str(tenant) if tenant else "")
        except BaseException:
            bound.raw.terminate()
            raise
        bound.tenant = tenant

    async def _allow(self, bound: Bound, seconds: float) -> None:
        if self.options.pooler == "none":  # else each transaction says so
            try:
                await bound.raw.fetch(ALLOW, _milliseconds(seconds))
            except BaseException:
                bound.raw.terminate()
                raise
        bound.seconds = seconds
        bound.due = self.watch.due(bound)

    def release(self, bound: Bound) -> None:
        """Give a connection back; one that is broken or still inside a transaction is dropped."""
        self.watch.busy.discard(bound)
        try:
            if self.closed or bound.raw.is_closed() or bound.raw.is_in_transaction():
                bound.raw.terminate()
            else:
                self.idle.append(bound)
        finally:
            self.slots.give()

    async def run(
        self, tenant: UUID | None, text: str, arguments: Sequence[Any], seconds: float | None = None
    ) -> list[Any]:
        """One statement in autocommit (in a transaction of its own where binding cannot last)."""
        if self.options.pooler == "transaction":
            async with self.transaction(tenant, seconds) as connection:
                return await connection.fetch(text, arguments)
        bound = await self.acquire(tenant, seconds)
        try:
            return await bound.raw.fetch(text, *arguments)  # type: ignore[no-any-return]
        except asyncpg.QueryCanceledError as error:
            raise _overdue(error, bound) from error.__cause__
        except BROKEN as error:
            bound.raw.terminate()
            raise _sent(error) from error.__cause__
        except asyncio.CancelledError:
            bound.raw.terminate()
            raise
        finally:
            self.release(bound)

    @asynccontextmanager
    async def transaction(self, tenant: UUID | None, seconds: float | None = None) -> AsyncIterator[Transaction]:
        """A transaction bound to `tenant`. A COMMIT whose answer is lost raises 503 outcome_unknown."""
        bound = await self.acquire(tenant, seconds)
        try:
            await self._start(bound, tenant)
            try:
                yield Transaction(bound, self.watch)
            except BaseException:
                with suppress(*BROKEN, asyncpg.PostgresError):
                    await bound.raw.execute("ROLLBACK")
                raise
            await self._commit(bound)
        finally:
            self.release(bound)

    async def _start(self, bound: Bound, tenant: UUID | None) -> None:
        try:
            await bound.raw.execute(self._begin(tenant, bound.seconds))
        except asyncpg.PostgresError as error:
            bound.raw.terminate()
            raise unreachable() from error
        except BaseException:
            # cancelled here, the connection would come back idle and be inside a transaction a moment later
            bound.raw.terminate()
            raise

    def _begin(self, tenant: UUID | None, seconds: float) -> str:
        """One message. Behind a pooler nothing lasts for the session, so each transaction says what a connection would."""
        options = self.options
        if options.pooler == "none":
            return "BEGIN"
        local = {"statement_timeout": _milliseconds(seconds), "timezone": "'UTC'"}
        local |= {"role": '"' + options.role.replace('"', '""') + '"'} if options.role else {}
        local |= {name: f"'{value}'" for name, value in options.settings.items()}
        local |= {"app.tenant_id": f"'{tenant or ''}'"} if options.tenant_bound else {}
        return "; ".join(["BEGIN", *(f"SET LOCAL {name} = {value}" for name, value in local.items())])

    async def _commit(self, bound: Bound) -> None:
        try:
            await bound.raw.execute("COMMIT")
        except BROKEN as error:
            bound.raw.terminate()
            raise UnavailableError("outcome_unknown", headers={"Retry-After": "1"}) from error

    async def elect(self, name: str, heard: Callable[[str], None]) -> Lease | None:
        """The lease `name`, on a connection beside the pool's; None while another process holds it. `heard` is given what
        others say to its holder."""
        if not (await self.run(None, PROBE, [name]))[0]["free"]:
            return None
        return await take_lease(await self._open(), name, heard, pooled=self.options.pooler == "transaction")

    async def tell(self, name: str, texts: Sequence[str]) -> None:
        """Say something to the holder of the lease `name`, wherever it is; nobody hears it when there is none."""
        await self.run(None, *notice(name, texts))

    async def ping(self) -> None:
        """Raise unless the database answers."""
        await self.run(self.idle[-1].tenant if self.idle else None, "select 1", ())

    async def close(self) -> None:
        """Close every connection; those in use are closed when they come back."""
        self.closed = True
        for bound in self.idle:
            with suppress(*BROKEN):
                await bound.raw.close(timeout=2)
        self.idle.clear()
        self.slots.close()
        if self.watch.timer is not None:
            self.watch.timer.cancel()


def unreachable() -> ApiError:
    """503: no connection that requests could use."""
    return generic("db_unavailable", headers={"Retry-After": "1"})


def _sent(error: BaseException) -> BaseException:
    error.statement_sent = True  # type: ignore[attr-defined]
    return error


def _overdue(error: BaseException, bound: Bound) -> BaseException:
    error.allowed_seconds = bound.seconds  # type: ignore[attr-defined]
    return error


def _milliseconds(seconds: float) -> str:
    return str(max(1, int(seconds * 1000)))
