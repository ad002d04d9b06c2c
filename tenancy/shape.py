"""One shape for every tenant: tables written as if there were one tenant are rewritten so that each row, key, foreign
key and index begins with `tenant_id`. Source: design/tenancy.md, sections 1 and 6.

Why composite foreign keys: their checks bypass row security, so with single-column keys a row may point to another
tenant's row, and ON DELETE CASCADE through it deletes there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    Constraint,
    Dialect,
    ForeignKeyConstraint,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.sql.elements import conv

TENANT = "tenant_id"
# the access methods that have an operator class for uuid (gist: through btree_gist); gin, hash and spgist have none
PREFIXABLE = frozenset({"btree", "brin", "gist"})
NAME_LIMIT = 63
DIALECT: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves its dialects untyped

Kind = TypeVar("Kind", bound=Constraint)


def is_tenant_table(table: Table) -> bool:
    """Whether the rows belong to a tenant: true once `bind_to_tenant` rewrote the table."""
    return TENANT in table.c and bool(table.c[TENANT].info.get("tenant"))


def bind_to_tenant(metadata: MetaData) -> None:
    """Rewrite in place every table but those with `info={"shared": True}`. A second call changes only what came since.

    Raises ValueError when a shared table has a foreign key to a tenant's table: what all read cannot point into one.
    """
    bound = [table for table in metadata.tables.values() if not table.info.get("shared")]
    _refuse_shared_into_tenant(metadata)
    for table in bound:
        _add_tenant(table)
        _lead_primary_key(table)
    for table in bound:
        for unique in _constraints(table, UniqueConstraint):
            _lead_unique(unique)
        for exclusion in _constraints(table, ExcludeConstraint):
            _lead_exclusion(exclusion)
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            _lead_index(table, index)
        for key in _constraints(table, ForeignKeyConstraint):
            _lead_foreign_key(key)


def index_foreign_keys(metadata: MetaData) -> None:
    """Give each foreign key an index, unless a key or a full index already leads with its columns (in any order).

    A partial index does not count: the check behind ON DELETE looks at every row.
    """
    for table in metadata.tables.values():
        for key in _constraints(table, ForeignKeyConstraint):
            own = [name for name in _columns(key) if name != TENANT]
            # a key into a shared table has no tenant_id, its index has: every query of a tenant table names the tenant
            names = [TENANT, *own] if is_tenant_table(table) else own
            if not any(set(lead[: len(names)]) == set(names) for lead in _leads(table)):
                Index(conv(_shorten(f"ix_{table.name}_{'_'.join(own)}_fk")), *(table.c[name] for name in names))


def _constraints(table: Table, kind: type[Kind]) -> list[Kind]:
    """The table's constraints of one kind in a stable order (SQLAlchemy keeps them in a set)."""
    found = [constraint for constraint in table.constraints if isinstance(constraint, kind)]
    return sorted(found, key=lambda constraint: (_columns(constraint), str(constraint.name)))


def _columns(constraint: Constraint) -> list[str]:
    return [column.name for column in getattr(constraint, "columns", ())]


def _leads(table: Table) -> Iterator[list[str]]:
    """The column lists that a look-up by leading columns can use: keys, and full btree indexes of plain columns."""
    yield [column.name for column in table.primary_key]
    for unique in _constraints(table, UniqueConstraint):
        yield [column.name for column in unique.columns]
    for index in table.indexes:
        options = index.dialect_kwargs
        if options.get("postgresql_where") is None and _method(index) == "btree":
            yield [getattr(part, "name", "") if isinstance(part, Column) else "" for part in index.expressions]


def _method(index: Index) -> str:
    return str(index.dialect_kwargs.get("postgresql_using") or "btree").lower()


def _refuse_shared_into_tenant(metadata: MetaData) -> None:
    faults = [
        f"{table.fullname}: a shared table cannot refer to the tenant table {key.referred_table.fullname}"
        for table in metadata.tables.values()
        if table.info.get("shared")
        for key in _constraints(table, ForeignKeyConstraint)
        if not key.referred_table.info.get("shared")
    ]
    if faults:
        raise ValueError("; ".join(faults))


def _add_tenant(table: Table) -> None:
    if TENANT not in table.c:
        table.append_column(Column(TENANT, Uuid(), nullable=False))
    column = table.c[TENANT]
    column.nullable = False
    column.info["tenant"] = True
    table.info["tenant_bound"] = True


def _lead_primary_key(table: Table) -> None:
    key = table.primary_key
    rest = [column for column in key.columns if column.name != TENANT]
    if _columns(key)[:1] == [TENANT]:
        return
    # SQLAlchemy warns when the columns' own marks and the constraint differ
    table.c[TENANT].primary_key = True
    # without a name the database chooses <table>_pkey, as it does for a single column
    name = _kept_name(key, None)
    table.append_constraint(PrimaryKeyConstraint(table.c[TENANT], *rest, name=name, **_dialect_options(key)))


def _lead_unique(old: UniqueConstraint) -> None:
    table, names = old.table, _columns(old)
    if names[:1] == [TENANT]:
        return
    table.constraints.discard(old)
    new = UniqueConstraint(
        *_behind_tenant(table, names),
        name=_kept_name(old, f"{table.name}_{'_'.join(names)}_key"),
        deferrable=old.deferrable,
        initially=old.initially,
        info=old.info,
        **_dialect_options(old),
    )
    table.append_constraint(new)


def _lead_index(table: Table, old: Index) -> None:
    first = next(iter(old.expressions), None)
    if first is table.c[TENANT] or _method(old) not in PREFIXABLE:
        return
    table.indexes.discard(old)
    parts = [part for part in old.expressions if part is not table.c[TENANT]]
    name = conv(str(old.name)) if old.name is not None else None
    Index(name, table.c[TENANT], *parts, unique=bool(old.unique), info=old.info, **_dialect_options(old))


def _lead_exclusion(old: ExcludeConstraint) -> None:
    table = old.table
    # the only place where SQLAlchemy keeps the elements together with their operators
    parts: Sequence[tuple[Any, str | None, str]] = old._render_exprs
    if any(part is table.c[TENANT] for part, _, _ in parts):
        return
    table.constraints.discard(old)
    new = ExcludeConstraint(
        (table.c[TENANT], "="),
        *((part, operator) for part, _, operator in parts),
        name=_kept_name(old, f"{table.name}_{'_'.join(_columns(old))}_excl"),
        deferrable=old.deferrable,
        initially=old.initially,
        using=old.using,
        where=old.where,
        ops=old.ops,
        info=old.info,
    )
    table.append_constraint(new)


def _lead_foreign_key(old: ForeignKeyConstraint) -> None:
    table, target, names = old.table, old.referred_table, _columns(old)
    if names[:1] == [TENANT] or not is_tenant_table(target):
        return
    referred = [element.column for element in old.elements]
    _detach_foreign_key(old)
    new = ForeignKeyConstraint(
        _behind_tenant(table, names),
        [target.c[TENANT], *(column for column in referred if column.name != TENANT)],
        name=_kept_name(old, f"{table.name}_{'_'.join(names)}_fkey"),
        onupdate=old.onupdate,
        ondelete=_only_own_columns(old.ondelete, names),
        deferrable=old.deferrable,
        initially=old.initially,
        use_alter=old.use_alter,
        match=old.match,
        info=old.info,
        comment=old.comment,
        **_dialect_options(old),
    )
    table.append_constraint(new)


def _detach_foreign_key(key: ForeignKeyConstraint) -> None:
    """SQLAlchemy has no call for this: a foreign key is known to its table, its columns and the constraint."""
    key.table.constraints.discard(key)
    for element in key.elements:
        element.parent.foreign_keys.discard(element)
        key.table.foreign_keys.discard(element)


def _only_own_columns(action: str | None, names: Sequence[str]) -> str | None:
    """`SET NULL` would null tenant_id too; the column list keeps it (PostgreSQL 15 and later)."""
    if action is None or not re.fullmatch(r"SET (NULL|DEFAULT)", action, re.IGNORECASE):
        return action
    columns = ", ".join(DIALECT.identifier_preparer.quote(name) for name in names if name != TENANT)
    return f"{action.upper()} ({columns})"


def _behind_tenant(table: Table, names: Sequence[str]) -> list[Column[Any]]:
    return [table.c[TENANT], *(table.c[name] for name in names if name != TENANT)]


def _kept_name(old: Constraint, otherwise: str | None) -> str | None:
    """The name as it was; `conv` keeps a naming convention from being applied to it (or to `tenant_id`) once more."""
    if isinstance(old.name, str):
        return conv(old.name)
    return conv(_shorten(otherwise)) if otherwise else None


def _dialect_options(item: Constraint | Index) -> dict[str, Any]:
    return {name: value for name, value in item.dialect_kwargs.items() if value is not None}


def _shorten(name: str) -> str:
    """At most 63 bytes, PostgreSQL's limit; the end of a long name becomes a digest, so that two stay two."""
    if len(name.encode()) <= NAME_LIMIT:
        return name
    return f"{name[:54]}_{sha256(name.encode()).hexdigest()[:8]}"
