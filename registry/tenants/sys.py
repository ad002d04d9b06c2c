"""Tenant system foundation: the trail of a tenant's own writes, and its number sequences."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped

from engine.entity import Entity
from engine.types import BigInt, Code, Sha256, Shaped, SmallInt, column, outside
from registry.tenants import TenantModel


class NumberSequence(TenantModel, table="sys.number_sequences"):
    """Counter behind document numbers; seeded, one per q line of the tenant scope and SCN for sales credit notes."""

    code: Mapped[Code]
    prefix: Mapped[str] = column(String(12))
    padding: Mapped[SmallInt] = column(default=5, minimum=3, maximum=10)
    reset: Mapped[Literal["never", "yearly"]] = column(default="yearly")
    gapless: Mapped[bool]
    current_year: Mapped[SmallInt | None]
    next_value: Mapped[BigInt] = column(default=1)


number_sequences = Entity(
    NumberSequence,
    kind="config",
    operations="glu",
    label="code",
    unique=["code"],
    search=["code"],
    read_only=["code", "reset", "gapless", "current_year"],
    role="number_sequences",
)


class AuditLog(TenantModel, table="sys.audit_logs"):
    """The tenant database's change log: append-only record of every write of this tenant; also its history, outbox
    and time travel."""

    occurred_at: Mapped[datetime]
    actor_id: Mapped[UUID | None] = outside("manager/idam.users")
    action: Mapped[Literal["create", "update", "delete", "status", "export", "other"]]
    domain: Mapped[str] = column(String(8))
    entity: Mapped[str] = column(String(64))
    entity_id: Mapped[UUID | None]
    changes: Mapped[dict[str, Any]] = column(Shaped(dict[str, list[Any]]), default=dict)  # {column: [old, new]}
    request_id: Mapped[str | None] = column(String(64))
    seal: Mapped[Sha256 | None]
    __table_args__ = (Index(None, "domain", "entity", "entity_id"), Index(None, "occurred_at"))


audit_logs = Entity(
    AuditLog,
    kind="log",
    operations="gl",
    search=["entity", "request_id"],
    read_only=[
        *("occurred_at", "actor_id", "action", "domain", "entity", "entity_id"),
        *("changes", "request_id", "seal"),
    ],
    role="change_log",
)
audit_logs.table.info.update(append_only=True, sealed_columns=("seal",))
