"""What registration adds to a declared table: common columns, life-cycle column, partial unique keys, column checks.

Runs before the tenancy layer binds tables to tenants and before the catalogue is compiled. Every step is idempotent, and
leaves alone what the model already says itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql as pg

from engine.entity import MARKS, Entity, Period, Unique
from engine.types import Bounded, Bounds, check

QUOTE = pg.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call]


def _stamp(name: str) -> Column[Any]:
    return Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def common_columns(table: Table) -> list[Column[Any]]:
    """The columns that every registered table has and this one does not declare."""
    wanted: list[Column[Any]] = [
        Column("is_active", sa.Boolean, nullable=False, server_default=sa.true()),
        Column("version", sa.Integer, nullable=False, server_default=sa.text("1")),
        _stamp("created_at"),
        _stamp("updated_at"),
        Column("created_by", pg.UUID(as_uuid=True), nullable=True),
        Column("updated_by", pg.UUID(as_uuid=True), nullable=True),
    ]
    return [column for column in wanted if column.name not in table.c]


def complete(entities: Iterable[Entity]) -> None:
    """Add to each entity's table what its declaration implies."""
    for entity in entities:
        table = entity.table
        if table.info.get("registered") or MARKS in table.info:
            continue
        table.info["registered"] = True
        table.info["tree"] = entity.tree
        _add_columns(entity, table)
        _make_room_for_ciphers(entity, table)
        for key in entity.unique:
            _add_unique(table, key if isinstance(key, Unique) else Unique((key,)))
        for period in entity.periods:
            _add_exclusion(table, period)
            _add_period_check(table, period)
        for column in table.c:
            _add_checks(table, column)
        _name_constraints(table)


def _add_columns(entity: Entity, table: Table) -> None:
    if not table.primary_key.columns:
        table.append_column(Column("id", pg.UUID(as_uuid=True), primary_key=True))
    if entity.machine and "status" not in table.c:
        states = sa.Enum(*entity.life.states, native_enum=False, create_constraint=False, length=24)
        table.append_column(Column("status", states, nullable=False))
    for column in common_columns(table):
        table.append_column(column)


def _make_room_for_ciphers(entity: Entity, table: Table) -> None:
    """A cipher is longer than its text: the column takes any length, the length of what is said is kept for readers."""
    for column in (table.c[name] for name in entity.encrypted):
        if isinstance(column.type, sa.String):
            column.info["said_type"] = column.type
            column.type = sa.Text()


def _add_unique(table: Table, key: Unique) -> None:
    where = f"is_active and ({key.where})" if key.where else "is_active"
    name = f"uq_{table.name}_{'_'.join(key.columns)}"
    options: dict[str, Any] = {"postgresql_where": sa.text(where), "info": {"key": key}}
    if key.nulls_equal:
        options["postgresql_nulls_not_distinct"] = True
    sa.Index(name[:63], *(table.c[column] for column in key.columns), unique=True, **options)


def _add_exclusion(table: Table, period: Period) -> None:
    """Rows of different days, or of different columns: gist compares each, and only what is never null can be equal."""
    where = f"is_active and ({period.where})" if period.where else "is_active"
    dated = isinstance(table.c[period.start].type, sa.Date)
    days = (sa.func.daterange if dated else sa.func.tstzrange)(
        table.c[period.start], table.c[period.end], sa.literal_column("'[]'")
    )
    equal = [(_never_null(table.c[name]), "=") for name in period.columns]
    name = f"ex_{table.name}_{'_'.join((*period.columns, period.start))}"[:63]
    words = (*period.columns, period.start, period.end)
    rule = pg.ExcludeConstraint(
        *equal, (days, "&&"), name=name, where=sa.text(where), info={"words": words, "key": period}
    )
    table.append_constraint(rule)


def _add_period_check(table: Table, period: Period) -> None:
    """A period does not end before it begins, unless a check of the model says so already."""
    ends = {period.start, period.end}
    known = [rule for rule in table.constraints if isinstance(rule, sa.CheckConstraint)]
    if not any(ends <= set(rule.info.get("words", ())) for rule in known):
        start, end = QUOTE(period.start), QUOTE(period.end)
        table.append_constraint(check(f"{end} is null or {end} >= {start}", period.start, period.end))


def _never_null(column: Column[Any]) -> Any:
    if not column.nullable:
        return column
    nothing = "'00000000-0000-0000-0000-000000000000'::uuid" if isinstance(column.type, sa.Uuid) else "''"
    return sa.func.coalesce(column, sa.literal_column(nothing))


def bounds_of(column: Column[Any]) -> Bounds:
    """What the column's values may be, from its type or its declaration."""
    if isinstance(column.type, Bounded):
        return Bounds(column.type.minimum, column.type.maximum, column.type.above)
    return column.info.get("bounds", Bounds())  # type: ignore[no-any-return]


def _add_checks(table: Table, column: Column[Any]) -> None:
    bounds, name = bounds_of(column), QUOTE(column.name)
    parts = [
        f"{name} {sign} {limit}"
        for sign, limit in ((">=", bounds.minimum), ("<=", bounds.maximum), (">", bounds.above))
        if limit is not None
    ]
    if isinstance(column.type, sa.Enum):
        choices = ["'" + str(choice).replace("'", "''") + "'" for choice in column.type.enums]
        parts.append(f"{name} in ({', '.join(choices)})")
    if parts:
        rule = check(" and ".join(parts), column.name)
        rule.name = f"ck_{table.name}_{column.name}"[:63]
        table.append_constraint(rule)


def _name_constraints(table: Table) -> None:
    """Name each unnamed check by the columns it compares: a running number would change whenever a check is added."""
    taken = {str(rule.name) for rule in table.constraints if rule.name}
    unnamed = [rule for rule in table.constraints if isinstance(rule, sa.CheckConstraint) and not rule.name]
    for rule in sorted(unnamed, key=lambda rule: str(rule.sqltext)):
        words = [word for word in rule.info.get("words", ()) if word in table.c]
        name = "_".join(["ck", table.name, *words])[:60]
        rule.name = next(n for n in (name, *(f"{name}{i}" for i in range(2, 100))) if n not in taken)
        taken.add(rule.name)
