"""The extension pg_trgm, which ranks what a search finds: offered to a database by its owner, never needed."""

from __future__ import annotations

import asyncpg

CREATE = "CREATE EXTENSION IF NOT EXISTS pg_trgm"


async def offer_trigrams(url: str) -> bool:
    """Install pg_trgm where the server has it and lets the owner; whether it is there. A refusal changes nothing."""
    raw = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://", 1), timeout=10)
    try:
        await raw.execute(CREATE)
    except asyncpg.PostgresError:
        # the programs came without it, this owner may not, or another program is just creating it
        return bool(await raw.fetchval("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm')"))
    finally:
        await raw.close(timeout=10)
    return True
