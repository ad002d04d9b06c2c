"""Tenant system foundation: local users, roles, settings, numbering, approvals, attachments, and the trail of all writes."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Index, String, text
from sqlalchemy.orm import Mapped

from engine.entity import Entity, Needed, Owner, Unique
from engine.types import (
    BigInt,
    Code,
    Email,
    Json,
    Key,
    Money,
    Name,
    Phone,
    Sha256,
    Shaped,
    SmallInt,
    Strings,
    Text,
    TimeZone,
    check,
    column,
    outside,
    reference,
    today,
)
from registry.tenants import TenantModel

ZERO = Decimal(0)


class User(TenantModel, table="sys.users"):
    """Local profile of a tenant member; mirrored from tnnt.tenant-members, holds no credentials."""

    identity_id: Mapped[UUID] = outside("manager/idam.users")
    email: Mapped[Email]
    display_name: Mapped[Name]
    member_role: Mapped[Literal["owner", "admin", "member", "guest"]]
    job_title: Mapped[str | None] = column(String(120))
    phone: Mapped[Phone | None]
    locale: Mapped[str] = column(String(10), default="en")
    timezone: Mapped[TimeZone] = column(default="UTC")
    signature: Mapped[Text | None]
    last_seen_at: Mapped[datetime | None]


users = Entity(
    User,
    operations="glu",
    label="display_name",
    unique=["identity_id"],
    search=["email", "display_name"],
    read_only=["identity_id", "email", "member_role", "last_seen_at"],
    machine="active* suspended : active~>suspended; suspended~>active",
    owner=Owner("identity_id", unless="sys.users.manage", reads=False),
    permissions=["sys.users.manage"],
)


class Role(TenantModel, table="sys.roles"):
    """Permission set inside the tenant."""

    code: Mapped[Code]
    name: Mapped[Name]
    description: Mapped[Text | None]
    permissions: Mapped[Strings] = column(default=list)  # "srm.sales-orders.create"
    is_system: Mapped[bool] = column(default=False)


roles = Entity(
    Role,
    kind="config",
    label="code",
    unique=["code"],
    search=["code", "name"],
    once=["code"],
    read_only=["is_system"],
)


class UserRole(TenantModel, table="sys.user_roles"):
    """Role of a local user, optionally for a time."""

    user_id: Mapped[UUID] = reference("sys.users", "cascade")
    role_id: Mapped[UUID] = reference("sys.roles")
    valid_from: Mapped[date] = column(default=today)
    valid_until: Mapped[date | None]
    __table_args__ = (check("valid_until is null or valid_until >= valid_from"),)


user_roles = Entity(
    UserRole,
    kind="link",
    operations="cgld",
    unique=[Unique(("user_id", "role_id"))],
    once=["user_id", "role_id", "valid_from", "valid_until"],
)


class Setting(TenantModel, table="sys.settings"):
    """Typed setting of the tenant; overrides the default listed in "Settings"."""

    key: Mapped[Key]
    value: Mapped[Json]
    value_type: Mapped[Literal["string", "int", "number", "bool", "json"]]
    description: Mapped[str | None] = column(String(255))


settings = Entity(
    Setting,
    kind="config",
    label="key",
    unique=["key"],
    search=["key"],
    once=["key", "value_type"],
    role="settings",
    info={"example": {"value": 90, "value_type": "int"}},
)


class ApprovalRule(TenantModel, table="sys.approval_rules"):
    """Who must approve which documents from what amount."""

    name: Mapped[Name]
    document_type: Mapped[Literal["sales_order", "purchase_order", "purchase_requisition", "payment"]]
    min_amount: Mapped[Money] = column(default=ZERO, minimum=0)  # base currency, inclusive
    max_amount: Mapped[Money | None]  # exclusive
    level: Mapped[SmallInt] = column(default=1, minimum=1, maximum=5)
    approver_role_id: Mapped[UUID] = reference("sys.roles")
    due_hours: Mapped[int] = column(default=48, above=0)
    __table_args__ = (check("max_amount is null or max_amount > min_amount"),)


approval_rules = Entity(
    ApprovalRule,
    kind="config",
    label="name",
    search=["name"],
    once=["document_type"],
    role="approval_rules",
)


class ApprovalRequest(TenantModel, table="sys.approval_requests"):
    """One approval step of one document (G20)."""

    document_type: Mapped[Literal["sales_order", "purchase_order", "purchase_requisition", "payment"]]
    document_id: Mapped[UUID]
    document_number: Mapped[str | None] = column(String(32))
    amount: Mapped[Money]
    level: Mapped[SmallInt]
    approver_role_id: Mapped[UUID] = reference("sys.roles")
    requested_by: Mapped[UUID] = outside("manager/idam.users")
    due_at: Mapped[datetime]
    decided_by: Mapped[UUID | None] = outside("manager/idam.users")
    decided_at: Mapped[datetime | None]
    reason: Mapped[str | None] = column(String(500))  # from the status body


approval_requests = Entity(
    ApprovalRequest,
    kind="log",
    operations="gls",
    unique=[Unique(("document_type", "document_id", "level"), where="status = 'pending'")],
    search=["document_number"],
    read_only=[
        *("document_type", "document_id", "document_number", "amount", "level", "approver_role_id"),
        *("requested_by", "due_at", "decided_by", "decided_at", "reason"),
    ],
    machine="pending* approved rejected canceled : pending>approved,rejected; pending~>canceled",
    needed=[Needed("reason", "pending>rejected")],
    stamps={
        "approved": {"decided_by": "actor", "decided_at": "now", "reason": "reason"},
        "rejected": {"decided_by": "actor", "decided_at": "now", "reason": "reason"},
    },
    role="approval_requests",
)


class Attachment(TenantModel, table="sys.attachments"):
    """File attached to any row."""

    owner_type: Mapped[str] = column(String(64))
    owner_id: Mapped[UUID]
    file_name: Mapped[str] = column(String(255))
    content_type: Mapped[str] = column(String(120))
    size_bytes: Mapped[BigInt] = column(minimum=1, maximum=26214400)
    checksum: Mapped[Sha256]
    storage_key: Mapped[str] = column(String(512))
    label: Mapped[str | None] = column(String(120))


attachments = Entity(
    Attachment,
    kind="log",
    operations="cgld",
    label="file_name",
    search=["file_name"],
    once=["owner_type", "owner_id", "file_name", "content_type", "size_bytes", "checksum", "label"],
    read_only=["storage_key"],
    hidden=["storage_key"],
    info={"example": {"owner_type": "crm.customers", "content_type": "application/pdf", "file_name": "offer.pdf"}},
)


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
    __table_args__ = (
        Index(None, "domain", "entity", "entity_id"),
        Index(None, "occurred_at"),
        Index("ix_audit_logs_unsealed", "id", postgresql_where=text("seal is null")),
    )


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
