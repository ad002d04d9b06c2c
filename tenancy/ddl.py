"""The models as DDL text: to create them, to create their shadows, and to take a fingerprint of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ForeignKeyConstraint, MetaData, Table
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.schema import (
    AddConstraint,
    CreateIndex,
    CreateTable,
    DDLElement,
    SetColumnComment,
    SetTableComment,
    sort_tables_and_constraints,
)

from tenancy.shape import DIALECT

quote = DIALECT.identifier_preparer.quote
Schemas = dict[str | None, str | None]


def schemas_of(metadata: MetaData) -> list[str]:
    """The schemas that the models live in, `public` for those without."""
    return sorted({table.schema or "public" for table in metadata.tables.values()})


def render(element: DDLElement, schemas: Schemas | None = None) -> str:
    """One DDL element as SQL, its schemas replaced where `schemas` says so."""
    options: dict[str, Any] = {"schema_translate_map": schemas, "render_schema_translate": True} if schemas else {}
    return str(element.compile(dialect=DIALECT, **options)).strip()


def create_tables(tables: Iterable[Table], schemas: Schemas | None = None) -> list[str]:
    """CREATE TABLE in the order that foreign keys ask for (those of a circle follow by ALTER TABLE), then indexes."""
    made = sorted(tables, key=lambda table: table.fullname)
    statements: list[str] = []
    for table, keys in sort_tables_and_constraints(made):  # type: ignore[no-untyped-call]
        if table is not None:
            statements.append(render(CreateTable(table, include_foreign_key_constraints=keys), schemas))
        else:
            late = sorted(keys, key=lambda key: (key.table.fullname, str(key.name)))
            statements += [render(_late(key), schemas) for key in late]
    for table in made:
        statements += [render(index, schemas) for index in _indexes(table)]
        statements += [render(comment, schemas) for comment in _comments(table)]
    return statements


def definitions(metadata: MetaData) -> list[str]:
    """The models as text that is the same in every process: what a fingerprint is taken of."""
    found: list[str] = []
    for _, table in sorted(metadata.tables.items()):
        late = sorted((key for key in table.foreign_key_constraints if key.use_alter), key=lambda key: str(key.name))
        elements: list[DDLElement] = [
            CreateTable(table),
            *map(_late, late),
            *_indexes(table),
            *_comments(table),
        ]
        found += [render(element) for element in elements]
    return found


def _late(key: ForeignKeyConstraint) -> DDLElement:
    """ALTER TABLE ADD; left alone, SQLAlchemy would keep the key out of every later CREATE TABLE."""
    return AddConstraint(key, isolate_from_table=False)


def _indexes(table: Table) -> list[DDLElement]:
    return [CreateIndex(index) for index in sorted(table.indexes, key=lambda index: str(index.name))]


def _comments(table: Table) -> list[DDLElement]:
    columns: list[DDLElement] = [SetColumnComment(column) for column in table.columns if column.comment]
    return [SetTableComment(table), *columns] if table.comment else columns


def needs_btree_gist(metadata: MetaData) -> bool:
    """gist has no operators for uuid, text and numbers by itself."""
    tables = list(metadata.tables.values())
    methods = {index.dialect_kwargs.get("postgresql_using") for table in tables for index in table.indexes}
    return "gist" in methods or any(
        isinstance(item, ExcludeConstraint) for table in tables for item in table.constraints
    )
