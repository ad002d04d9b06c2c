"""Lines through the tree of categories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select

from engine.hooks import Moment, Row
from registry.tenants.pim import Category

SHOWN = ("id", "parent_id", "code", "path", "depth", "attributes")


async def lines_above(moment: Moment, starts: Collection[UUID]) -> dict[UUID, list[Row]]:
    """Start -> that category and all above it; one that is not there is missing."""
    own = await _own(moment, starts)
    return _by_start(await moment.fetch(_climb(own))) if own else {}


async def hold_lines_above(moment: Moment, starts: Collection[UUID]) -> dict[UUID, list[Row]]:
    """The same, and nobody moves or changes these categories until the end of the transaction. Who waited for a lock may
    find other categories above than before, so that it is asked until the answer stays."""
    own, held = await _own(moment, starts), set[UUID]()
    while own:
        rows = await moment.fetch(_climb(own).with_for_update(read=True, of=Category.__table__))
        found = {row["id"] for row in rows}
        if found == held:
            return _by_start(rows)
        held = found
    return {}


async def subtrees(moment: Moment, tops: Collection[UUID]) -> dict[UUID, list[Row]]:
    """Top -> the active categories below it, without itself, the nearer ones first."""
    table, down = Category.__table__, Category.__table__.alias()
    if not tops:
        return {}
    first = select(table.c.id.label("start"), table.c.id).where(table.c.id.in_(tops)).cte("below", recursive=True)
    step = select(first.c.start, down.c.id).where(down.c.parent_id == first.c.id, down.c.is_active)
    return _by_start(await moment.fetch(_shown(first.union(step)).where(table.c.id.not_in(tops))))


async def _own(moment: Moment, keys: Collection[UUID]) -> set[UUID]:
    """Those of the keys that are the tenant's active categories; what lies above and below these is his too."""
    found = await moment.list("pim.categories", Category.__table__.c.id.in_(keys), limit=len(keys)) if keys else []
    return {row["id"] for row in found}


def _climb(starts: Collection[UUID]) -> Select[Any]:
    table, up = Category.__table__, Category.__table__.alias()
    columns = (table.c.id.label("start"), table.c.id, table.c.parent_id)
    first = select(*columns).where(table.c.id.in_(starts)).cte("line", recursive=True)
    # UNION drops what was met before, so that it ends even where data run in a circle
    step = select(first.c.start, up.c.id, up.c.parent_id).where(up.c.id == first.c.parent_id)
    return _shown(first.union(step))


def _shown(line: Any) -> Select[Any]:
    table = Category.__table__
    columns = (table.c[name] for name in SHOWN)
    return select(line.c.start, *columns).join_from(table, line, line.c.id == table.c.id).order_by(table.c.depth)


def _by_start(rows: list[Row]) -> dict[UUID, list[Row]]:
    found: dict[UUID, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["start"]].append(row)
    return found
