"""New rows that nobody looks at once they are stored: the road of every create, without the way back."""

from __future__ import annotations

from collections.abc import Sequence

from engine.catalog import Resource
from engine.entity import Unique
from engine.exchange.importing import Put
from engine.hooks import Point
from engine.many import Many
from engine.moment import UnitOfWork
from engine.operations import Operations
from engine.records import Written
from engine.shapes import Incoming


def creating(operations: Operations, resource: Resource) -> Put:
    """Rows are created."""
    looked_at = resource.hooked(Point.AFTER_CREATE, Point.DONE)

    async def create(unit: UnitOfWork, rows: Sequence[Incoming]) -> tuple[int, int]:
        if looked_at or any(row.nested for row in rows):
            return _counted(await operations.create(unit, resource, rows))
        changes = await operations.prepare(unit, resource, rows, False, ())
        fresh = [change for change in changes if change.found is None]
        if fresh:
            await operations.insert(unit, resource, fresh, internal=None)
        return len(fresh), len(changes) - len(fresh)

    return create


def upserting(many: Many, resource: Resource, key: Unique) -> Put:
    """Rows are created, or update those that have the same unique key."""

    async def upsert(unit: UnitOfWork, rows: Sequence[Incoming]) -> tuple[int, int]:
        paths = [f"[{place}]" for place in range(len(rows))] if len(rows) > 1 else [""]
        return _counted(await many.upsert(unit, resource, key, rows, paths))

    return upsert


def _counted(written: Sequence[Written]) -> tuple[int, int]:
    """How many rows are new, and how many were there."""
    fresh = sum(not row.found for row in written)
    return fresh, len(written) - fresh
