"""How the workers of one database know of each other: locks that PostgreSQL lets go when a worker's connection ends."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Any

import asyncpg

ALIVE = "select pg_try_advisory_lock(hashtextextended('cxg.worker ' || $1, 0))"
LEAD = "select pg_try_advisory_lock(hashtextextended('cxg.scheduler', 0))"
RESIGN = "select pg_advisory_unlock(hashtextextended('cxg.scheduler', 0))"
# a lock that can be had belongs to nobody; it is let go at the end of the statement
GONE = """select name from unnest($1::text[]) as name
where pg_try_advisory_xact_lock(hashtextextended('cxg.worker ' || name, 0))"""
# a host that vanished is noticed by the server within about 25 seconds
KEEPALIVE = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
TIMEOUT = 5.0
BROKEN = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)


class Presence:
    """A worker's connection of its own: it counts as alive while it holds the lock of its name, and one of all leads.

    Locks last for a session, so the URL must lead to PostgreSQL itself or to a pooler in session mode."""

    def __init__(self, url: str, name: str) -> None:
        self.url, self.name = url, name
        self.connection: Any = None
        self.leading = False

    async def keep(self) -> bool:
        """Make sure that this worker counts as alive. False when it did not for a while: others may have taken its runs.
        OSError or a PostgresError while the database is away."""
        if self.connection is not None:
            try:
                await self.connection.fetchval("select 1", timeout=TIMEOUT)
                return True
            except BROKEN:
                self.connection.terminate()
                self.connection = None
        self.leading = False
        await self._connect()
        return False

    async def _connect(self) -> None:
        local = False if "127.0.0.1" in self.url else None
        settings = {"application_name": f"cxg worker {self.name}"[:63], **KEEPALIVE}
        connection = await asyncpg.connect(self.url, ssl=local, timeout=TIMEOUT, server_settings=settings)
        try:
            # the session that was lost may still hold the lock for a moment
            while not await connection.fetchval(ALIVE, self.name, timeout=TIMEOUT):
                await asyncio.sleep(0.2)
        except BaseException:
            connection.terminate()
            raise
        self.connection = connection

    async def leads(self) -> bool:
        """Whether this worker is the leader; it becomes the leader when there is none."""
        if not self.leading:
            self.leading = bool(await self.connection.fetchval(LEAD, timeout=TIMEOUT))
        return self.leading

    async def gone(self, names: Collection[str]) -> set[str]:
        """Those of the workers that are not alive."""
        rows = await self.connection.fetch(GONE, [name for name in names if name != self.name], timeout=TIMEOUT)
        return {row["name"] for row in rows}

    async def resign(self) -> None:
        """Let another worker lead."""
        if self.leading:
            self.leading = False
            await self.connection.fetchval(RESIGN, timeout=TIMEOUT)

    async def close(self) -> None:
        """End the connection, and all locks with it."""
        connection, self.connection, self.leading = self.connection, None, False
        if connection is not None:
            with suppress(*BROKEN):
                await connection.close(timeout=TIMEOUT)
