"""A server whose owner may serve too, as one whose URL an operator gives: he takes on the role that requests run as."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

import asyncpg

from tenancy.embedded import OWNER, RUNTIME, SUPERUSER, EmbeddedServer


def as_superuser(server: EmbeddedServer, statement: str, database: str = "postgres") -> None:
    """Run what no owner may."""

    async def run() -> None:
        password = json.loads((server.data / "cxg_roles.json").read_text())[SUPERUSER]
        # the superuser comes in by the socket only
        folder = quote(str(server.data), safe="")
        socket = f"host={folder}&port={server.port}&user={SUPERUSER}&password={password}"
        connection = await asyncpg.connect(f"postgresql:///{database}?{socket}")
        await connection.execute(statement)
        await connection.close()

    asyncio.run(run())


def let_owner_serve(server: EmbeddedServer) -> None:
    """Make the owner a member of the runtime role."""
    as_superuser(server, f"grant {RUNTIME} to {OWNER}")
