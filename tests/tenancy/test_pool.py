"""Connections: bound to the right tenant, handed back whole, refused in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import Column, MetaData, Table, Text, Uuid

from engine.errors import ApiError
from tenancy.ddl import create_tables
from tenancy.policies import grant_statements, policy_statements
from tenancy.pool import BROKEN, Pool, PoolOptions
from tenancy.shape import bind_to_tenant

if TYPE_CHECKING:
    from tests.tenancy.conftest import ScratchDatabase

pytestmark = pytest.mark.anyio
ROLE = "cxg_runtime"
ACME, OTHER = uuid4(), uuid4()
BODIES = "SELECT body FROM acc.notes"
INSERT = "INSERT INTO acc.notes (tenant_id, id, body) VALUES ($1, $2, $3)"
MakePool = Callable[..., Pool]


@pytest.fixture(scope="module")
async def database(new_database: Callable[[], Awaitable[ScratchDatabase]]) -> ScratchDatabase:
    """One closed tenant table."""
    made, metadata = await new_database(), MetaData()
    table = Table("notes", metadata, Column("id", Uuid, primary_key=True), Column("body", Text), schema="acc")
    bind_to_tenant(metadata)
    statements = [
        "CREATE SCHEMA acc",
        *create_tables([table]),
        *policy_statements(table, ROLE),
        *grant_statements(table, ROLE),
    ]
    connection = await asyncpg.connect(made.owner)
    await connection.execute(";\n".join(statements))
    await connection.close()
    return made


@pytest.fixture
async def make(database: ScratchDatabase) -> AsyncIterator[MakePool]:
    """Makes pools, closed at the end."""
    pools: list[Pool] = []

    def one(**options: Any) -> Pool:
        usual: dict[str, Any] = {"url": database.runtime, "size": 2, "tenant_bound": True}
        pools.append(Pool(PoolOptions(**{**usual, **options})))
        return pools[-1]

    yield one
    for pool in pools:
        await pool.close()


@pytest.fixture
async def superuser(database: ScratchDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.superuser)
    yield connection
    await connection.close()


async def bodies(pool: Pool, tenant: UUID | None) -> list[str]:
    return [row[0] for row in await pool.run(tenant, BODIES, ())]


async def note(pool: Pool, tenant: UUID, body: str) -> None:
    await pool.run(tenant, INSERT, (tenant, uuid4(), body))


async def backend(pool: Pool, tenant: UUID | None) -> int:
    return int((await pool.run(tenant, "SELECT pg_backend_pid()", ()))[0][0])


def whole(pool: Pool) -> bool:
    """Whether every place is free again and no connection is left inside a transaction."""
    return pool.slots.free == pool.options.size and not any(b.raw.is_in_transaction() for b in pool.idle)


both = pytest.mark.parametrize("pooler", ["none", "transaction"])


@both
async def test_a_statement_sees_its_tenant_only(make: MakePool, pooler: str) -> None:
    pool, acme, other = make(pooler=pooler, size=1), uuid4(), uuid4()
    await note(pool, acme, "a")
    await note(pool, other, "o")
    for _ in range(2):
        assert [await bodies(pool, acme), await bodies(pool, other), await bodies(pool, None)] == [["a"], ["o"], []]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.run(acme, INSERT, (other, uuid4(), "x"))
    async with pool.transaction(other) as connection:
        assert [row[0] for row in await connection.fetch(BODIES, ())] == ["o"]
    assert whole(pool)


@both
async def test_a_transaction_is_kept_or_undone(make: MakePool, pooler: str) -> None:
    pool, tenant = make(pooler=pooler), uuid4()
    async with pool.transaction(tenant) as connection:
        await connection.fetch(INSERT, (tenant, uuid4(), "kept"))
    with pytest.raises(KeyError):
        async with pool.transaction(tenant) as connection:
            await connection.fetch(INSERT, (tenant, uuid4(), "undone"))
            raise KeyError
    with pytest.raises(asyncpg.UniqueViolationError):
        async with pool.transaction(tenant) as connection:
            for _ in range(2):
                await connection.fetch(INSERT, (tenant, UUID(int=7), "twice"))
    assert await bodies(pool, tenant) == ["kept"] and whole(pool)


@both
async def test_requests_run_as_the_runtime_role_in_utc(make: MakePool, database: ScratchDatabase, pooler: str) -> None:
    for bound in (True, False):
        pool = make(pooler=pooler, url=database.superuser, role=ROLE, tenant_bound=bound)
        shown = "SELECT current_user, current_setting('TimeZone'), current_setting('statement_timeout')"
        assert [tuple(row) for row in await pool.run(None, shown, ())] == [(ROLE, "UTC", "5s")]


async def test_behind_a_pooler_nothing_is_left_on_the_session(make: MakePool) -> None:
    pool = make(pooler="transaction", size=1)
    await bodies(pool, ACME)
    raw = pool.idle[0].raw
    assert await raw.fetchval("SELECT current_setting('app.tenant_id', true)") in (None, "")
    assert await raw.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0


async def test_a_connection_of_the_same_tenant_is_preferred(make: MakePool) -> None:
    pool = make()
    async with pool.transaction(ACME), pool.transaction(OTHER):
        pass
    first, second = await backend(pool, ACME), await backend(pool, OTHER)
    assert first != second
    assert [await backend(pool, tenant) for tenant in (OTHER, ACME, OTHER)] == [second, first, second]


@both
async def test_many_callers_on_few_connections_never_mix(make: MakePool, pooler: str) -> None:
    pool, tenants = make(pooler=pooler, acquire_timeout=10), [uuid4() for _ in range(3)]
    for tenant in tenants:
        await note(pool, tenant, str(tenant))

    async def ask(number: int) -> bool:
        tenant = tenants[number % 3]
        return await bodies(pool, tenant) == [str(tenant)]

    assert all(await asyncio.gather(*(ask(number) for number in range(150)))) and whole(pool)


async def test_a_full_pool_refuses_in_time(make: MakePool) -> None:
    pool = make(size=1, acquire_timeout=0.2)
    async with pool.transaction(ACME):
        start = time.monotonic()
        with pytest.raises(ApiError) as caught:
            await bodies(pool, ACME)
        assert 0.15 < time.monotonic() - start < 0.8
    assert (caught.value.status, caught.value.code, caught.value.headers) == (
        503,
        "pool_exhausted",
        {"Retry-After": "1"},
    )
    assert await bodies(pool, ACME) == [] and whole(pool)


async def test_a_slow_statement_is_ended_by_the_server(make: MakePool) -> None:
    pool = make(command_timeout=0.2)
    with pytest.raises(asyncpg.QueryCanceledError):
        await pool.run(ACME, "SELECT pg_sleep(5)", ())
    assert await bodies(pool, ACME) == [] and whole(pool)


async def test_a_server_that_is_not_there_is_said_at_once(make: MakePool) -> None:
    pool = make(url="postgresql://cxg@127.0.0.1:1/none")
    for _ in range(3):
        with pytest.raises(OSError):
            await bodies(pool, ACME)
    assert whole(pool)


async def test_connections_that_broke_are_dropped(make: MakePool, superuser: asyncpg.Connection) -> None:
    pool, tenant = make(), uuid4()
    await superuser.execute("SELECT pg_terminate_backend($1)", await backend(pool, tenant))
    await asyncio.sleep(0.05)
    assert await bodies(pool, tenant) == []
    with pytest.raises((asyncpg.PostgresError, *BROKEN)):
        async with pool.transaction(tenant) as connection:
            [row] = await connection.fetch("SELECT pg_backend_pid()", ())
            await superuser.execute("SELECT pg_terminate_backend($1)", row[0])
            await connection.fetch(INSERT, (tenant, uuid4(), "lost"))
    assert await bodies(pool, tenant) == [] and whole(pool)


async def test_a_commit_that_was_cut_has_an_unknown_outcome(make: MakePool, superuser: asyncpg.Connection) -> None:
    pool = make()
    with pytest.raises(ApiError) as caught:
        async with pool.transaction(ACME) as connection:
            [row] = await connection.fetch("SELECT pg_backend_pid()", ())
            await superuser.execute("SELECT pg_terminate_backend($1)", row[0])
    assert (caught.value.status, caught.value.code) == (503, "outcome_unknown")
    assert await bodies(pool, ACME) == [] and whole(pool)


@both
@pytest.mark.parametrize("kind", ["statement", "transaction"])
async def test_a_cancelled_caller_leaves_nothing_behind(
    make: MakePool, superuser: asyncpg.Connection, pooler: str, kind: str
) -> None:
    """Cancelled at many moments; afterwards a write in autocommit must really be there for others."""
    pool, tenant = make(pooler=pooler), uuid4()

    async def work() -> None:
        if kind == "statement":
            await note(pool, tenant, "one")
        else:
            async with pool.transaction(tenant) as connection:
                await connection.fetch(INSERT, (tenant, uuid4(), "one"))

    for moment in range(60):
        task = asyncio.create_task(work())
        for _ in range(moment % 12):
            await asyncio.sleep(0)
        await asyncio.sleep(moment % 10 * 0.0002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert whole(pool), f"after cancelling at {moment}"
    await note(pool, tenant, "last")
    assert (
        await superuser.fetchval("SELECT count(*) FROM acc.notes WHERE tenant_id = $1 AND body = 'last'", tenant) == 1
    )
    stuck = (
        "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND datname = current_database()"
    )
    assert await superuser.fetchval(stuck) == 0


async def test_a_caller_cancelled_while_beginning_does_not_leave_a_transaction(make: MakePool) -> None:
    pool = make(size=1)
    await bodies(pool, ACME)
    began = asyncio.Event()
    raw = pool.idle[0].raw
    execute = raw.execute

    async def slow(text: str) -> str:
        began.set()
        return str(await execute(f"SELECT pg_sleep(0.05); {text}"))

    pool.idle[0].raw = Slowed(raw, slow)

    async def work() -> None:
        async with pool.transaction(ACME):
            pass

    task = asyncio.create_task(work())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.1)
    assert whole(pool) and pool.idle == []


class Slowed:
    """A connection whose `execute` takes its time."""

    def __init__(self, raw: Any, execute: Any) -> None:
        self.raw, self.execute = raw, execute

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


async def test_a_closed_pool_keeps_nothing(make: MakePool, superuser: asyncpg.Connection) -> None:
    pool = make()
    async with pool.transaction(ACME):
        await pool.close()
    assert pool.idle == [] and whole(pool)


async def test_ping(make: MakePool) -> None:
    await make().ping()
    with pytest.raises(OSError):
        await make(url="postgresql://cxg@127.0.0.1:1/none").ping()
