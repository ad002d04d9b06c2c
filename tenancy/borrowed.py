"""A pool that belongs to somebody else: its connections are used for one transaction each, and are as they were after it.

Everything that a connection must know of a request is said by SET LOCAL: role, tenant, time zone, how long a statement may
take. Types that its owner reads in his own way are left to him (`tenancy.neutral`).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from engine.errors import StartupFault, UnavailableError, generic
from tenancy.lease import CLASS, PROBE, notice
from tenancy.neutral import Neutraliser, foreign_types
from tenancy.pool import BIND_TRANSACTION, BROKEN, unreachable

# the pool itself, or what gives it when the engine starts
Source: TypeAlias = "asyncpg.Pool | Callable[[], asyncpg.Pool | Awaitable[asyncpg.Pool]]"
# one is held by whoever relays the change log, one does the work
LEAST = 2
MAY = """
select current_user::text as name, r.rolsuper or r.rolbypassrls as above,
  coalesce(pg_has_role(current_user, (select oid from pg_roles where rolname = $1), 'MEMBER'), false) as member
from pg_roles r where r.rolname = current_user
"""


@dataclass(frozen=True)
class BorrowOptions:
    """What is asked of a borrowed pool. Times in seconds."""

    role: str
    acquire_timeout: float = 1.0
    command_timeout: float = 5.0
    tenant_bound: bool = False


class Borrowed:
    """A connection inside a transaction, bound to one tenant."""

    __slots__ = ("neutral", "raw", "seconds")

    def __init__(self, raw: Any, neutral: Neutraliser | None, seconds: float) -> None:
        self.raw, self.neutral, self.seconds = raw, neutral, seconds

    async def fetch(self, text: str, arguments: Sequence[Any]) -> list[Any]:
        """Rows of one statement."""
        try:
            if self.neutral is not None:
                return await self.neutral.fetch(self.raw, text, arguments)
            return await self.raw.fetch(text, *arguments)  # type: ignore[no-any-return]
        except asyncpg.QueryCanceledError as error:
            error.allowed_seconds = self.seconds
            raise

    def rest(self) -> None:
        """Nothing watches a borrowed connection but PostgreSQL's own timeout."""

    async def bind(self, tenant: UUID) -> None:
        """Bind the rest of the transaction to another tenant."""
        await self.fetch(BIND_TRANSACTION, [str(tenant)])


class BorrowedLease:
    """A part that one process plays: a lock that ends with its transaction, on a connection held for that. It hears nothing."""

    hears = False

    def __init__(self, pool: Any, raw: Any) -> None:
        self.pool, self.raw = pool, raw

    async def holds(self) -> bool:
        """Whether the connection still answers inside its transaction."""
        with suppress(*BROKEN, asyncpg.PostgresError):
            async with asyncio.timeout(2):
                await self.raw.fetch("select 1")
                return bool(self.raw.is_in_transaction())
        return False

    async def release(self) -> None:
        """Give the connection back."""
        await _give_back(self.pool, self.raw)


def once(source: Source) -> Source:
    """The same pool for all who ask, where a function gives it."""
    if not callable(source):
        return source
    found: list[asyncpg.Pool] = []

    async def get() -> asyncpg.Pool:
        if not found:
            given: Any = source()
            found.append(await given if inspect.isawaitable(given) else given)
        return found[0]

    return get


class BorrowedPool:
    """Satisfies `engine.store.Database` over a pool of the host's."""

    def __init__(self, source: Source, options: BorrowOptions) -> None:
        self.source, self.options = source, options
        self.pool: Any = None
        self.begin = ""
        self.neutral: Neutraliser | None = None
        self.settling = asyncio.Lock()

    async def _settled(self) -> Any:
        """The pool; what its user may and how it reads values is asked once."""
        if self.pool is None:
            async with self.settling:
                if self.pool is None:
                    await self.settle()
        return self.pool

    async def settle(self) -> None:
        """Get to know the pool. StartupFault when it cannot serve."""
        given: Any = self.source() if callable(self.source) else self.source
        # a pool that nobody has awaited yet opens its connections now
        pool = await given if inspect.isawaitable(given) else given
        if not isinstance(pool, asyncpg.Pool):
            raise StartupFault(f"a database is a URL or an asyncpg.Pool, not {type(pool).__name__}")
        if pool.get_max_size() < LEAST:
            raise StartupFault(f"a shared pool needs max_size={LEAST} at least: one connection is held to relay events")
        async with pool.acquire() as connection:
            may = await connection.fetchrow(MAY, self.options.role)
            foreign = await foreign_types(connection)
        if self.options.tenant_bound and not may["member"]:
            raise StartupFault(
                f"the pool's user {may['name']!r} cannot take on the role {self.options.role!r}, under which rows of other tenants"
                f' do not exist; as an administrator: grant "{self.options.role}" to "{may["name"]}"'
            )
        self.neutral = Neutraliser(foreign) if foreign else None
        self.begin = self._begin(self.options.role if may["member"] else None)
        self.pool = pool

    def _begin(self, role: str | None) -> str:
        local = {"timezone": "'UTC'", "datestyle": "'ISO'"}
        local |= {"role": '"' + role.replace('"', '""') + '"'} if role else {}
        said = "; ".join(f"SET LOCAL {name} = {value}" for name, value in local.items())
        return f"BEGIN ISOLATION LEVEL READ COMMITTED; {said}"

    async def run(
        self, tenant: UUID | None, text: str, arguments: Sequence[Any], seconds: float | None = None
    ) -> list[Any]:
        """One statement, in a transaction of its own."""
        async with self.transaction(tenant, seconds) as connection:
            return await connection.fetch(text, arguments)

    @asynccontextmanager
    async def transaction(self, tenant: UUID | None, seconds: float | None = None) -> AsyncIterator[Borrowed]:
        """A transaction bound to `tenant`. A COMMIT whose answer is lost raises 503 outcome_unknown."""
        pool, allowed = await self._settled(), seconds or self.options.command_timeout
        raw = await self._acquire(pool)
        try:
            bound = f"; SET LOCAL app.tenant_id = '{tenant or ''}'" if self.options.tenant_bound else ""
            await _begun(raw, f"{self.begin}; SET LOCAL statement_timeout = {max(1, int(allowed * 1000))}{bound}")
            yield Borrowed(raw, self.neutral, allowed)
            try:
                await raw.execute("COMMIT")
            except BROKEN as error:
                raise UnavailableError("outcome_unknown", headers={"Retry-After": "1"}) from error
        finally:
            await _give_back(pool, raw)

    async def _acquire(self, pool: Any) -> Any:
        try:
            # asyncpg's own timeout may swallow a cancellation that comes as the connection does
            async with asyncio.timeout(self.options.acquire_timeout):
                return await pool.acquire()
        except TimeoutError:
            raise generic("pool_exhausted", headers={"Retry-After": "1"}) from None
        except asyncpg.PostgresError as error:
            raise unreachable() from error

    async def elect(self, name: str, heard: Callable[[str], None]) -> BorrowedLease | None:
        """The lease `name`, or None while another process holds it."""
        if not (await self.run(None, PROBE, [name]))[0]["free"]:
            return None
        pool = await self._settled()
        raw = await self._acquire(pool)
        got = False
        try:
            await _begun(raw, "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0")
            got = await raw.fetchval(f"select pg_try_advisory_xact_lock({CLASS}, hashtext($1))", name)
        finally:
            if not got:
                await _give_back(pool, raw)
        return BorrowedLease(pool, raw) if got else None

    async def tell(self, name: str, texts: Sequence[str]) -> None:
        """Say something to the holder of the lease `name`."""
        await self.run(None, *notice(name, texts))

    async def ping(self) -> None:
        """Raise unless the database answers."""
        await self.run(None, "select 1", ())

    async def close(self) -> None:
        """The pool is its owner's to close."""
        self.pool = None


async def _begun(raw: Any, text: str) -> None:
    try:
        await raw.execute(text)
    except asyncpg.PostgresError as error:
        raw.terminate()
        raise unreachable() from error
    except BaseException:
        # cancelled here, the connection would come back idle and be inside a transaction a moment later
        raw.terminate()
        raise


async def _give_back(pool: Any, raw: Any) -> None:
    """A connection without an open transaction; one that cannot be rolled back is dropped."""
    try:
        if not raw.is_closed() and raw.is_in_transaction():
            await raw.execute("ROLLBACK")
    except (*BROKEN, asyncpg.PostgresError):
        with suppress(asyncpg.InterfaceError):  # of one that was ended before, the pool lets nobody end it again
            raw.terminate()
    finally:
        with suppress(*BROKEN, asyncpg.PostgresError):
            await pool.release(raw)
