"""A change log for a package with a database of its own: audit, history, events and the hash chain need no more.

changes = change_log(ShopModel)         # GET /shop/log/changes, and .../{id}/history of every entity of the database
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Index, String, Table, Uuid, text

from engine.entity import Entity
from engine.types import Formatted, Model, Shaped

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


def change_log(base: type[Model], table: str = "log.changes") -> Entity:
    """The entity with the role `change_log`, as a table of `base`'s scope. A database has one; scopes that share a database
    share it.

    >>> class LoggedModel(Model, abstract=True): ...
    >>> changes = change_log(LoggedModel)
    >>> changes.key, changes.role
    ('log.changes', 'change_log')
    """
    schema, name = table.split(".")
    columns = _columns()
    made = Table(name, base.metadata, *columns, schema=schema, comment="Append-only record of every write.")
    made.append_column(Column("id", Uuid, primary_key=True))
    Index(None, made.c.domain, made.c.entity, made.c.entity_id)
    Index(None, made.c.occurred_at)
    Index(f"ix_{name}_unsealed", made.c.id, postgresql_where=text("seal is null"))
    made.info.update(append_only=True, sealed_columns=("seal",))
    search = ["actor_email", "entity", "request_id"]
    given = [column.name for column in columns]
    return Entity(made, kind="log", operations="gl", search=search, read_only=given, role="change_log")
