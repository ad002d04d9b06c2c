"""Trees (G17): no node lies below itself, and a tree has at most ten levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from engine.behaviours.known import Known
from engine.entity import Entity
from engine.errors import ApiError, Fault, generic
from engine.hooks import Change, Hook, Moment, Point, Rule

MAX_DEPTH = 10
TREE_CODES = ((422, "tree_cycle"), (422, "tree_too_deep"))


def tree_rule(entity: Entity) -> Hook:
    """No node lies below itself, and a tree has at most ten levels."""
    table, parent = entity.table, str(entity.tree)

    async def hold_the_tree(moment: Moment, changes: list[Change]) -> None:
        moved = [change for change in changes if change.changes(parent) and change[parent] is not None]
        if not moved:
            return
        above: dict[Any, list[Any]] = {}
        for row in await moment.fetch(_climb(table, parent, {change[parent] for change in moved})):
            above.setdefault(row["start"], []).append(row["id"])
        heights = await _heights(moment, table, parent, [change.key for change in moved if change.old is not None])
        for change in moved:
            line = above.get(change[parent], ())
            if change.key in line:
                raise _refused("tree_cycle", parent)
            if len(line) + 1 + heights.get(change.key, 0) > MAX_DEPTH:
                raise _refused("tree_too_deep", parent)

    return hold_the_tree


def _refused(code: str, field: str) -> ApiError:
    error = generic(code)
    return generic(code, details=[Fault(field, code, error.message)])


def _climb(table: Any, parent: str, starts: set[Any]) -> Any:
    """(start, id) of each node from `start` to its root; stops a level past the limit, so a cycle in old data ends too."""
    node, up = table.alias(), table.alias()
    line = sa.select(
        node.c.id.label("start"), node.c.id, node.c[parent].label("up"), sa.literal_column("1").label("level")
    )
    base = line.where(node.c.id.in_(starts)).cte("line", recursive=True)
    step = sa.select(base.c.start, up.c.id, up.c[parent], base.c.level + sa.literal_column("1"))
    full = base.union_all(step.where(up.c.id == base.c.up, base.c.level <= sa.literal_column(str(MAX_DEPTH + 1))))
    return sa.select(full.c.start, full.c.id)


async def _heights(moment: Moment, table: Any, parent: str, nodes: Sequence[Any]) -> dict[Any, int]:
    """How many levels of active rows lie below each node."""
    if not nodes:
        return {}
    node, down = table.alias(), table.alias()
    top = sa.select(node.c.id.label("start"), node.c.id, sa.literal_column("0").label("level"))
    base = top.where(node.c.id.in_(nodes)).cte("below", recursive=True)
    step = sa.select(base.c.start, down.c.id, base.c.level + sa.literal_column("1"))
    full = base.union_all(
        step.where(down.c[parent] == base.c.id, down.c.is_active, base.c.level <= sa.literal_column(str(MAX_DEPTH)))
    )
    rows = await moment.fetch(sa.select(full.c.start, sa.func.max(full.c.level).label("height")).group_by(full.c.start))
    return {row["start"]: row["height"] for row in rows}


def tree_rules(known: Known, path: str, entity: Entity) -> list[Rule]:
    """The rule of an entity that is a tree."""
    if entity.tree is None:
        return []
    points = (Point.BEFORE_CREATE, Point.BEFORE_UPDATE)
    return [Rule("G17", path, points, tree_rule(entity), watches=frozenset({entity.tree}), raises=TREE_CODES)]
