"""A pool that belongs to somebody else: its connections come back as they were, and its codecs do not matter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import Column, MetaData, Table, Text, Uuid

from engine.errors import ApiError, StartupFault
from tenancy.borrowed import BorrowedPool, BorrowOptions
from tenancy.ddl import create_tables
from tenancy.neutral import TYPES, Neutraliser, foreign_types
from tenancy.policies import grant_statements, policy_statements
from tenancy.shape import bind_to_tenant

if TYPE_CHECKING:
    from tests.tenancy.conftest import ScratchDatabase

pytestmark = pytest.mark.anyio
ROLE = "cxg_runtime"
ACME, OTHER = uuid4(), uuid4()
INSERT = "INSERT INTO acc.notes (tenant_id, id, body) VALUES ($1, $2, $3)"
STATE = """
select current_user::text, nullif(current_setting('app.tenant_id', true), ''),
  current_setting('TimeZone'), current_setting('statement_timeout')
"""


@pytest.fixture(scope="module")
async def database(new_database: Callable[[], Awaitable[ScratchDatabase]]) -> ScratchDatabase:
    """One closed tenant table, and a user who may take on the runtime role, as a host's pool has one."""
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
    for statement in statements:
        await connection.execute(statement)
    await connection.close()
    return made


async def user(database: ScratchDatabase, name: str, more: str = "") -> str:
    """The URL of a new user."""
    connection = await asyncpg.connect(database.superuser)
    address, _, path = database.owner.rpartition("/")
    await connection.execute(
        f"create role {name} login password 'p'; grant connect on database {path} to {name}; {more}"
    )
    await connection.close()
    return f"postgresql://{name}:p@{address.rpartition('@')[2]}/{path}"


@pytest.fixture(scope="module")
async def hotel(database: ScratchDatabase) -> str:
    """The host's own user, who may take on the role that requests run as."""
    return await user(database, "hotel", f"grant {ROLE} to hotel")


@pytest.fixture
async def host(hotel: str) -> AsyncIterator[asyncpg.Pool]:
    """The host's own pool: two connections, with settings of the host's on them."""

    async def setup(connection: Any) -> None:
        await connection.execute("set timezone = 'Asia/Tokyo'; set statement_timeout = '7s'; set datestyle = 'German'")

    async with asyncpg.create_pool(hotel, min_size=2, max_size=2, setup=setup, ssl=False) as pool:
        yield pool


def borrowed(host: Any, **options: Any) -> BorrowedPool:
    return BorrowedPool(host, BorrowOptions(ROLE, **{"tenant_bound": True, "acquire_timeout": 0.2, **options}))


async def state(pool: asyncpg.Pool) -> set[tuple[Any, ...]]:
    """What is set on each connection of the host's."""
    async with pool.acquire() as one, pool.acquire() as other:
        return {tuple(await c.fetchrow(STATE)) for c in (one, other)}


async def test_each_tenant_sees_its_own_and_the_host_finds_its_connections_as_they_were(host: asyncpg.Pool) -> None:
    before, pool = await state(host), borrowed(host)
    for tenant, body in ((ACME, "ours"), (OTHER, "theirs")):
        await pool.run(tenant, INSERT, [tenant, uuid4(), body])
    # no condition: row security alone holds
    assert [row["body"] for row in await pool.run(ACME, "select body from acc.notes", [])] == ["ours"]
    async with pool.transaction(OTHER) as connection:
        assert (await connection.fetch("select current_user::text", []))[0][0] == ROLE
        await connection.bind(ACME)
        assert [row[0] for row in await connection.fetch("select body from acc.notes", [])] == ["ours"]
    assert await pool.run(None, "select body from acc.notes", []) == []
    assert await state(host) == before and len(before) == 1
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.run(ACME, INSERT, [OTHER, uuid4(), "smuggled"])


async def test_what_fails_hangs_or_is_cancelled_leaves_no_transaction_behind(host: asyncpg.Pool) -> None:
    before, pool = await state(host), borrowed(host)
    with pytest.raises(ZeroDivisionError):
        async with pool.transaction(ACME) as connection:
            await connection.fetch(INSERT, [ACME, uuid4(), "undone"])
            raise ZeroDivisionError
    with pytest.raises(asyncpg.QueryCanceledError) as slow:
        await pool.run(ACME, "select pg_sleep(5)", [], 0.1)
    assert slow.value.allowed_seconds == 0.1
    sleeping = asyncio.create_task(pool.run(ACME, "select pg_sleep(5)", []))
    await asyncio.sleep(0.1)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    assert await pool.run(ACME, "select 1 from acc.notes where body = 'undone'", []) == []
    assert await state(host) == before


async def test_whenever_it_comes_a_cancellation_is_one(host: asyncpg.Pool) -> None:
    """One that turned into an error of the connection let its task go on: the engine waited for the end of it for ever."""
    pool = borrowed(host)
    await pool.run(ACME, "select 1", ())
    for moment in range(60):
        task = asyncio.create_task(pool.run(ACME, "select 1", ()))
        for _ in range(moment // 3):
            await asyncio.sleep(0)
        await asyncio.sleep(moment % 3 * 0.0003)
        if not task.done():
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert [tuple(row) for row in await pool.run(ACME, "select 1", ())] == [(1,)]


async def test_an_exhausted_pool_is_said_in_time(host: asyncpg.Pool) -> None:
    pool = borrowed(host)
    await pool.ping()
    async with pool.transaction(ACME), pool.transaction(OTHER):
        with pytest.raises(ApiError, match="busy") as refused:
            await pool.ping()
    assert refused.value.code == "pool_exhausted"
    await pool.ping()


async def test_one_of_two_leads_and_gives_the_connection_back(host: asyncpg.Pool) -> None:
    pool = borrowed(host)
    lease = await pool.elect("a log", print)
    assert lease is not None and await lease.holds() and not lease.hears
    assert await pool.elect("a log", print) is None
    await lease.release()
    assert not await lease.holds() or host.get_idle_size() == 2
    again = await pool.elect("a log", print)
    assert again is not None
    await again.release()
    assert host.get_idle_size() == 2


async def test_a_pool_that_cannot_serve_is_refused(database: ScratchDatabase, hotel: str) -> None:
    guest = await user(database, "guest")
    async with asyncpg.create_pool(guest, min_size=0, max_size=2, ssl=False) as stranger:
        with pytest.raises(StartupFault, match='grant "cxg_runtime" to "guest"'):
            await borrowed(stranger).settle()
        await borrowed(stranger, tenant_bound=False).settle()
    async with asyncpg.create_pool(hotel, min_size=0, max_size=1, ssl=False) as small:
        with pytest.raises(StartupFault, match="max_size=2"):
            await borrowed(small).settle()
    with pytest.raises(StartupFault, match="not str"):
        await borrowed(lambda: "postgresql://").settle()


# -- codecs


async def foreign(connection: Any) -> None:
    """Codecs as programs set them."""
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    await connection.set_type_codec("numeric", encoder=str, decoder=float, schema="pg_catalog", format="text")
    for name in ("uuid", "timestamptz", "timestamp", "date", "time"):
        await connection.set_type_codec(name, encoder=str, decoder=str, schema="pg_catalog", format="text")


STATEMENTS: list[tuple[str, list[Any]]] = [
    ("select $1::uuid as id, $2::jsonb as doc, $3::numeric as n", [ACME, '{"a": 1.50, "b": "$1 \'"}', Decimal("1.50")]),
    ("with x as (select unnest($1::uuid[]) as id) select id, '$9' as text from x order by id", [[ACME, OTHER]]),
    (
        "select array_agg(n order by n) as all, count(*) from unnest($1::numeric[]) as n",
        [[Decimal("2"), Decimal("0.10")]],
    ),
    (
        "WITH gone AS (DELETE FROM acc.notes WHERE false RETURNING id) SELECT count(gone.id) AS n, $1::timestamptz AS at FROM gone",
        [datetime(2026, 1, 2, 3, 4, 5, 678, UTC)],
    ),
    (
        "select $1::date + 1 as on, null::jsonb as nothing, 'x' as \"Odd Name\", '\"t\"'::jsonb as t",
        [date(2026, 2, 28)],
    ),
    ("insert into acc.notes (tenant_id, id, body) values ($1, $2, 'k') returning id, body", [ACME, UUID(int=5)]),
    ("delete from acc.notes where id = $1 and tenant_id = $2 returning id", [UUID(int=6), ACME]),
    ("select x.a from json_to_recordset($1::json) as x(a uuid)", [json.dumps([{"a": str(OTHER)}])]),
]


async def rehearsed(pool: BorrowedPool, text: str, values: list[Any]) -> list[Any]:
    """The rows of a statement that is undone."""
    rows: list[Any] = []
    with pytest.raises(InterruptedError):
        async with pool.transaction(ACME) as connection:
            rows += await connection.fetch(text, values)
            raise InterruptedError
    return rows


async def test_foreign_codecs_change_no_answer(hotel: str) -> None:
    async with (
        asyncpg.create_pool(hotel, min_size=0, max_size=2, ssl=False) as usual,
        asyncpg.create_pool(hotel, min_size=0, max_size=2, ssl=False, init=foreign) as odd,
    ):
        one, other = borrowed(usual), borrowed(odd)
        for text, values in STATEMENTS:
            expected = [dict(row.items()) for row in await rehearsed(one, text, values)]
            # twice: the second comes from what is known of the statement
            for _ in range(2):
                got = await rehearsed(other, text, values)
                assert [dict(row.items()) for row in got] == expected, text
            assert [[type(v) for v in row.values()] for row in expected] == [
                [type(v) if not isinstance(v, UUID) else type(e) for v, e in zip(row, want.values(), strict=True)]
                for row, want in zip(got, expected, strict=True)
            ]
        assert one.neutral is None and other.neutral is not None and other.neutral.foreign == set(TYPES)
        plan = await other.run(ACME, "EXPLAIN (FORMAT JSON) select $1::uuid", [ACME])
        assert json.loads(plan[0][0])[0]["Plan"]
        assert await odd.fetchval("select '{\"a\": 1}'::jsonb") == {"a": 1}


async def test_a_codec_of_what_everything_is_made_of_is_refused(database: ScratchDatabase) -> None:
    connection = await asyncpg.connect(database.owner)
    await connection.set_type_codec("int8", encoder=str, decoder=str, schema="pg_catalog", format="text")
    with pytest.raises(StartupFault, match="int8"):
        await foreign_types(connection)
    await connection.close()


async def test_a_row_is_read_by_place_and_by_name(database: ScratchDatabase) -> None:
    connection = await asyncpg.connect(database.owner)
    await foreign(connection)
    [row] = await Neutraliser(frozenset({"uuid"})).fetch(connection, "select $1::uuid as id, 2 as n", [ACME])
    assert (row[0], row["n"], row.get("id"), row.get("x", 7), list(row), dict(row)) == (
        *(ACME, 2, ACME, 7),
        *([ACME, 2], {"id": ACME, "n": 2}),
    )
    await connection.close()
