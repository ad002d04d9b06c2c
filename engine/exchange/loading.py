"""New rows that nobody looks at once they are stored: the road of every create, without the way back."""

from __future__ import annotations

from collections.abc import Sequence

from engine.catalog import Resource
from engine.entity import Unique
from engine.hooks import Point
from engine.many import Many
from engine.moment import UnitOfWork
from engine.operations import Operations
from engine.records import Ready, new_changes
from engine.shapes import Incoming


class Creating:
    """Rows are created."""

    def __init__(self, operations: Operations, resource: Resource) -> None:
        self.operations, self.resource = operations, resource
        number = resource.entity.number
        self.looked_at = resource.hooked(Point.AFTER_CREATE, Point.DONE)
        # nothing stands between what was read and the statement
        self.straight = not (
            self.looked_at
            or resource.hooked(Point.BEFORE_CREATE)
            or resource.numbered
            or (number is not None and number.at == "create")
        )

    def ready(self, unit: UnitOfWork, rows: Sequence[Incoming]) -> Ready | None:
        """The rows as they travel, where no rule has a say; pure, so that it is done while the database writes others."""
        if not self.straight or any(row.nested for row in rows):
            return None
        return self.operations.ready(unit, self.resource, new_changes(self.resource, rows), None)

    async def put(self, unit: UnitOfWork, rows: Sequence[Incoming], ready: Ready | None) -> tuple[int, int]:
        """See `Put`."""
        operations, resource = self.operations, self.resource
        if ready is not None:
            return len(await operations.insert_ready(unit, resource, ready)), 0
        if self.looked_at or any(row.nested for row in rows):
            changes = await operations.create_all(unit, resource, rows)
            fresh = sum(change.found is None for change in changes)
        else:
            changes = await operations.prepare(unit, resource, rows, False, ())
            new = [change for change in changes if change.found is None]
            fresh = len(await operations.insert(unit, resource, new, internal=None)) if new else 0
        return fresh, len(changes) - fresh


class Upserting:
    """Rows are created, or update those that have the same unique key."""

    def __init__(self, many: Many, resource: Resource, key: Unique) -> None:
        self.many, self.resource, self.key = many, resource, key

    def ready(self, _unit: UnitOfWork, _rows: Sequence[Incoming]) -> Ready | None:
        """What is there has to be looked up first."""
        return None

    async def put(self, unit: UnitOfWork, rows: Sequence[Incoming], _ready: Ready | None) -> tuple[int, int]:
        """See `Put`."""
        paths = [f"[{place}]" for place in range(len(rows))] if len(rows) > 1 else [""]
        written = await self.many.upsert(unit, self.resource, self.key, rows, paths)
        fresh = sum(not row.found for row in written)
        return fresh, len(written) - fresh
