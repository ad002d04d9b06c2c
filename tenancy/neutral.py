"""Statements over connections whose types have codecs of somebody else's: a value that such a codec would touch crosses the
wire as text, and is cast on the other side.

A program may have told asyncpg to read jsonb as dictionaries or numeric as floats. Its connections go on doing so for it; here
the parameters and columns of such types are found once a statement, and the statement is written around them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from engine.errors import StartupFault

MAX_KNOWN = 4096


class Neutral(NamedTuple):
    """How a type crosses the wire as text, and a value to ask a connection with."""

    write: Callable[[Any], str]
    read: Callable[[str], Any]
    sample: Any


TYPES: dict[str, Neutral] = {
    "json": Neutral(str, str, '{"a":1.50}'),
    "jsonb": Neutral(str, str, '{"a": 1.50}'),
    "uuid": Neutral(str, UUID, UUID(int=7)),
    "numeric": Neutral(str, Decimal, Decimal("1.50")),
    "timestamptz": Neutral(datetime.isoformat, datetime.fromisoformat, datetime(2001, 2, 3, 4, 5, 6, 789, UTC)),
    "timestamp": Neutral(datetime.isoformat, datetime.fromisoformat, datetime(2001, 2, 3, 4, 5, 6, 789)),
    "date": Neutral(date.isoformat, date.fromisoformat, date(2001, 2, 3)),
    "time": Neutral(time.isoformat, time.fromisoformat, time(4, 5, 6)),
}
# what everything else is made of: these are read and written as asyncpg does
PLAIN: dict[str, Any] = {
    **{"text": "a", "varchar": "a", "bool": True, "int2": 1, "int4": 1, "int8": 1, "float8": 1.5, "bytea": b"a"},
    "interval": timedelta(days=1),
}
# quoted parts, and the places of parameters
PLACE = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\$([0-9]+)""")
PART = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[()]|[A-Za-z_]+""")
MAIN = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "VALUES"})


class Row(tuple[Any, ...]):
    """A record as asyncpg's: values by place or name."""

    names: tuple[str, ...]

    def __new__(cls, names: tuple[str, ...], values: Iterator[Any]) -> Row:
        made = super().__new__(cls, values)
        made.names = names
        return made

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.names.index(key) if isinstance(key, str) else key)

    def keys(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self.names

    def items(self) -> Iterator[tuple[str, Any]]:
        """Name and value of each column."""
        return zip(self.names, self, strict=True)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a column, where there is one of the name."""
        return self[name] if name in self.names else default


class Written(NamedTuple):
    """A statement whose foreign types are texts. `given`: by place of a parameter, how it is written; `found`: the same of
    columns, and how they are read."""

    text: str
    given: dict[int, Callable[[Any], Any]]
    names: tuple[str, ...]
    found: dict[int, Callable[[Any], Any]]

    def arguments(self, values: Sequence[Any]) -> list[Any]:
        """The parameters as texts."""
        return [self.given[i](v) if i in self.given and v is not None else v for i, v in enumerate(values)]

    def row(self, record: Any) -> Row:
        """A record as asyncpg would have read it."""
        found = self.found
        values = (found[i](v) if i in found and v is not None else v for i, v in enumerate(record.values()))
        return Row(self.names, values)


async def foreign_types(connection: Any) -> frozenset[str]:
    """The types that a connection reads or writes in its own way. StartupFault for one that everything is made of."""
    found = {name for name, neutral in TYPES.items() if not await _usual(connection, name, neutral.sample)}
    if odd := [name for name, sample in PLAIN.items() if not await _usual(connection, name, sample)]:
        raise StartupFault(f"the pool reads {odd[0]} in a way of its own; give the engine a pool without that codec")
    return frozenset(found)


async def _usual(connection: Any, name: str, sample: Any) -> bool:
    try:
        given, got = await connection.fetchrow(f"select $1::{name}::text, $1::{name}", sample)
        text = await connection.fetchval(f"select $1::text::{name}::text", given)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, TypeError, ValueError, AttributeError):
        return False
    return isinstance(got, type(sample)) and bool(got == sample) and text == given and _says(name, given, sample)


def _says(name: str, text: str, sample: Any) -> bool:
    """Whether the database has understood the sample; dates are in the style of the connection."""
    if name not in ("json", "jsonb", "uuid", "numeric"):
        return True
    return bool(TYPES[name].read(text) == sample)


class Neutraliser:
    """Writes statements around the foreign types of a pool's connections."""

    def __init__(self, foreign: frozenset[str]) -> None:
        self.foreign = foreign
        self.known: dict[str, Written] = {}

    async def fetch(self, connection: Any, text: str, arguments: Sequence[Any]) -> list[Any]:
        """Rows of a statement, as asyncpg's own codecs read them."""
        written = self.known.get(text)
        if written is None:
            if len(self.known) >= MAX_KNOWN:
                self.known.pop(next(iter(self.known)))
            written = self.known[text] = self._written(text, await connection.prepare(text))
        records = await connection.fetch(written.text, *written.arguments(arguments))
        return [written.row(record) for record in records]

    def _written(self, text: str, prepared: Any) -> Written:
        given: dict[int, Callable[[Any], Any]] = {}
        casts: dict[int, str] = {}
        for place, kind in enumerate(prepared.get_parameters()):
            name, many = _element(kind.name)
            if name in self.foreign:
                given[place] = _each(TYPES[name].write, many)
                casts[place] = f"(${place + 1}::text{'[]' * many})::{name}{'[]' * many}"
        columns = [(column.name, *_element(column.type.name)) for column in prepared.get_attributes()]
        found = {i: _each(TYPES[name].read, many) for i, (_, name, many) in enumerate(columns) if name in self.foreign}
        body = PLACE.sub(lambda p: casts.get(int(p[1]) - 1, p[0]) if p[1] else p[0], text)
        if found and text.lstrip()[:7].upper() == "EXPLAIN":
            found = dict.fromkeys(found, lambda value: msgspec.json.encode(value).decode())
        elif found:
            body = _as_texts(body, columns, found)
        return Written(body, given, tuple(name for name, _, _ in columns), found)


def _element(name: str) -> tuple[str, bool]:
    """A type's name, or that of an array's elements and True."""
    return (name.removesuffix("[]").removeprefix("_"), True) if name.endswith("[]") or name[0] == "_" else (name, False)


def _each(change: Callable[[Any], Any], many: bool) -> Callable[[Any], Any]:
    return (lambda values: [None if v is None else change(v) for v in values]) if many else change


def _as_texts(text: str, columns: Sequence[tuple[str, str, bool]], found: dict[int, Any]) -> str:
    """The statement with its answer as one more part of the WITH, so that columns can be cast on their way out."""
    start, has_with = _main(text)
    names = ", ".join(f"c{i}" for i in range(len(columns)))
    shown = ", ".join(f"c{i}::text{'[]' * columns[i][2]}" if i in found else f"c{i}" for i in range(len(columns)))
    before = f"{text[:start].rstrip()}, " if has_with else "WITH "
    return f"{before}cxg_out({names}) AS ({text[start:].rstrip().rstrip(';')}) SELECT {shown} FROM cxg_out"


@lru_cache(maxsize=256)
def _main(text: str) -> tuple[int, bool]:
    """Where the statement proper begins, and whether a WITH stands before it."""
    depth, has_with = 0, False
    for part in PART.finditer(text):
        word = part[0].upper()
        depth += (word == "(") - (word == ")")
        has_with = has_with or (word == "WITH" and depth == 0)
        if depth == 0 and word in MAIN:
            return part.start(), has_with
    raise AssertionError(f"no statement in {text[:80]!r}")
