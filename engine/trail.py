"""A change log for a package with a database of its own: audit, history, events and the hash chain need no more.

changes = change_log(ShopModel)         # GET /shop/log/changes, and .../{id}/history of every entity of the database
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Index, String, text
from sqlalchemy.orm import Mapped

from engine.entity import Entity
from engine.types import Ip, Model, Sha256, Shaped, column

ACTIONS = Literal["create", "update", "delete", "status", "export", "other"]


def change_log(base: type[Model], table: str = "log.changes") -> Entity:
    """The entity with the role `change_log`, as a table of `base`'s scope. A database has one; scopes that share a database
    share it.

    >>> class DeskModel(Model, abstract=True): ...
    >>> changes = change_log(DeskModel)
    >>> changes.key, changes.role
    ('log.changes', 'change_log')
    """

    class Change(base, table=table):  # type: ignore[valid-type, misc, call-arg]
        """Append-only record of every write, sealed in batches."""

        occurred_at: Mapped[datetime]
        actor_id: Mapped[UUID | None]
        actor_email: Mapped[str | None] = column(String(254))
        action: Mapped[ACTIONS]
        domain: Mapped[str] = column(String(63))
        entity: Mapped[str] = column(String(63))
        entity_id: Mapped[UUID | None]
        changes: Mapped[dict[str, Any]] = column(Shaped(dict[str, list[Any]]), default=dict)  # {column: [old, new]}
        ip: Mapped[Ip | None]
        user_agent: Mapped[str | None] = column(String(512))
        request_id: Mapped[str | None] = column(String(64))
        seal: Mapped[Sha256 | None]
        __table_args__ = (
            Index(None, "domain", "entity", "entity_id"),
            Index(None, "occurred_at"),
            Index(f"ix_{table.partition('.')[2]}_unsealed", "id", postgresql_where=text("seal is null")),
        )

    names = ("occurred_at", "actor_id", "actor_email", "action", "domain", "entity", "entity_id", "changes")
    given = [*names, "ip", "user_agent", "request_id", "seal"]
    search = ["actor_email", "entity", "request_id"]
    log = Entity(Change, kind="log", operations="gl", search=search, read_only=given, role="change_log")
    log.table.info.update(append_only=True, sealed_columns=("seal",))
    return log
