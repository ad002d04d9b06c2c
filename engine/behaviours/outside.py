"""References that no foreign key can hold: to a row of another database, or to one that a row must outlive."""

from __future__ import annotations

import sqlalchemy as sa

from engine.behaviours.known import Known
from engine.entity import Entity
from engine.errors import Fault, generic
from engine.hooks import Change, Hook, Moment, Point, Rule

CODES = ((422, "invalid_reference"),)


def outside_rules(known: Known, path: str, entity: Entity) -> list[Rule]:
    """A rule for each `outside()` column that callers may set and whose entity is registered."""
    rules = []
    for column in entity.table.c:
        scope, _, key = str(column.info.get("outside", "")).partition("/")
        target = known.get(f"{scope}/{key.replace('.', '/', 1)}")
        if target is not None and column.name not in entity.read_only:
            points = (Point.BEFORE_CREATE, Point.BEFORE_UPDATE)
            watches = frozenset({column.name})
            rules.append(
                Rule("G3", path, points, _look_outside(scope, target, column.name), raises=CODES, watches=watches)
            )
    return rules


def _look_outside(scope: str, target: Entity, name: str) -> Hook:
    async def look_outside(moment: Moment, changes: list[Change]) -> None:
        given = [change for change in changes if change.changes(name) and change[name] and not change.by_engine]
        if not given:
            return
        there, table = await moment.in_scope(scope), target.table
        keys = {change[name] for change in given}
        found = await there.fetch(sa.select(table.c.id).where(table.c.id.in_(keys), table.c.is_active))
        missing = keys - {row["id"] for row in found}
        faults = [
            Fault(name, "invalid_reference", "names no active row").under(change.path)
            for change in given
            if change[name] in missing
        ]
        if faults:
            raise generic("invalid_reference", details=faults)

    return look_outside
