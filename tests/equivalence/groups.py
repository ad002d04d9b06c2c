"""Groups and facets of the market as plain Python: what a grouped list, or the counts beside a list, should answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from tests.equivalence.asking import in_where
from tests.equivalence.model import COLUMNS, JSON, OPERATORS, RELATIONS, Leaf, Market, Person, Query, Row

Path = tuple[str, ...]


class Key(NamedTuple):
    """What rows are grouped by: a path, and the period of time or nothing."""

    name: str
    path: Path
    part: str = ""


class Made(NamedTuple):
    """An aggregate of a path; an empty one stands for the rows."""

    name: str
    function: str
    path: Path


class Asked(NamedTuple):
    """A condition on a result."""

    name: str
    op: str
    value: Any


class By(NamedTuple):
    """A sort key that is a result."""

    name: str
    descending: bool
    nulls: str | None


@dataclass(frozen=True)
class Grouped:
    """A grouped list; of `rows` the page, the count and the conditions hold."""

    rows: Query
    made: tuple[Made, ...]
    keys: tuple[Key, ...] = ()
    having: tuple[Asked, ...] = ()
    sort: tuple[By, ...] = ()


@dataclass(frozen=True)
class Near:
    """A number that is told with as many digits as the database likes."""

    value: Decimal

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and abs(Decimal(other) - self.value) <= abs(self.value) * Decimal("1e-14")

    def __hash__(self) -> int:
        return hash(self.value)


# -- kinds

NUMBERS = {"int": "bigint", "bigint": "whole", "numeric": "numeric", "float": "float"}
ORDERED = ("int", "bigint", "numeric", "float", "text", "choice", "masked", "date", "moment", "time")
GROUPED = (*ORDERED, "uuid", "bool")
DAYS = ("year", "quarter", "month", "week", "day")
FUNCTIONS: dict[str, tuple[str, ...]] = {
    "count": (*GROUPED, "list"),
    "count_distinct": GROUPED,
    "sum": tuple(NUMBERS),
    "avg": tuple(NUMBERS),
    "min": ORDERED,
    "max": ORDERED,
}
SHOWN: dict[str, Callable[[Any], Any]] = {**JSON, "whole": str, "mean": Near}


def end_of(entity: str, path: Path) -> tuple[str, str]:
    """The entity and the kind of the column at the end of a path."""
    for name in path[:-1]:
        entity = RELATIONS[entity][name].target
    return entity, COLUMNS[entity][path[-1]]


def kind_made(entity: str, made: Made) -> str:
    """The kind of an aggregate."""
    if made.function.startswith("count"):
        return "int"
    kind = end_of(entity, made.path)[1]
    if made.function == "avg":
        return "float" if kind == "float" else "mean"
    return NUMBERS[kind] if made.function == "sum" else kind


def kind_of(entity: str, key: Key) -> str:
    """The kind of what a group is called."""
    return end_of(entity, key.path)[1] if not key.part else "moment" if key.part == "hour" else "date"


def kinds(asked: Grouped) -> dict[str, str]:
    """The kinds of all results, by name."""
    entity = asked.rows.entity
    return {key.name: kind_of(entity, key) for key in asked.keys} | {m.name: kind_made(entity, m) for m in asked.made}


def forbidden(entity: str, paths: Sequence[Path], person: Person) -> bool:
    """Whether a path ends in a column that is masked for the person."""
    ends = [end_of(entity, path) for path in paths if path]
    return any(kind == "masked" and where.split("/")[0] not in person.unmasked for where, kind in ends)


# -- values


def begun(value: Any, part: str) -> Any:
    """The start of the period that a date or a moment lies in."""
    if part == "hour":
        return value.replace(minute=0, second=0, microsecond=0)
    day: date = value.date() if isinstance(value, datetime) else value
    if part == "week":
        return day - timedelta(days=day.weekday())
    first = {"year": 1, "quarter": (day.month - 1) // 3 * 3 + 1}.get(part, day.month)
    return day if part == "day" else date(day.year, first, 1)


def aggregate(function: str, values: list[Any]) -> Any:
    """A function over values that are not empty."""
    if function == "count":
        return len(values)
    if function == "count_distinct":
        return len(set(values))
    if not values:
        return None
    if function == "avg":
        return sum(values) / (len(values) if isinstance(values[0], float) else Decimal(len(values)))
    return {"sum": sum, "min": min, "max": max}[function](values)


# -- answers


class Groups:
    """What a person makes of the rows."""

    def __init__(self, market: Market, asked: Grouped) -> None:
        self.market, self.asked, self.entity = market, asked, asked.rows.entity
        self.kinds = kinds(asked)

    def listed(self) -> dict[str, Any]:
        """The data of the grouped list."""
        rows = self.asked.rows
        found = self.ordered([group for group in self.groups() if self.holds(group)])
        start, total = (rows.page - 1) * rows.page_size, None if rows.count == "none" else len(found)
        return {
            "items": [],
            "groups": [self.shown(group) for group in found[start : start + rows.page_size]],
            "page": rows.page,
            "page_size": rows.page_size,
            "total": total,
            "total_pages": None if total is None else -(-total // rows.page_size),
        }

    def groups(self) -> list[Row]:
        """Every group, by the names of results."""
        parts: dict[tuple[Any, ...], list[Row]] = {} if self.asked.keys else {(): []}
        for row in self.market.chosen(self.asked.rows):
            parts.setdefault(tuple(self.key(row, key) for key in self.asked.keys), []).append(row)
        names = [key.name for key in self.asked.keys]
        return [
            dict(zip(names, values, strict=True)) | {made.name: self.made(rows, made) for made in self.asked.made}
            for values, rows in parts.items()
        ]

    def key(self, row: Row, key: Key) -> Any:
        """What a row is grouped by."""
        value = self.market.value_at(self.entity, row, key.path)
        return begun(value, key.part) if key.part and value is not None else value

    def made(self, rows: list[Row], made: Made) -> Any:
        """An aggregate of the rows of a group."""
        if not made.path:
            return len(rows)
        values = [self.market.value_at(self.entity, row, made.path) for row in rows]
        return aggregate(made.function, [value for value in values if value is not None])

    def holds(self, group: Row) -> bool:
        """Whether a group meets the conditions on results."""
        return all(OPERATORS[asked.op](group[asked.name], asked.value) for asked in self.asked.having)

    def ordered(self, groups: list[Row]) -> list[Row]:
        """By result; keys decide ties."""
        named = {by.name for by in self.asked.sort}
        rest = (By(key.name, False, None) for key in self.asked.keys if key.name not in named)
        for by in reversed((*self.asked.sort, *rest)):
            filled = [group for group in groups if group[by.name] is not None]
            filled.sort(key=lambda group: group[by.name], reverse=by.descending)
            empty = [group for group in groups if group[by.name] is None]
            first = by.nulls == "first" or (by.nulls is None and by.descending)
            groups = [*empty, *filled] if first else [*filled, *empty]
        return groups

    def shown(self, group: Row) -> Row:
        """A group as JSON has it."""
        return {
            name: None if value is None else SHOWN.get(self.kinds[name], lambda same: same)(value)
            for name, value in group.items()
        }


def counted(market: Market, query: Query, paths: Sequence[Path]) -> dict[str, Any]:
    """The facets of a list: values by path, the most frequent first, without the path's own conditions."""
    found = {}
    for path in paths:
        entity = query.entity
        values = [market.value_at(entity, row, path) for row in market.chosen(without(query, path))]
        often = [(values.count(value), value) for value in dict.fromkeys(values)]
        filled = sorted((pair for pair in often if pair[1] is not None), key=lambda pair: pair[1])
        pairs = sorted([*filled, *(pair for pair in often if pair[1] is None)], key=lambda pair: -pair[0])
        show = SHOWN.get(end_of(entity, path)[1], lambda same: same)
        found[".".join(path)] = [{"value": None if v is None else show(v), "count": n} for n, v in pairs[:50]]
    return found


def without(query: Query, path: Path) -> Query:
    """The query without the conditions on a path that stand by themselves."""
    nested = [leaf for leaf in query.filters if in_where(leaf)]
    alone = len(nested) + (query.where is not None) == 1  # several are joined by `and`
    filters = tuple(f for f in query.filters if f.path != path or (in_where(f) and not alone))
    own = alone and isinstance(query.where, Leaf) and query.where.path == path
    return replace(query, filters=filters, where=None if own else query.where)
