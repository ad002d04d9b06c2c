"""What Alembic does not compare: keys, checks, exclusions, indexes to the last detail, column defaults.

The models are created a second time, in shadow schemas inside a savepoint that is rolled back, and PostgreSQL prints
the definitions of both sides in its own words. Equal text is equal meaning, whatever way the model wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import asyncpg
from sqlalchemy import Column, Constraint, Index, MetaData, Table
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql.elements import conv

from tenancy.ddl import Schemas, create_tables, needs_btree_gist, quote, render, schemas_of
from tenancy.shape import DIALECT

SHADOW = "cxg_shadow_"
UNNAMED = "cxg_unnamed_"
# what is added in which order: keys before the foreign keys that lean on them
ORDER = "dpuxcif"

Item = Constraint | Index | Column[Any]


class Fact(NamedTuple):
    """One definition as PostgreSQL prints it. `kind`: p u x c f (pg_constraint.contype), i index, d column default."""

    schema: str
    table: str
    kind: str
    name: str
    definition: str

    @property
    def owner(self) -> str:
        return f"{quote(self.schema)}.{quote(self.table)}"


FACTS = """
WITH tables AS (
  SELECT c.oid, n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p')
)
SELECT t.schema, t.name, contype::text, conname::text, pg_get_constraintdef(c.oid)
FROM pg_constraint c JOIN tables t ON t.oid = conrelid WHERE contype IN ('p', 'u', 'x', 'c', 'f')
UNION ALL
SELECT t.schema, t.name, 'i', i.relname, CASE WHEN x.indisunique THEN 'UNIQUE ' ELSE '' END || 'USING '
       || substr(pg_get_indexdef(i.oid), strpos(pg_get_indexdef(i.oid), ' USING ') + 7)
FROM pg_index x JOIN tables t ON t.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
WHERE NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.oid AND c.contype IN ('p', 'u', 'x'))
UNION ALL
SELECT t.schema, t.name, 'd', a.attname, coalesce(pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_attribute a JOIN tables t ON t.oid = a.attrelid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
"""


class Definitions(NamedTuple):
    """Statements that make the definitions equal: `foreign` ones come after new tables, for they may point there."""

    dropped: list[str]
    added: list[str]
    foreign: list[str]


async def raw_connection(connection: AsyncConnection) -> asyncpg.Connection:
    """asyncpg's own connection inside the same transaction: SQLAlchemy begins it with its first statement."""
    await connection.exec_driver_sql("SELECT 1")
    raw = (await connection.get_raw_connection()).driver_connection
    assert isinstance(raw, asyncpg.Connection)
    return raw


async def compare_definitions(
    connection: AsyncConnection, metadata: MetaData, present: set[tuple[str, str]]
) -> Definitions:
    """The difference for the tables of the models that are `present`, as (schema, name), in the database."""
    raw = await raw_connection(connection)
    nested = await connection.begin_nested()
    try:
        with _all_named(metadata) as items:
            schemas: Schemas = {table.schema: SHADOW + (table.schema or "public") for table in metadata.tables.values()}
            tables = create_tables(metadata.tables.values(), schemas)
        wanted = await _create_shadows(raw, [str(shadow) for shadow in schemas.values()], tables, metadata)
        held = await _facts(raw, schemas_of(metadata))
    finally:
        await nested.rollback()
    known = {(fact.schema, fact.table) for fact in wanted} & present
    pairs = [[fact for fact in facts if (fact.schema, fact.table) in known] for facts in (wanted, held)]
    dropped, added = _pair(*pairs)
    statements = [(fact.kind, _add(fact, items)) for fact in sorted(added, key=_rank)]
    return Definitions(
        [_drop(fact) for fact in sorted(dropped, key=_rank, reverse=True)],
        [statement for kind, statement in statements if kind != "f"],
        [statement for kind, statement in statements if kind == "f"],
    )


@contextmanager
def _all_named(metadata: MetaData) -> Iterator[dict[tuple[str, str, str], Item]]:
    """(schema, table, name in the database) -> constraint, index or column. Those without a name have one in here."""
    found: dict[tuple[str, str, str], Item] = {}
    unnamed: list[tuple[Constraint, Any]] = []
    try:
        for table in metadata.tables.values():
            for item in _items(table):
                if isinstance(item, Constraint) and not isinstance(item.name, str):
                    unnamed.append((item, item.name))
                    item.name = conv(f"{UNNAMED}{len(unnamed)}")
                found[table.schema or "public", table.name, _name(item)] = item
        yield found
    finally:
        for item, name in unnamed:
            item.name = name


def _items(table: Table) -> list[Item]:
    inline = [constraint for column in table.columns for constraint in column.constraints]
    return [*table.columns, *table.constraints, *inline, *table.indexes]


def _name(item: Item) -> str:
    """The name after SQLAlchemy shortened it, if it had to."""
    if isinstance(item, Column):
        return item.name
    formatted = str(DIALECT.identifier_preparer.format_constraint(item))
    return formatted[1:-1].replace('""', '"') if formatted.startswith('"') else formatted


async def _create_shadows(
    raw: asyncpg.Connection, schemas: list[str], tables: list[str], metadata: MetaData
) -> list[Fact]:
    script = [f"CREATE SCHEMA {quote(schema)}" for schema in dict.fromkeys(schemas)]
    script += ["CREATE EXTENSION IF NOT EXISTS btree_gist"] if needs_btree_gist(metadata) else []
    await raw.execute(";\n".join([*script, *tables]))
    return [Fact(*(value.replace(SHADOW, "") for value in fact)) for fact in await _facts(raw, schemas)]


async def _facts(raw: asyncpg.Connection, schemas: Sequence[str]) -> list[Fact]:
    # with no search path every name is printed with its schema; the savepoint's end brings the path back
    await raw.execute("SET LOCAL search_path = ''")
    return [Fact(*row) for row in await raw.fetch(FACTS, schemas)]


def _pair(wanted: list[Fact], held: list[Fact]) -> tuple[list[Fact], list[Fact]]:
    """(held but not wanted, wanted but not held); columns that only one side has are not spoken of."""
    dropped, added = sorted(set(held) - set(wanted)), []
    columns = {fact[:4] for fact in held if fact.kind == "d"}
    for fact in sorted(set(wanted) - set(held)):
        same = [other for other in dropped if other._replace(name=fact.name) == fact]
        if same and fact.name.startswith(UNNAMED):
            dropped.remove(same[0])  # its name is whatever PostgreSQL chose back then
        elif fact.kind != "d" or fact[:4] in columns:
            added.append(fact)
    return [fact for fact in dropped if fact.kind != "d"], added


def _rank(fact: Fact) -> tuple[int, Fact]:
    return (ORDER.index(fact.kind), fact)


def _drop(fact: Fact) -> str:
    if fact.kind == "i":
        return f"DROP INDEX {quote(fact.schema)}.{quote(fact.name)}"
    return f"ALTER TABLE {fact.owner} DROP CONSTRAINT {quote(fact.name)}"


def _add(fact: Fact, items: dict[tuple[str, str, str], Item]) -> str:
    """In the model's words: PostgreSQL's own, read once more, may be printed otherwise, and so never be equal."""
    item = items[fact.schema, fact.table, fact.name]
    make_compiler: Any = DIALECT.ddl_compiler
    compiler = make_compiler(DIALECT, None)
    if isinstance(item, Index):
        return render(CreateIndex(item))
    if isinstance(item, Column):
        default = compiler.get_column_default_string(item) or fact.definition
        action = f"SET DEFAULT {default}" if default else "DROP DEFAULT"
        return f"ALTER TABLE {fact.owner} ALTER COLUMN {quote(fact.name)} {action}"
    return f"ALTER TABLE {fact.owner} ADD {compiler.process(item)}"
