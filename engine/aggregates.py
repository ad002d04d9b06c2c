"""Aggregate functions and date parts, one row each. README, OpenAPI and `_meta` print these tables; a new function is a new row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import sqlalchemy as sa
from sqlalchemy.sql import ColumnElement

Column = ColumnElement[Any]
Takes = Literal["any or none", "comparable", "ordered", "number"]

# what a function takes -> the family of the columns that it takes, by `Scalar.families`
FAMILIES: dict[str, str] = {"comparable": "equal", "ordered": "least"}
# what PostgreSQL gives for each kind of number, by the names of `Scalar`
SUMS = {"integer": "bigint", "bigint": "numeric", "float": "float", "numeric": "numeric"}
MEANS = {"integer": "numeric", "bigint": "numeric", "float": "float", "numeric": "numeric"}


class Typed(Protocol):
    """A `Scalar`."""

    @property
    def name(self) -> str: ...
    @property
    def families(self) -> frozenset[str]: ...


@dataclass(frozen=True)
class Function:
    """`takes` says of which columns, `gives` what scalar is made of them; of numbers `results` says so, by their scalar.
    `build(column)` makes the expression; None stands for the rows themselves."""

    name: str
    meaning: str
    takes: Takes
    gives: str
    build: Callable[[Any], Column]
    results: Mapping[str, str] = field(default_factory=dict)

    @property
    def bare(self) -> bool:
        """Whether it can stand without a field."""
        return self.takes == "any or none"

    def result(self, scalar: Typed) -> str | None:
        """The scalar of what it gives of a column of this one; None = it takes no such column."""
        if self.takes == "number":
            return self.results.get(scalar.name)
        if not self.bare and FAMILIES[self.takes] not in scalar.families:
            return None
        return scalar.name if self.gives == "as the field" else self.gives


def _wide(column: Column) -> Column:
    """Floats of four bytes lose too much in a sum."""
    short = isinstance(column.type, sa.Float) and not isinstance(column.type, sa.Double)
    return sa.cast(column, sa.Double()) if short else column


def sorting(column: Any) -> Column:
    """The column as it can be sorted: PostgreSQL knows types of which it can only say that two are equal."""
    own: Typed | None = getattr(column.type, "scalar", None)
    return column if own is None or "order" in own.families else sa.cast(column, sa.Text)


FUNCTIONS: dict[str, Function] = {
    row.name: row
    for row in (
        Function(
            "count",
            "how many rows, or how many where the field is not empty",
            "any or none",
            "integer",
            lambda column: sa.func.count() if column is None else sa.func.count(column),
        ),
        Function(
            "count_distinct",
            "how many different values",
            "comparable",
            "integer",
            lambda column: sa.func.count(sa.distinct(sorting(column))),
        ),
        Function("sum", "the sum", "number", "number", lambda column: sa.func.sum(_wide(column)), SUMS),
        Function("avg", "the mean", "number", "number", lambda column: sa.func.avg(_wide(column)), MEANS),
        Function("min", "the least value", "ordered", "as the field", sa.func.min),
        Function("max", "the greatest value", "ordered", "as the field", sa.func.max),
    )
}


@dataclass(frozen=True)
class Part:
    """A period of time that rows are grouped by. `results`: scalar of the columns that it takes -> scalar of the period's
    start, which is what the group is called."""

    name: str
    results: Mapping[str, str]

    def result(self, scalar: Typed) -> str | None:
        """The same of a column's scalar; None = it takes no such column."""
        return self.results.get(scalar.name)


UTC: Any = sa.literal_column("'UTC'")
DAYS = {"date": "date", "timestamptz": "date", "timestamp": "date"}
PARTS: dict[str, Part] = {
    **{name: Part(name, DAYS) for name in ("year", "quarter", "month", "week", "day")},
    "hour": Part("hour", {"timestamptz": "timestamptz", "timestamp": "timestamp"}),
}


def started(part: Part, column: Any, scalar: str) -> Column:
    """The start of the period that a column's value lies in, in UTC; of one without a zone as it is."""
    unit: Any = sa.literal_column(f"'{part.name}'")
    if part.results[scalar] == "timestamp":
        return sa.func.date_trunc(unit, column, type_=column.type)
    if part.results[scalar] == "timestamptz":
        return sa.func.date_trunc(unit, column, UTC, type_=sa.DateTime(timezone=True))
    moment = sa.func.timezone(UTC, column) if scalar == "timestamptz" else sa.cast(column, sa.DateTime())
    return sa.cast(sa.func.date_trunc(unit, moment), sa.Date())


def functions_of(scalar: Typed) -> tuple[str, ...]:
    """Names of the functions that a column of this scalar takes."""
    return tuple(name for name, row in FUNCTIONS.items() if row.result(scalar))


def parts_of(scalar: str) -> tuple[str, ...]:
    """Names of the periods that a column of this scalar is grouped by."""
    return tuple(name for name, part in PARTS.items() if scalar in part.results)
