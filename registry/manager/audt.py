"""Audit and compliance: who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped

from engine.entity import Entity
from engine.types import BigInt, Ip, Sha256, Shaped, column, outside
from registry.manager import ManagerModel


class AuditLog(ManagerModel, table="audt.audit_logs"):
    """Append-only record of every write, sign-in and export, chained by hash."""

    occurred_at: Mapped[datetime]
    scope: Mapped[Literal["manager", "tenant"]]
    tenant_id: Mapped[UUID | None]
    actor_id: Mapped[UUID | None] = outside("manager/idam.users")
    actor_email: Mapped[str | None] = column(String(254))
    action: Mapped[Literal["create", "update", "delete", "status", "login", "logout", "export", "other"]]
    domain: Mapped[str] = column(String(8))
    entity: Mapped[str] = column(String(64))
    entity_id: Mapped[UUID | None]
    changes: Mapped[dict[str, Any]] = column(Shaped(dict[str, list[Any]]), default=dict)  # {column: [old, new]}
    outcome: Mapped[Literal["ok", "denied", "error"]]
    ip: Mapped[Ip | None]
    user_agent: Mapped[str | None] = column(String(512))
    request_id: Mapped[str | None] = column(String(64))
    seq: Mapped[BigInt | None]
    prev_hash: Mapped[Sha256 | None]
    row_hash: Mapped[Sha256 | None]
    __table_args__ = (Index(None, "domain", "entity", "entity_id"), Index(None, "occurred_at"))


audit_logs = Entity(
    AuditLog,
    kind="log",
    operations="gl",
    unique=["seq"],
    search=["actor_email", "entity", "request_id"],
    read_only=[
        *("occurred_at", "scope", "tenant_id", "actor_id", "actor_email", "action", "domain", "entity", "entity_id"),
        *("changes", "outcome", "ip", "user_agent", "request_id", "seq", "prev_hash", "row_hash"),
    ],
    role="change_log",
)
audit_logs.table.info.update(append_only=True, sealed_columns=("seq", "prev_hash", "row_hash"))
