"""A lease: one holder at a time, gone with its connection, who hears what the others say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tenancy.pool import Pool, PoolOptions
from tests.tenancy.conftest import ScratchDatabase

pytestmark = pytest.mark.anyio
MakePool = Callable[..., Awaitable[Pool]]


def deaf(_text: str) -> None:
    """Hears nothing."""


async def until(done: Callable[[], object]) -> None:
    """Wait at most five seconds."""
    async with asyncio.timeout(5):
        while not done():
            await asyncio.sleep(0.02)


@pytest.fixture(params=["none", "transaction"])
def pools(scratch_database: ScratchDatabase, request: pytest.FixtureRequest) -> tuple[Pool, Pool]:
    """Two processes' pools, directly or as behind a pooler."""
    options = PoolOptions(scratch_database.runtime, pooler=request.param)
    return Pool(options), Pool(options)


async def test_one_holds_it_at_a_time(pools: tuple[Pool, Pool]) -> None:
    one, other = pools
    lease = await one.elect("log", deaf)
    assert lease is not None and await lease.holds()
    assert await other.elect("log", deaf) is None
    elsewhere = await other.elect("another log", deaf)
    assert elsewhere is not None
    await lease.release()
    assert not await lease.holds()
    taken = await other.elect("log", deaf)
    assert taken is not None
    for held in (elsewhere, taken):
        await held.release()
    for pool in pools:
        await pool.close()


async def test_it_goes_with_its_connection(pools: tuple[Pool, Pool], scratch_database: ScratchDatabase) -> None:
    one, other = pools
    lease = await one.elect("log", deaf)
    assert lease is not None
    superuser = await asyncpg.connect(scratch_database.superuser)
    await superuser.execute("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'")
    await superuser.close()
    assert not await lease.holds()
    taken = await other.elect("log", deaf)
    assert taken is not None
    await taken.release()
    for pool in pools:
        await pool.close()


async def test_the_holder_hears_the_others(scratch_database: ScratchDatabase) -> None:
    one, other = (Pool(PoolOptions(scratch_database.runtime)) for _ in range(2))
    heard: list[str] = []
    lease = await one.elect("scope/domain/log", heard.append)
    assert lease is not None and lease.hears
    await other.tell("scope/domain/log", ["a", "b"])
    await other.tell("another", ["c"])
    await until(lambda: len(heard) >= 2)
    assert heard == ["a", "b"]
    await lease.release()
    for pool in (one, other):
        await pool.close()
