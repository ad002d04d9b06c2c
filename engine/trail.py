"""A change log for a database of a package's own: audit, history, events and the hash chain need no more.

One that declares none has this one. Whoever wants it elsewhere, or names it in a policy, says so himself:

changes = change_log(ShopModel)         # GET /shop/log/changes, and .../{id}/history of every entity of the database
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Index, String, Table, Uuid, text

from engine.entity import Entity
from engine.errors import StartupFault
from engine.types import Formatted, Model, Scope, Shaped

PLACE = "log.changes"
# of a MetaData: the change log that was made for it
MADE = "cxg_change_log"
ACTIONS = ("create", "update", "delete", "status", "export", "other")


def _columns() -> list[Column[Any]]:
    action = sa.Enum(*ACTIONS, native_enum=False, create_constraint=False, length=24)
    return [
        Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        Column("actor_id", Uuid),
        Column("actor_email", String(254)),
        Column("action", action, nullable=False),
        Column("domain", String(63), nullable=False),
        Column("entity", String(63), nullable=False),
        Column("entity_id", Uuid),
        Column("changes", Shaped(dict[str, list[Any]]), nullable=False, default=dict),  # {column: [old, new]}
        Column("ip", Formatted("ip")),
        Column("user_agent", String(512)),
        Column("request_id", String(64)),
        Column("seal", Formatted("sha256")),
    ]


def change_log(base: type[Model], table: str = PLACE) -> Entity:
    """The entity with the role `change_log`, as a table of `base`'s scope. A database has one; scopes that share a database
    share it.

    >>> class LoggedModel(Model, abstract=True): ...
    >>> changes = change_log(LoggedModel)
    >>> changes.key, changes.role
    ('log.changes', 'change_log')
    """
    return _log(base.metadata, table)


def logs_for(scopes: Sequence[Scope], entities: Sequence[Entity]) -> list[tuple[Scope, Entity]]:
    """A change log, and the scope that it is in, for each database of the engine's own that has entities and declares none, so
    that nothing is written without a trace. StartupFault where another table stands in its place."""
    found = []
    for place in dict.fromkeys((scope.stored_in, scope.tenant_bound) for scope in scopes if not scope.foreign):
        there = [scope for scope in scopes if not scope.foreign and (scope.stored_in, scope.tenant_bound) == place]
        own = [e for e in entities if any(e.table.metadata is scope.metadata for scope in there)]
        if not own or any(e.role == "change_log" for e in own) or not all(scope.audited for scope in there):
            continue
        metadata = there[0].metadata
        if MADE not in metadata.info:
            if PLACE in metadata.tables:
                raise StartupFault(
                    f"{PLACE} of the scope {there[0].name!r} is where its change log would be; say role='change_log' of the table "
                    "that is one, or `Scope(..., audited=False)`"
                )
            metadata.info[MADE] = _log(metadata, PLACE)
        found.append((there[0], metadata.info[MADE]))
    return found


def _log(metadata: sa.MetaData, table: str) -> Entity:
    schema, name = table.split(".")
    columns = _columns()
    made = Table(name, metadata, *columns, schema=schema, comment="Append-only record of every write.")
    made.append_column(Column("id", Uuid, primary_key=True))
    Index(None, made.c.domain, made.c.entity, made.c.entity_id)
    Index(None, made.c.occurred_at)
    Index(f"ix_{name}_unsealed", made.c.id, postgresql_where=text("seal is null"))
    made.info.update(append_only=True, sealed_columns=("seal",))
    search = ["actor_email", "entity", "request_id"]
    given = [column.name for column in columns]
    return Entity(made, kind="log", operations="gl", search=search, read_only=given, role="change_log")
