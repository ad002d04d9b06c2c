"""Where a database is, and the role that requests run as there."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from engine.addresses import UNREACHABLE, unreachable


@dataclass
class Place:
    """Where a database is: the URL its owner uses, and the one that requests use (with a role to take on)."""

    owner: str
    runtime: str
    role: str | None


async def ensure_role(owner_url: str, role: str) -> None:
    """Make the role that requests run as, and let the owner take it on. StartupFault for a database that cannot be reached."""
    try:
        connection = await asyncpg.connect(owner_url, timeout=10)
    except UNREACHABLE as error:
        raise unreachable(owner_url, error) from None
    try:
        if not await connection.fetchval("select 1 from pg_roles where rolname = $1", role):
            quoted = role.replace('"', '""')
            await connection.execute(f'create role "{quoted}" nologin nosuperuser nobypassrls')
            await connection.execute(f'grant "{quoted}" to current_user')
    finally:
        await connection.close()
