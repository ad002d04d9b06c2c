"""The same databases served with one of the two tenant walls down, or both: isolation must hold while one stands."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import asyncpg

from engine.main import System
from engine.testing.harness import Live, served

BYPASS, PASSWORD = "cxg_bypass", "bypass"


@contextlib.contextmanager
def walls(live: Live, *, statement: bool = True, row_security: bool = True) -> Iterator[Live]:
    """One more server. `statement` False: statements do not name the tenant. `row_security` False: requests run as a
    role that row security does not bind."""
    system = System(live.system.settings, walled=statement)
    system.server = live.system.server
    system.locate()
    if not row_security:
        for name in {s.stored_in for s in system.catalog.scopes.values() if s.tenant_bound}:
            system.places[name].runtime = asyncio.run(bypassing(system, name))
    with served(system) as other:
        yield other


async def bypassing(system: System, database: str) -> str:
    """URL of a role of the embedded server that holds the runtime role's rights, but for row security."""
    assert system.server is not None
    folder, port = system.server.data, system.server.port
    password = json.loads((folder / "cxg_roles.json").read_text())["postgres"]
    connection = await asyncpg.connect(
        host=str(folder), port=port, user="postgres", password=password, database=database
    )
    try:
        if not await connection.fetchval("select true from pg_roles where rolname = $1", BYPASS):
            await connection.execute(f"create role {BYPASS} login bypassrls password '{PASSWORD}' in role cxg_runtime")
        await connection.execute(f"grant connect on database {database} to {BYPASS}")
    finally:
        await connection.close()
    return urlsplit(system.places[database].runtime)._replace(netloc=f"{BYPASS}:{PASSWORD}@127.0.0.1:{port}").geturl()
