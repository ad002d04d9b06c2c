"""`aggregate=`, `group=`, `having` and `facets=`: groups in the place of rows, and counts of values beside them. Pure.

aggregate=n:count(),sum:sum(total),max(customer.credit)     n, sum and max_customer_credit are results
group=status,month(created_at),who:customer.name            so are status, month_created_at and who
having[n][gt]=5      sort=-n,status      facets=status,customer.name
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, NamedTuple

import sqlalchemy as sa

from engine.aggregates import FUNCTIONS, PARTS, Function, Part, parts_of
from engine.conditions import Conditions, comparison, field_of, read_names, read_orders
from engine.entity import Virtual
from engine.errors import Fault, invalid
from engine.fields import Field, virtual_field
from engine.filters import operators_of
from engine.operands import Given
from engine.scalars import BadValue
from engine.shapes import Condition, Grouping, GroupKey, Measure, Order

MAX_AGGREGATES, MAX_GROUPS, MAX_FACETS = 20, 6, 10
# PostgreSQL cuts longer ones off
MAX_NAME = 63
# what a grouped list does not take, and what does instead
UNGROUPED = {
    "fields": "group names what a group shows",
    "expand": "group by customer.name, say, for what is behind a relation",
    "cursor": "page goes through groups",
    "facets": "group=status with aggregate=count() says the same",
}
# name:function(path), or a path
TERM = re.compile(r"(?:(\w+):)?(?:(\w+)\(([^():]*)\)|([^():]+))", re.ASCII)
NAME = re.compile(r"[A-Za-z_]\w{0,62}", re.ASCII)
# fields of results that are of another type than what they are made of
TYPES: dict[str, Any] = {
    "integer": sa.Integer(),
    "bigint": sa.BigInteger(),
    "numeric": sa.Numeric(),
    "float": sa.Double(),
    "date": sa.Date(),
    "timestamptz": sa.DateTime(timezone=True),
}
MADE = {scalar: virtual_field(Virtual(scalar, type_)) for scalar, type_ in TYPES.items()}


class Term(NamedTuple):
    """A part of `aggregate` or `group`: `word` is the function, empty for a plain path."""

    name: str
    word: str
    path: str


def result_of(row: Function | Part | None, field: Field | None) -> Field:
    """How a result is read and shown, as a field: of a function or period over a field (None = the rows themselves)."""
    if field is None:
        return MADE["integer"]
    scalar = row.result(field.scalar) if row else field.scalar.name
    return field if scalar == field.scalar.name else MADE[str(scalar)]


class Groupings:
    """The aggregates, groups and facets of one request while its parameters are read; `reveals` gathers the permissions
    that they need for masked columns."""

    def __init__(self, conditions: Conditions) -> None:
        self.conditions = conditions
        self.asked = False
        self.measures: list[Measure] = []
        self.keys: list[GroupKey] = []
        self.having: list[Condition] = []
        self.results: dict[str, Field] = {}
        self.reveals: dict[str, None] = {}

    def aggregate(self, text: str) -> None:
        """`n:count(),sum(total)`."""
        for name, word, path in self._terms(text, MAX_AGGREGATES):
            if not word:
                raise BadValue(
                    "invalid_format", f"is a list such as n:count(),sum(total); {path[:64]!r} has no function"
                )
            row = _known(FUNCTIONS, word, "a function")
            if not path and not row.bare:
                raise BadValue("invalid_format", f"{word} takes a field, such as {word}(total)")
            field = self._field(path) if path else None
            if field and not row.result(field.scalar):
                taken = ", ".join(field.functions)
                raise BadValue("invalid_choice", f"{path!r} takes {taken}; not {word}", functions=list(field.functions))
            made = name or "_".join((word, *path.split("."))).strip("_")
            self._add(made, result_of(row, field))
            self.measures.append(Measure(made, word, path))

    def group(self, text: str) -> None:
        """`status,month(created_at),who:customer.name`."""
        for name, word, path in self._terms(text, MAX_GROUPS):
            row = _known(PARTS, word, "a part of a date") if word else None
            field = self._groupable(path)
            if row and not row.result(field.scalar):
                taken = ", ".join(parts_of(field.scalar.name)) or "no part of a date"
                raise BadValue("invalid_choice", f"{path!r} takes {taken}; not {word}")
            made = name or ("_".join((word, *path.split("."))) if word else path)
            self._add(made, result_of(row, field))
            self.keys.append(GroupKey(made, path, word or None))

    def compare(self, name: str, operator: str, given: Given) -> None:
        """`having[name][operator]=given`."""
        self.conditions.counted()
        field = self._result(name)
        allowed = operators_of(field.scalar.families)
        self.having.append(comparison((name, field), allowed, operator, self.conditions.limits.choices)(given))

    def order(self, text: str) -> tuple[Order, ...]:
        """`-n,status:nullsfirst`."""
        return read_orders(text, self._result)

    def facets(self, text: str) -> tuple[str, ...]:
        """`status,customer.name`."""
        paths = read_names(text)
        if len(paths) > MAX_FACETS:
            raise BadValue("out_of_range", f"at most {MAX_FACETS} fields", maximum=MAX_FACETS)
        for path in paths:
            self._groupable(path)
        return paths

    def read(self) -> Grouping | None:
        """What was asked for; None = rows. 422 for groups without an aggregate."""
        if self.measures:
            return Grouping(tuple(self.measures), tuple(self.keys), tuple(self.having))
        if self.asked:
            raise invalid([Fault("group", "required", "goes with aggregate, such as aggregate=count()")])
        return None

    # -- parts

    def _terms(self, text: str, most: int) -> list[Term]:
        self.asked = True
        parts = text.split(",")
        if len(parts) > most:
            raise BadValue("out_of_range", f"at most {most} of them", maximum=most)
        return [_term(part.strip()) for part in parts]

    def _add(self, name: str, field: Field) -> None:
        if name in self.results:
            raise BadValue("repeated", f"has two results that are called {name[:64]!r}; say another name: before one")
        if len(name.encode()) > MAX_NAME:
            raise BadValue(
                "too_long", f"{name[:64]!r} is too long a name; say a shorter one: before it", maximum=MAX_NAME
            )
        self.results[name] = field

    def _result(self, name: str) -> Field:
        if name not in self.results:
            known = ", ".join(self.results) or "none without aggregate"
            raise BadValue("unknown_field", f"{name[:64]!r} is not a result here; there is {known}")
        return self.results[name]

    def _field(self, path: str) -> Field:
        steps, target, name = self.conditions.walk(path)
        field = field_of(target, name)
        if self.conditions.many(steps):
            text = f"{path[:64]!r} goes through many rows; ask for the aggregate of {target.key}"
            raise BadValue("invalid_choice", text)
        if not field.functions:
            kind = "encrypted" if field.encrypted else "not stored"
            raise BadValue("invalid_choice", f"{path[:64]!r} is {kind}; nothing is made of it")
        if field.masked:
            self.reveals[target.sensitive] = None
        return field

    def _groupable(self, path: str) -> Field:
        field = self._field(path)
        if not field.groupable:
            raise BadValue("invalid_choice", f"{path[:64]!r} is {field.scalar.name}; rows are not grouped by that")
        return field


def _term(text: str) -> Term:
    found = TERM.fullmatch(text)
    name = found.group(1) or "" if found else ""
    if not found or (name and not NAME.fullmatch(name)):
        raise BadValue(
            "invalid_format", f"{text[:64]!r} does not read as name:function(field), name:field or either alone"
        )
    return Term(name, found.group(2) or "", (found.group(3) if found.group(2) else found.group(4)).strip())


def _known(rows: dict[str, Any], word: str, what: str) -> Any:
    if word not in rows:
        close = get_close_matches(word, list(rows), n=1, cutoff=0.6)
        hint = f"perhaps you meant {close[0]!r}" if close else f"there is {', '.join(rows)}"
        raise BadValue("invalid_choice", f"{word[:64]!r} is not {what}; {hint}", choices=list(rows))
    return rows[word]
