"""Other people's columns that play the engine's parts: who removed, changed and counted a row, as the settings say. Pure.

`{"soft_delete": "deleted_at", "version": "lock_version"}` holds for every table that has such a column; `shop.orders.version`
says it of one table, and `""` that none plays the part there. `shop.totals.key` is the key of a relation that has none by itself,
such as a view: columns joined with commas.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from engine.declared import near
from engine.entity import Marks
from engine.errors import StartupFault
from engine.reflection.reading import Relation
from engine.scalars import Native, scalar_of

Parts = Mapping[str, str]
NO_MARKS = Marks("", "false", "", "", "", "", "")
WORDS = ("soft_delete", "version", "created_at", "created_by", "updated_at", "updated_by")
KEY = "key"
# of a yes-or-no column: whether yes means that the row is gone
GONE = re.compile(r"delet|remov|archiv|inactive|disabled|void|hidden", re.IGNORECASE)
MOMENTS = frozenset({"timestamptz", "timestamp", "date"})
# part -> scalars that can play it
FITTING: dict[str, frozenset[str]] = {
    "soft_delete": MOMENTS | {"boolean"},
    "version": frozenset({"integer", "bigint"}),
    "created_at": MOMENTS,
    "updated_at": MOMENTS,
    "created_by": frozenset({"uuid", "text", "citext"}),
    "updated_by": frozenset({"uuid", "text", "citext"}),
}


def check_parts(parts: Parts) -> None:
    """StartupFault for a word that is no part."""
    for word in parts:
        place, _, part = word.rpartition(".")
        if part == KEY and place.count(".") == 0:
            raise StartupFault(f"columns: {word!r} is said of one view or table, such as sales.totals.key")
        if part not in (*WORDS, KEY):
            raise StartupFault(
                f"columns: {word!r} is no part that a column can play; they are {', '.join((*WORDS, KEY))}"
            )


class Known(NamedTuple):
    """Of each table, called `schema.name`: its fields, whether they can play a part, and whether it has a primary key."""

    fields: Collection[str]
    plays: bool
    primary: bool


def check_places(parts: Parts, tables: Mapping[str, Known]) -> None:
    """StartupFault for a part of a table that is not served or has no key, and for a column that no table has: nobody would play
    the part, and rows that were to be hidden would be deleted."""
    known = {name for table in tables.values() for name in table.fields}
    for word, column in parts.items():
        place, _, part = word.rpartition(".")
        if not place:
            if column and column not in known:
                raise StartupFault(f"columns: no table has a column {column!r} to be its {word}{near(column, known)}")
        elif place not in tables:
            raise StartupFault(f"columns: {word!r} is said of a table that is not served here{near(place, tables)}")
        elif part == KEY and tables[place].primary:
            raise StartupFault(f"columns: {place} has a primary key, which is its key here; leave {word} out")
        elif part != KEY and column and not tables[place].plays:
            text = f"no column of {place} can be its {part}, since its rows are only listed"
            raise StartupFault(f"columns: {text}; {place}.{KEY}=... makes columns the key of a view")


def key_of(relation: Relation, numbers: Mapping[str, int], parts: Parts) -> tuple[int, ...]:
    """The columns, of `numbers` by field, that the settings call the key of a relation."""
    place = f"{relation.schema}.{relation.name}"
    names = [name.strip() for name in parts.get(f"{place}.{KEY}", "").split(",") if name.strip()]
    if unknown := [name for name in names if name not in numbers]:
        raise StartupFault(f"columns: {place} has no column {unknown[0]!r} to be in its key")
    return tuple(numbers[name] for name in names)


def marks_of(relation: Relation, table: sa.Table, parts: Parts) -> Marks:
    """The columns of a table that play a part."""
    found = {word: _column(relation, table, parts, word) for word in WORDS}
    removed = found.pop("soft_delete")
    if not removed and not any(found.values()):
        return NO_MARKS
    return Marks(active=removed, gone=_gone(table, removed), **found)


def _column(relation: Relation, table: sa.Table, parts: Parts, word: str) -> str:
    own = parts.get(f"{relation.schema}.{relation.name}.{word}")
    name = parts.get(word, "") if own is None else own
    if not name or (own is None and name not in table.c):
        return ""
    place = f"{relation.schema}.{relation.name}"
    if name not in table.c:
        raise StartupFault(f"columns: {place} has no column {name!r} to be its {word}")
    kind = scalar_of(table.c[name].type).name
    if kind not in FITTING[word]:
        raise StartupFault(
            f"columns: {place}.{name} cannot be its {word}, which is {' or '.join(sorted(FITTING[word]))}"
        )
    return name


def _gone(table: sa.Table, name: str) -> Literal["false", "true", "time"]:
    if not name:
        return "false"
    type_: Any = table.c[name].type
    if not isinstance(type_, sa.Boolean) or isinstance(type_, Native):
        return "time"
    return "true" if GONE.search(name) else "false"
