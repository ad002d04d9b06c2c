"""What a violated constraint is told as: the database names it, start-up knows its code and fields."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Table

from engine.entity import Entity


def constraint_codes(table: Table, entity: Entity) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Constraint name -> (error code, fields that a violation names)."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    active = {entity.marks.active}
    hidden = {*entity.hidden, *active, *(c.name for c in table.c if c.info.get("tenant"))}
    for index in table.indexes:
        if index.unique:
            found[str(index.name)] = ("duplicate", tuple(str(c.key) for c in index.columns if c.key not in hidden))
    for rule in table.constraints:
        if isinstance(rule, sa.PrimaryKeyConstraint):
            found[str(rule.name or f"{table.name}_pkey")] = (
                "duplicate",
                tuple(str(c.key) for c in rule.columns if c.key not in hidden),
            )
        elif isinstance(rule, sa.CheckConstraint):
            found[str(rule.name)] = (
                "check_failed",
                tuple(w for w in rule.info.get("words", ()) if w in table.c and w not in entity.hidden),
            )
        elif isinstance(rule, sa.UniqueConstraint):
            found[str(rule.name)] = ("duplicate", tuple(str(c.key) for c in rule.columns if c.key not in hidden))
        elif isinstance(rule, sa.ForeignKeyConstraint):
            found[str(rule.name)] = ("invalid_reference", tuple(c for c in rule.column_keys if c not in hidden))
        elif rule.__visit_name__ == "exclude_constraint":
            names = rule.info.get("words") or [c.key for c in rule.columns]  # type: ignore[attr-defined]
            found[str(rule.name)] = ("overlapping_period", tuple(name for name in names if name not in hidden))
    return found
