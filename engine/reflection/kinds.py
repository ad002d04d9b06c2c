"""PostgreSQL's types as the engine's: by name, through domains to their base, arrays by their items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import TypeEngine

from engine.natives import (
    BY_NAME,
    EQUAL,
    NOTHING,
    Bytes,
    Date,
    Double,
    Moment,
    Numeric,
    Real,
    document_type,
    list_of,
    text_type,
)
from engine.reflection.reading import Type
from engine.scalars import SORTED, scalar_of

HEADER = 4
SECONDS = frozenset({"timestamp", "timestamptz", "time", "timetz", "interval"})
MOST_DIGITS = 6
PREPARER = pg.dialect().identifier_preparer  # type: ignore[no-untyped-call]


def _numeric(typmod: int) -> TypeEngine[Any]:
    if typmod < HEADER:
        return Numeric()
    precision, scale = ((typmod - HEADER) >> 16) & 0xFFFF, (typmod - HEADER) & 0x7FF
    return Numeric(precision, (scale ^ 1024) - 1024)


# types that the engine knows by themselves
PLAIN: dict[str, Callable[[int], TypeEngine[Any]]] = {
    "bool": lambda _: sa.Boolean(),
    "int2": lambda _: sa.SmallInteger(),
    "int4": lambda _: sa.Integer(),
    "int8": lambda _: sa.BigInteger(),
    "float4": lambda _: Real(),
    "float8": lambda _: Double(),
    "numeric": _numeric,
    "text": lambda _: sa.Text(),
    "varchar": lambda typmod: sa.String(typmod - HEADER) if typmod > HEADER else sa.Text(),
    "uuid": lambda _: sa.Uuid(),
    "date": lambda _: Date(),
    "jsonb": lambda _: pg.JSONB(),
    "bytea": lambda _: Bytes(),
}


def quoted(schema: str, name: str) -> str:
    """A name in SQL that needs no search path; quoted always, for `bit` and `char` mean less without."""
    return f"{PREPARER.quote_identifier(schema)}.{PREPARER.quote_identifier(name)}"


class Kinds:
    """The types of one database."""

    def __init__(self, types: tuple[Type, ...]) -> None:
        self.known: Mapping[int, Type] = {type_.oid: type_ for type_ in types}

    def base(self, oid: int, typmod: int = -1) -> tuple[Type | None, int]:
        """What a type is at last, and its modifier: a domain may say one, and may stand over another domain."""
        found = self.known.get(oid)
        while found is not None and found.kind == "d":
            typmod = found.typmod if found.typmod >= 0 else typmod
            found = self.known.get(found.base)
        return found, typmod

    def domain_checks(self, oid: int) -> tuple[str, ...]:
        """The conditions of a domain and of those below it, over VALUE."""
        return tuple(check for domain in self._domains(oid) for check in domain.checks)

    def default(self, oid: int) -> str | None:
        """What a domain gives a column that says nothing itself."""
        return next((domain.default for domain in self._domains(oid) if domain.default is not None), None)

    def _domains(self, oid: int) -> Iterator[Type]:
        """A domain and those that it stands over, the nearest first."""
        found = self.known.get(oid)
        while found is not None and found.kind == "d":
            yield found
            found = self.known.get(found.base)

    def is_domain(self, oid: int) -> bool:
        """Whether a type stands over another."""
        return oid in self.known and self.known[oid].kind == "d"

    def required(self, oid: int) -> bool:
        """Whether a domain refuses null."""
        return any(domain.required for domain in self._domains(oid))

    def of(self, oid: int, typmod: int) -> TypeEngine[Any]:
        """The SQLAlchemy type of a column. What nothing better is known of travels as text."""
        found, typmod = self.base(oid, typmod)
        if found is None:
            return text_type("text")
        name = quoted(found.schema, found.name)
        if found.kind == "e":
            return text_type(name, "enum", enums=found.words)
        if found.kind in "rm":
            return text_type(name, "range" if found.kind == "r" else "multirange")
        if found.element and found.category == "A":
            return self._list(found, typmod)
        return self._simple(found, name, typmod) if found.kind == "b" else document_type(name, self.families(found))

    def families(self, found: Type | None) -> frozenset[str]:
        """How far two values of a type compare."""
        return (NOTHING, EQUAL, SORTED)[self._compares(found)]

    def _compares(self, found: Type | None) -> int:
        """As `Type.compares`; of a type with parts as far as all of these do. Names of tables and functions (`regclass`) not at
        all: one that is unknown is an error and no value."""
        if found is None or found.name.startswith("reg"):
            return 0
        parts = found.members if found.kind == "c" else (found.element,) if found.category == "A" else ()
        if parts:
            return min(self._compares(self.base(part)[0]) for part in parts)
        return 2 if found.kind in "erm" else found.compares

    def _simple(self, found: Type, name: str, typmod: int) -> TypeEngine[Any]:
        if found.name in PLAIN and found.schema == "pg_catalog":
            return PLAIN[found.name](typmod)
        row = BY_NAME.get(found.name)
        if row is None:
            return document_type(name, self.families(found))
        length = None
        if found.name in SECONDS and found.schema == "pg_catalog":
            digits = typmod & 0xFFFF if found.name == "interval" and typmod >= 0 else typmod
            length = digits if 0 <= digits < MOST_DIGITS else None
            if found.name == "timestamptz" and length is None:
                return Moment(timezone=True)
        elif found.name == "bpchar":
            length = typmod - HEADER if typmod > HEADER else None
        elif found.name == "name":
            length = 63
        return text_type(name, row, length=length)

    def _list(self, found: Type, typmod: int) -> TypeEngine[Any]:
        """An array; one of items without a row is a text itself."""
        element = self.known.get(found.element)
        name = quoted(found.schema, found.name)
        if element is None:
            return text_type(name)
        item = self.of(found.element, typmod)
        if isinstance(item, sa.LargeBinary):
            item = text_type(quoted("pg_catalog", "bytea"), "hex")
        if scalar_of(item).name in ("document", "letter", "list", "money"):
            return text_type(name)
        return list_of(name, item)
