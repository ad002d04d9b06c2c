"""A part that only one process plays at a time: an advisory lock held by a connection of its own, which also hears what the
other processes say. The database lets go of the lock as soon as the connection is gone, however its process ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import asyncpg

# first half of the key, so that no other program's locks are met
CLASS = 0x637867
CHANNEL = "cxg_{name}"
PROBE = f"select pg_try_advisory_xact_lock({CLASS}, hashtext($1)) as free"
NOTIFY = "select pg_notify($1, text) from unnest($2::text[]) as text"
BROKEN = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, TimeoutError)


class Lease:
    """The lock, as long as `raw` lives. `hears`: the connection brings what others say."""

    def __init__(self, raw: Any, *, hears: bool) -> None:
        self.raw, self.hears = raw, hears

    async def holds(self) -> bool:
        """Whether the connection still answers."""
        try:
            async with asyncio.timeout(2):
                await self.raw.fetch("select 1")
        except BROKEN:
            self.raw.terminate()
        return not self.raw.is_closed()

    async def release(self) -> None:
        """Let go at once."""
        with suppress(*BROKEN):
            await self.raw.close(timeout=2)


async def take_lease(raw: Any, name: str, heard: Callable[[str], None], *, pooled: bool) -> Lease | None:
    """The lease `name` on a fresh connection, or None (the connection is closed then). Behind a transaction pooler only an open
    transaction keeps a connection, and nothing is heard."""
    try:
        if pooled:
            await raw.execute("BEGIN")
        kind = "xact_lock" if pooled else "lock"
        got = await raw.fetchval(f"select pg_try_advisory_{kind}({CLASS}, hashtext($1))", name)
        if got and not pooled:
            await raw.add_listener(CHANNEL.format(name=name), lambda *said: heard(said[3]))
    except BaseException:
        raw.terminate()
        raise
    lease = Lease(raw, hears=not pooled)
    if not got:
        await lease.release()
    return lease if got else None


def notice(name: str, texts: Sequence[str]) -> tuple[str, list[Any]]:
    """The statement that says something to the holder of the lease `name`."""
    return NOTIFY, [CHANNEL.format(name=name), list(texts)]
