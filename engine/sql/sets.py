"""Statements about sets of rows: which ones a filter means, what stands against writing them, which have the same unique key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from engine.catalog import Resource
from engine.entity import Period, Unique
from engine.fields import Field
from engine.filters import TEXTS
from engine.scalars import Native
from engine.shapes import Statement
from engine.sql.parts import (
    LEFT,
    UUID,
    bind,
    compared_alike,
    compile_statement,
    constant,
    given_keys,
    kept,
    locked,
    presence,
    same_key,
    stored,
    travels,
)

# a default that is the same for every row: a number, a word or a text, perhaps cast
CONSTANT = re.compile(r"\(*(?:-?[0-9.]+|true|false|'(?:[^']|'')*')\)*(?:::[\w\"., ()]+)?", re.IGNORECASE).fullmatch

# rows that the error of a set names at most
NAMED = 50


def chosen(resource: Resource, row: Any, where: list[Any], *, going: bool) -> Statement:
    """All columns of the first `limit` rows by key, locked: for rows that are `going` those wait too who only refer to them."""
    statement = sa.select(*stored(resource, row)).where(*where)
    ordered = statement.order_by(*(row.c[name] for name in resource.keys)).limit(bind("limit", sa.BigInteger()))
    return compile_statement(locked(ordered, resource, going=going, of=row))


def among(resource: Resource, row: Any, statement: Any) -> Any:
    """The statement, over the rows of the parameter `keys`."""
    if resource.by_uuid:
        return statement.where(row.c.id == sa.any_(bind("keys", pg.ARRAY(UUID))))
    given = given_keys(resource)
    return statement.join(given, same_key(resource, given, row))


Key = Unique | Period


def _compared(key: Key) -> tuple[str, ...]:
    return (*key.columns, key.start, key.end) if isinstance(key, Period) else key.columns


def named_by(resource: Resource, key: Key) -> tuple[str, ...]:
    """The columns that a unique key or a period compares, and those that its condition reads."""
    words = re.findall(r"[a-z_][a-z0-9_]*", re.sub(r"'[^']*'", "", key.where or ""))
    return tuple(dict.fromkeys((*_compared(key), *(word for word in words if word in resource.table.c))))


def _covered(resource: Resource, key: Key, once: tuple[str, ...] = ()) -> Any:
    """Of the record set `rows`: those that the key's condition concerns, by `cxg_ord`, with the columns of the key, and those of
    `once` with the names that a row gives."""
    names = tuple(dict.fromkeys((*named_by(resource, key), *once)))
    columns = [sa.column(name, travels(resource.fields[name])) for name in names]
    columns += [sa.column("cxg_ord", sa.Integer()), sa.column(LEFT, pg.JSONB()), sa.column("cxg_said", pg.JSONB())]
    records = sa.func.json_to_recordset(bind("rows", pg.JSON(none_as_null=True)))
    given = records.table_valued(*columns, name="i").render_derived(with_types=True)
    begun = [_begun(resource.fields[name], given).label(name) for name in names]
    rows = sa.select(given.c.cxg_ord, given.c.cxg_said, *begun).subquery("g")
    # the condition names columns without their table, so nothing else here may have them
    called = enumerate((*_compared(key), *once))
    own = sa.select(rows.c.cxg_ord, rows.c.cxg_said, *(rows.c[name].label(f"cxg_{place}") for place, name in called))
    return (own.where(sa.text(key.where)) if key.where else own).cte("covered")


def has_constant(field: Field) -> bool:
    """Whether the database gives a row that is silent the same value each time."""
    default: Any = field.column.server_default if field.column is not None else None
    return default is not None and CONSTANT(str(default.arg)) is not None


def _begun(field: Field, given: Any) -> Any:
    """The value with which a creation begins: of a row that leaves it out the column's default, if that is a constant."""
    value = kept(field, given.c[field.name])
    if not has_constant(field):
        return value
    default: Any = field.column.server_default  # type: ignore[union-attr]
    left = given.c[LEFT].op("?", is_comparison=True)(constant(field.name))
    return sa.case((left, sa.cast(default.arg, field.type)), else_=value)


def _columns(key: Key, rows: Any) -> Mapping[str, Any]:
    """The columns of rows that a key covers, by their names in the table."""
    return {name: rows.c[f"cxg_{place}"] for place, name in enumerate(_compared(key))}


def _collide(resource: Resource, key: Key, one: Any, other: Any) -> list[Any]:
    """Whether two rows cannot stand beside each other, given their columns by name."""
    period = key if isinstance(key, Period) else None
    alike = period is not None or (isinstance(key, Unique) and key.nulls_equal)
    pairs = []
    for name in key.columns:
        field = resource.fields[name]
        first, second = (compared_alike(field, row[name]) for row in (one, other))
        pairs.append(first.is_not_distinct_from(second) if alike and field.nullable else first == second)
    if period is not None:
        dated = resource.fields[period.start].scalar.name == "date"
        range_of: Any = sa.func.daterange if dated else sa.func.tstzrange
        whole: Any = sa.literal_column("'[]'")
        days = [range_of(row[period.start], row[period.end], whole) for row in (one, other)]
        pairs.append(days[0].op("&&", is_comparison=True)(days[1]))
    return pairs


def clashing(resource: Resource, row: Any, key: Key, where: list[Any]) -> Statement:
    """(cxg_ord) of the new rows `rows` that have the key of an earlier one, or of a stored row that meets `where`."""
    rows = _covered(resource, key)
    earlier = rows.alias("earlier")
    one: Any = sa.literal_column("1")
    before = sa.select(one).where(
        earlier.c.cxg_ord < rows.c.cxg_ord, *_collide(resource, key, _columns(key, earlier), _columns(key, rows))
    )
    where = [*where, *_collide(resource, key, row.c, _columns(key, rows)), *([sa.text(key.where)] if key.where else [])]
    there: Any = sa.select(one).select_from(row).where(*where)
    clash = sa.or_(*(sa.exists(query.correlate(rows)) for query in (before, there)))
    limit: Any = sa.literal_column(str(NAMED))
    return compile_statement(sa.select(rows.c.cxg_ord).where(clash).order_by(rows.c.cxg_ord).limit(limit))


def covered(resource: Resource, key: Unique) -> Statement:
    """(cxg_ord) of the rows that the key's condition concerns."""
    rows = _covered(resource, key)
    return compile_statement(sa.select(rows.c.cxg_ord))


def same_unique(resource: Resource, row: Any, key: Unique, once: tuple[str, ...], where: list[Any]) -> Statement:
    """(cxg_ord, cxg_other, all columns) of the active rows that have the unique key of one of `rows` and meet `where`, locked.
    `cxg_other`: the columns of `once` that the given row says, and says otherwise."""
    rows = _covered(resource, key, once)
    pairs = _collide(resource, key, row.c, _columns(key, rows))
    where = [*presence(resource, row, "exclude"), *where, *([sa.text(key.where)] if key.where else [])]
    others = [
        sa.case(
            (sa.and_(_said(rows, name), _differs(resource.fields[name], row, rows.c[f"cxg_{place}"])), constant(name))
        )
        for place, name in enumerate(once, len(key.columns))
    ]
    told: Any = pg.array(others) if others else sa.cast(sa.literal_column("'{}'"), TEXTS)
    statement = sa.select(rows.c.cxg_ord, told.label("cxg_other"), *stored(resource, row))
    joined = statement.select_from(rows.join(row, sa.and_(*pairs))).where(*where)
    ordered = joined.order_by(*(row.c[name] for name in resource.keys))
    return compile_statement(locked(ordered, resource, going=False, of=row))


def _said(rows: Any, name: str) -> Any:
    return rows.c.cxg_said.op("?", is_comparison=True)(constant(name))


def _differs(field: Field, row: Any, given: Any) -> Any:
    """Whether a stored value is another than the given one, however that is spelled; not every type knows what is equal."""
    kind = pg.JSONB() if field.scalar.name == "json" else sa.Text() if isinstance(field.type, Native) else field.type
    return sa.cast(row.c[field.name], kind).is_distinct_from(sa.cast(given, kind))
