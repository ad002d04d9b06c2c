"""Aggregate functions and date parts, one row each. README, OpenAPI and `_meta` print these tables; a new function is a new row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.sql import ColumnElement

Column = ColumnElement[Any]
Takes = Literal["any or none", "comparable", "ordered", "number"]

ORDERED = ("integer", "bigint", "float", "numeric", "text", "date", "timestamptz", "time")
COMPARABLE = ("uuid", "boolean", *ORDERED)
ANY = (*COMPARABLE, "jsonb", "bytes", "array")
# what PostgreSQL gives for each kind of number, by the names of `Scalar`
SUMS = {"integer": "bigint", "bigint": "numeric", "float": "float", "numeric": "numeric"}
MEANS = {"integer": "numeric", "bigint": "numeric", "float": "float", "numeric": "numeric"}


@dataclass(frozen=True)
class Function:
    """`results`: scalar of the columns that it takes -> scalar of what it gives. `takes` and `gives` say so to people.
    `build(column)` makes the expression; None stands for the rows themselves."""

    name: str
    meaning: str
    takes: Takes
    gives: str
    results: Mapping[str, str]
    build: Callable[[Any], Column]

    @property
    def bare(self) -> bool:
        """Whether it can stand without a field."""
        return self.takes == "any or none"


def _wide(column: Column) -> Column:
    """Floats of four bytes lose too much in a sum."""
    short = isinstance(column.type, sa.Float) and not isinstance(column.type, sa.Double)
    return sa.cast(column, sa.Double()) if short else column


FUNCTIONS: dict[str, Function] = {
    row.name: row
    for row in (
        Function(
            "count",
            "how many rows, or how many where the field is not empty",
            "any or none",
            "integer",
            dict.fromkeys(ANY, "integer"),
            lambda column: sa.func.count() if column is None else sa.func.count(column),
        ),
        Function(
            "count_distinct",
            "how many different values",
            "comparable",
            "integer",
            dict.fromkeys(COMPARABLE, "integer"),
            lambda column: sa.func.count(sa.distinct(column)),
        ),
        Function("sum", "the sum", "number", "number", SUMS, lambda column: sa.func.sum(_wide(column))),
        Function("avg", "the mean", "number", "number", MEANS, lambda column: sa.func.avg(_wide(column))),
        Function("min", "the least value", "ordered", "as the field", {n: n for n in ORDERED}, sa.func.min),
        Function("max", "the greatest value", "ordered", "as the field", {n: n for n in ORDERED}, sa.func.max),
    )
}


@dataclass(frozen=True)
class Part:
    """A period of time that rows are grouped by. `results`: scalar of the columns that it takes -> scalar of the period's
    start, which is what the group is called."""

    name: str
    results: Mapping[str, str]


UTC: Any = sa.literal_column("'UTC'")
DAYS = {"date": "date", "timestamptz": "date"}
PARTS: dict[str, Part] = {
    **{name: Part(name, DAYS) for name in ("year", "quarter", "month", "week", "day")},
    "hour": Part("hour", {"timestamptz": "timestamptz"}),
}


def started(part: Part, column: Any, scalar: str) -> Column:
    """The start of the period that a column's value lies in, in UTC."""
    unit: Any = sa.literal_column(f"'{part.name}'")
    if part.results[scalar] == "timestamptz":
        return sa.func.date_trunc(unit, column, UTC, type_=sa.DateTime(timezone=True))
    moment = sa.cast(column, sa.DateTime()) if scalar == "date" else sa.func.timezone(UTC, column)
    return sa.cast(sa.func.date_trunc(unit, moment), sa.Date())


def functions_of(scalar: str) -> tuple[str, ...]:
    """Names of the functions that a column of this scalar takes."""
    return tuple(name for name, row in FUNCTIONS.items() if scalar in row.results)


def parts_of(scalar: str) -> tuple[str, ...]:
    """Names of the periods that a column of this scalar is grouped by."""
    return tuple(name for name, part in PARTS.items() if scalar in part.results)
