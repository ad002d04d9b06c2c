"""A server whose owner may serve too, as one whose URL an operator gives: he takes on the role that requests run as."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

import asyncpg

from tenancy.embedded import OWNER, RUNTIME, SUPERUSER, EmbeddedServer


def let_owner_serve(server: EmbeddedServer) -> None:
    """Make the owner a member of the runtime role."""

    async def grant() -> None:
        password = json.loads((server.data / "cxg_roles.json").read_text())[SUPERUSER]
        # the superuser comes in by the socket only
        folder = quote(str(server.data), safe="")
        socket = f"host={folder}&port={server.port}&user={SUPERUSER}&password={password}"
        connection = await asyncpg.connect(f"postgresql:///postgres?{socket}")
        await connection.execute(f"grant {RUNTIME} to {OWNER}")
        await connection.close()

    asyncio.run(grant())
