"""What the planner knows of fresh tables: nothing, until autovacuum comes by a minute later. Their owner can say so at once."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

# tables that hold something, of which nothing was ever counted
UNKNOWN = """
    SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY($1) AND c.relkind = 'r' AND c.reltuples < 0 AND pg_relation_size(c.oid) > 0 ORDER BY 1
"""


async def analyze_filled(url: str, schemas: Sequence[str]) -> list[str]:
    """Gather statistics of the tables of these schemas that have rows and no statistics yet; which they were."""
    raw = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://", 1), timeout=10)
    try:
        found = [str(row[0]) for row in await raw.fetch(UNKNOWN, list(schemas))]
        if found:
            await raw.execute(f"ANALYZE {', '.join(found)}")
        return found
    finally:
        await raw.close(timeout=10)
