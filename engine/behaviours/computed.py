"""Columns that follow from others: of the same row (formulas) and of child rows (roll-ups), kept in the same transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from graphlib import TopologicalSorter
from typing import Any

import sqlalchemy as sa

from engine.behaviours.known import Known, beside
from engine.behaviours.money import Purse, rounded
from engine.entity import Computed, Entity, RollUp
from engine.hooks import Change, Moment, Point, Row, Rule

CHILD_POINTS = (Point.AFTER_CREATE, Point.AFTER_DELETE, Point.AFTER_STATUS)


def computed_rules(known: Known, path: str, entity: Entity) -> list[Rule]:
    """A rule for each formula, which runs after those that write what it reads."""
    purse = Purse(known, path, entity)
    rules = []
    for computed in entity.computed:
        reads, writes = frozenset(computed.reads.split()), frozenset({computed.column})
        run = _compute(entity, computed, purse)
        rules.append(Rule("computed", path, (Point.BEFORE_CREATE,), run, reads=reads, writes=writes))
        rules.append(Rule("computed", path, (Point.BEFORE_UPDATE,), run, watches=reads, reads=reads, writes=writes))
    return rules


def _compute(entity: Entity, computed: Computed, purse: Purse) -> Any:
    async def compute(moment: Moment, changes: list[Change]) -> None:
        money = computed.column in purse.columns
        places = await purse.places(moment, changes) if money else [{} for _ in changes]
        for change, known in zip(changes, places, strict=True):
            change.values[computed.column] = value_of(entity, computed, change, known)

    return compute


def in_dependency_order(entity: Entity) -> list[Computed]:
    """The formulas of an entity, each after those whose column it reads."""
    by_column = {computed.column: computed for computed in entity.computed}
    waits = {c.column: set(c.reads.split()) & by_column.keys() for c in entity.computed}
    return [by_column[name] for name in TopologicalSorter(waits).static_order()]


async def right_values(moment: Moment, known: Known, path: str, rows: Sequence[Row]) -> list[Row]:
    """For stored rows of the entity at `path`, what its roll-ups and formulas should hold."""
    entity = known[path]
    sums = [await one.right(moment, [row["id"] for row in rows]) for one in sums_of(known, path, entity)]
    found: list[dict[str, Any]] = [{k: v for one in sums for k, v in one[row["id"]].items()} for row in rows]
    whole = [{**row, **right} for row, right in zip(rows, found, strict=True)]
    ordered = in_dependency_order(entity)
    places = await Purse(known, path, entity).places(moment, whole) if ordered else []
    for row, right, decimals in zip(whole, found, places, strict=False):
        for computed in ordered:
            right[computed.column] = row[computed.column] = value_of(entity, computed, row, decimals)
    return list(found)


def value_of(entity: Entity, computed: Computed, row: Any, places: Mapping[str, int]) -> Any:
    """What the column should hold, given a row that answers row["column"]."""
    given = [_argument(entity, name, row[name]) for name in computed.reads.split()]
    value, type_ = computed.formula(*given), entity.table.c[computed.column].type
    if value is None or not isinstance(type_, sa.Numeric):
        return value
    return rounded(value, places.get(computed.column, type_.scale if type_.scale is not None else 6))


def _argument(entity: Entity, name: str, value: Any) -> Any:
    type_ = entity.table.c[name].type if name in entity.table.c else None
    if isinstance(type_, sa.Numeric) and not isinstance(type_, sa.Float):
        return Decimal(value if value is not None else 0)
    return 0 if value is None and isinstance(type_, sa.Integer) else value


class Sums:
    """The roll-ups of one header over one child entity."""

    def __init__(self, header: Entity, child: Entity, rollups: Sequence[RollUp]) -> None:
        self.header, self.child, self.rollups = header, child, rollups
        self.via = rollups[0].via or (child.parent[1] if child.parent else "")

    def question(self, keys: Collection[Any]) -> Any:
        """SELECT of each header's key and the sums of its active children, by column."""
        child = self.child.table
        sums = []
        for rollup in self.rollups:
            total: Any = sa.func.sum(child.c[rollup.sum]) if rollup.sum else sa.func.count()
            total = total.filter(sa.text(rollup.where)) if rollup.where else total
            sums.append(sa.func.coalesce(total, sa.literal_column("0")).label(rollup.column))
        key = child.c[self.via]
        return sa.select(key.label("id"), *sums).where(child.c.is_active, key.in_(keys)).group_by(key)

    async def right(self, moment: Moment, keys: Collection[Any]) -> dict[Any, Row]:
        """Header key -> column -> the sum as the children have it now."""
        nothing = {rollup.column: 0 for rollup in self.rollups}
        found = {row["id"]: row for row in await moment.fetch(self.question(keys))}
        return {key: {name: found.get(key, nothing)[name] for name in nothing} for key in keys}

    async def follow(self, moment: Moment, changes: list[Change]) -> None:
        """Bring the headers of changed children up to date. They are locked first: of two who add lines at once, the
        second waits, and then counts both."""
        # those that replace them will be counted with their header
        counted = [change for change in changes if not change.replaced]
        keys = {change[self.via] for change in counted}
        keys |= {change.old[self.via] for change in counted if change.old is not None}
        table, names = self.header.table, [rollup.column for rollup in self.rollups]
        wanted = sa.select(table.c.id, *(table.c[name] for name in names)).where(
            table.c.id.in_(keys - {None}), table.c.is_active
        )
        stored = await moment.fetch(wanted.order_by(table.c.id).with_for_update(key_share=True))
        right = await self.right(moment, [row["id"] for row in stored]) if stored else {}
        moved = [
            {"id": row["id"], **right[row["id"]]}
            for row in stored
            if any(row[name] != right[row["id"]][name] for name in names)
        ]
        if moved:
            await moment.update(self.header.key, moved)


def sums_of(known: Known, path: str, header: Entity) -> list[Sums]:
    """The roll-ups of a header, by child and reference column."""
    groups: dict[tuple[str, str], list[RollUp]] = {}
    for rollup in header.rollups:
        groups.setdefault((rollup.child, rollup.via), []).append(rollup)
    found = [(beside(known, path, key), rollups) for (key, _), rollups in groups.items()]
    return [Sums(header, child, rollups) for child, rollups in found if child is not None]


def rollup_rules(known: Known, path: str, entity: Entity) -> list[Rule]:
    """Rules of the children: whatever changes a sum brings it to the header."""
    rules = []
    for sums in sums_of(known, path, entity):
        place = f"{path.split('/')[0]}/{sums.child.domain}/{sums.child.name}"
        rules.append(Rule("rollup", place, CHILD_POINTS, sums.follow))
        watches = {sums.via} | {rollup.sum for rollup in sums.rollups if rollup.sum}
        watches |= {c.name for c in sums.child.table.c if any(c.name in r.where for r in sums.rollups)}
        rules.append(Rule("rollup", place, (Point.AFTER_UPDATE,), sums.follow, watches=frozenset(watches)))
    return rules
