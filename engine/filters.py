"""Filter operators, one row each. README, OpenAPI and `_meta` print this table; a new operator is a new row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.sql import ColumnElement

Column = ColumnElement[Any]
Takes = Literal["one", "many", "two", "bool", "text", "item", "items", "node"]


def escape_like(text: str) -> str:
    """The text with LIKE's metacharacters made literal (escape character: backslash)."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


@dataclass(frozen=True)
class Operator:
    """`takes`: one value of the column's type, many (comma-separated), two, true/false, plain text, or array items.
    `family`: the columns it accepts, by `Scalar.families`. `build(column, value)` makes the predicate; `prepare` the value.
    `contrary(value)`: operator and value of what holds of all other rows, where one of these need not be there: who has no
    parent has an empty `parent.name`, which a condition on parents cannot find. None = only a row that is there meets it."""

    name: str
    meaning: str
    takes: Takes
    family: str
    build: Callable[[Column, Any], Column]
    prepare: Callable[[str], str] = str
    contrary: Callable[[Any], tuple[str, Any] | None] = lambda _value: None


def _any(column: Column, values: Any) -> Column:
    return column == sa.any_(values)


def _under(column: Column, node: Any) -> Column:
    """Ids of the tree below `node`; the table says in `info["tree"]` which column names the parent."""
    table: Any = column.table
    # an alias of the table, or of the table as it was, which names itself
    part = getattr(table, "whole", None)
    part = getattr(table, "original", table) if part is None else part
    child, top = part.alias(), part.alias()
    # where rows belong to tenants the walk stays with the tenant of the row that it starts from and of the one that asks
    keys = [name for name in ("tenant_id", "id") if name == "id" or part.info.get("tenant_bound")]
    below = sa.select(*(top.c[key] for key in keys)).where(top.c.id == node).cte(recursive=True)
    same = [child.c[key] == below.c[key] for key in keys[:-1]]
    step = sa.and_(child.c[part.info["tree"]] == below.c.id, *same)
    below = below.union(sa.select(*(child.c[key] for key in keys)).join(below, step))
    return sa.tuple_(*(column.table.c[key] for key in keys)).in_(sa.select(*(below.c[key] for key in keys)))


def _has(column: Column, item: Any) -> Column:
    if isinstance(column.type, sa.ARRAY):
        return column.op("@>", is_comparison=True)(sa.cast(pg.array([item]), column.type))
    return column.op("?", is_comparison=True)(item)


def _of_items(array: str, document: str) -> Callable[[Column, Any], Column]:
    """An operator on lists: what PostgreSQL calls it for an array, and for a jsonb list of texts."""
    return lambda column, items: column.op(
        array if isinstance(column.type, sa.ARRAY) else document, is_comparison=True
    )(items)


def _ends(text: str) -> str:
    return "%" + escape_like(text)


def _within(text: str) -> str:
    return _ends(text) + "%"


def _starts(text: str) -> str:
    return escape_like(text) + "%"


OPERATORS: dict[str, Operator] = {
    row.name: row
    for row in (
        Operator("eq", "equal", "one", "equal", lambda col, v: col == v),
        Operator(
            "ne",
            "not equal, or empty",
            "one",
            "equal",
            lambda col, v: col.is_distinct_from(v),
            contrary=lambda v: ("eq", v),
        ),
        Operator("gt", "greater", "one", "order", lambda col, v: col > v),
        Operator("gte", "at least", "one", "order", lambda col, v: col >= v),
        Operator("lt", "less", "one", "order", lambda col, v: col < v),
        Operator("lte", "at most", "one", "order", lambda col, v: col <= v),
        Operator("in", "one of", "many", "equal", _any),
        Operator(
            "nin",
            "none of, or empty",
            "many",
            "equal",
            lambda col, v: sa.func.coalesce(sa.not_(_any(col, v)), sa.true()),
            contrary=lambda v: ("in", v),
        ),
        Operator(
            "between",
            "from the first to the second, both included",
            "two",
            "order",
            lambda col, v: sa.and_(col >= v[0], col <= v[1]),
        ),
        Operator(
            "isnull",
            "empty (true) or not (false)",
            "bool",
            "null",
            lambda col, v: col.is_(None) == v,
            contrary=lambda v: ("isnull", "false") if v == "true" else None,
        ),
        Operator("contains", "holds the text", "text", "text", lambda col, v: col.like(v, escape="\\"), _within),
        Operator(
            "icontains", "holds the text, any case", "text", "text", lambda col, v: col.ilike(v, escape="\\"), _within
        ),
        Operator(
            "startswith", "begins with the text", "text", "text", lambda col, v: col.op("^@", is_comparison=True)(v)
        ),
        Operator(
            "istartswith",
            "begins with the text, any case",
            "text",
            "text",
            lambda col, v: col.ilike(v, escape="\\"),
            _starts,
        ),
        Operator("endswith", "ends with the text", "text", "text", lambda col, v: col.like(v, escape="\\"), _ends),
        Operator("has", "the list holds the item", "item", "items", _has),
        Operator("hasany", "the list holds one of the items", "items", "items", _of_items("&&", "?|")),
        Operator("hasall", "the list holds all of the items", "items", "items", _of_items("@>", "?&")),
        Operator("under", "the node itself and all below it", "node", "tree", _under),
    )
}

TEXTS = pg.ARRAY(sa.Text)


def operators_of(families: frozenset[str], *, tree: bool = False) -> tuple[str, ...]:
    """Names of the operators that a column of these families takes; every column takes `isnull`."""
    wanted = families | {"null"} | ({"tree"} if tree else frozenset())
    return tuple(name for name, row in OPERATORS.items() if row.family in wanted)
