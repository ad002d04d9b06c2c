"""The SQL between a live database and the models, computed in one place for development and for written migrations.

Alembic's autogenerate says which tables and columns came, went or changed type; `tenancy/shadow.py` says the rest.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, NamedTuple

import asyncpg
from alembic.autogenerate import produce_migrations
from alembic.operations import Operations, ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from sqlalchemy.exc import SAWarning
from sqlalchemy.ext.asyncio import AsyncConnection

from tenancy.ddl import create_tables, needs_btree_gist, quote, schemas_of
from tenancy.shadow import compare_definitions, raw_connection
from tenancy.shape import DIALECT


class Loss(NamedTuple):
    """A statement that takes data along, and what lets the program run on without it (or nothing)."""

    statement: str
    instead: str | None = None


@dataclass
class Difference:
    """Statements in the order in which they run; what would lose data stands apart and runs last, or never."""

    statements: list[str] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)


async def find_difference(connection: AsyncConnection, metadata: MetaData) -> Difference:
    """What brings the database's tables to the models; the database is as before when this returns.

    `connection` is in a transaction of the owner role, who may create schemas.
    """
    raw = await raw_connection(connection)
    wanted = {(table.schema or "public", table.name): table for table in metadata.tables.values()}
    found_tables = {(row["schema"], row["name"]) for row in await raw.fetch(TABLES, schemas_of(metadata))}
    # tables that the migrations keep for themselves are not the models' business
    present = {place for place in found_tables if place in wanted or not place[1].startswith("cxg_")}
    fresh = [table for place, table in wanted.items() if place not in present]
    found = Difference(await _foundations(raw, metadata))
    if not present:
        found.statements += create_tables(fresh)
        return found
    columns = await connection.run_sync(_compare_columns, metadata)
    rest = await compare_definitions(connection, metadata, present)
    found.statements += [*rest.dropped, *columns.statements, *rest.added, *create_tables(fresh), *rest.foreign]
    found.losses += columns.losses
    return found


TABLES = """
SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p')
"""


async def _foundations(raw: asyncpg.Connection, metadata: MetaData) -> list[str]:
    """Schemas and extensions that are not there yet."""
    schemas = schemas_of(metadata)
    there = {row["nspname"] for row in await raw.fetch("SELECT nspname FROM pg_namespace")}
    statements = [f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}" for schema in schemas if schema not in there]
    extensions = {row["extname"] for row in await raw.fetch("SELECT extname FROM pg_extension")}
    if needs_btree_gist(metadata) and "btree_gist" not in extensions:
        statements.append("CREATE EXTENSION IF NOT EXISTS btree_gist")
    return statements


def _compare_columns(connection: Connection, metadata: MetaData) -> Difference:
    """Alembic's part: columns that came, changed type or nullability, and what went."""
    schemas = {None if schema == "public" else schema for schema in schemas_of(metadata)}
    in_public = {table.name for table in metadata.tables.values() if table.schema in (None, "public")}

    def include_name(name: str | None, kind: str, parents: Any) -> bool:
        if kind == "schema":
            return name in schemas
        # a schema of ours is ours; in public live others too, so what no model knows there is not taken for vanished
        is_ours = kind == "table" and (parents["schema_name"] is not None or name in in_public)
        return kind == "column" or is_ours

    def include_object(item: Any, name: str | None, kind: str, reflected: bool, counterpart: Any) -> bool:
        is_new_table = kind == "table" and not reflected and counterpart is None
        return kind in ("table", "column") and not is_new_table

    options = {
        "include_schemas": True,
        "include_name": include_name,
        "include_object": include_object,
        "compare_type": True,
        "compare_server_default": False,
    }
    context = MigrationContext.configure(connection, opts=options)
    with warnings.catch_warnings():
        # it sorts the tables though we do not ask for an order, and warns of circles of foreign keys
        warnings.simplefilter("ignore", SAWarning)
        upgrade = produce_migrations(context, metadata).upgrade_ops
    return _write(list(_flat(upgrade.ops)) if upgrade else [])


def _flat(operations: Iterable[ops.MigrateOperation]) -> Iterator[ops.MigrateOperation]:
    for operation in operations:
        if isinstance(operation, ops.OpContainer):
            yield from _flat(operation.ops)
        else:
            yield operation


class _Statements(StringIO):
    """Takes each statement that Alembic writes in its offline mode."""

    def __init__(self) -> None:
        super().__init__()
        self.statements: list[str] = []

    def write(self, text: str) -> int:
        self.statements.append(text.strip().removesuffix(";"))
        return len(text)


def _write(operations: Sequence[ops.MigrateOperation]) -> Difference:
    output = _Statements()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": output})
    writer = Operations(context)
    found = Difference(output.statements)
    for operation in operations:
        if isinstance(operation, ops.DropTableOp):
            found.losses.append(Loss(f"DROP TABLE {_owner(operation)}"))
        elif isinstance(operation, ops.DropColumnOp):
            found.losses.append(_drop_column(operation))
        elif isinstance(operation, ops.AddColumnOp):
            output.statements.append(_add_column(operation))
        else:
            writer.invoke(_with_cast(operation))
    return found


def _owner(operation: Any) -> str:
    return f"{quote(operation.schema or 'public')}.{quote(operation.table_name)}"


def _add_column(operation: ops.AddColumnOp) -> str:
    """The column alone: its keys and checks come from the comparison of definitions."""
    make_compiler: Any = DIALECT.ddl_compiler
    compiler = make_compiler(DIALECT, None)
    return f"ALTER TABLE {_owner(operation)} ADD COLUMN {compiler.get_column_specification(operation.column)}"


def _drop_column(operation: ops.DropColumnOp) -> Loss:
    table, column = _owner(operation), operation.to_column()
    name = quote(operation.column_name)
    required = not column.nullable and column.server_default is None and column.identity is None
    instead = f"ALTER TABLE {table} ALTER COLUMN {name} DROP NOT NULL" if required else None
    return Loss(f"ALTER TABLE {table} DROP COLUMN {name}", instead)


def _with_cast(operation: ops.MigrateOperation) -> ops.MigrateOperation:
    """PostgreSQL casts by itself only where it cannot fail; a migration may cast, and a reviewer sees it."""
    if isinstance(operation, ops.AlterColumnOp) and operation.modify_type is not None:
        kind = operation.modify_type.compile(dialect=DIALECT)
        operation.kw["postgresql_using"] = f"{quote(operation.column_name)}::{kind}"
    return operation
