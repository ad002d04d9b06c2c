"""Audit and compliance: who did what, sign-in history, security policies, data-subject requests."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Index, String, text
from sqlalchemy.orm import Mapped

from engine.entity import Entity, Frozen, Number, Period
from engine.types import (
    BigInt,
    Code,
    Country,
    DocumentNumber,
    Email,
    Ip,
    Sha256,
    Shaped,
    Text,
    Url,
    column,
    outside,
    reference,
)
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
    __table_args__ = (
        Index(None, "domain", "entity", "entity_id"),
        Index(None, "occurred_at"),
        Index("ix_audit_logs_unsealed", "id", postgresql_where=text("seq is null")),
    )


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


class LoginEvent(ManagerModel, table="audt.login_events"):
    """Every sign-in attempt and its result."""

    occurred_at: Mapped[datetime]
    user_id: Mapped[UUID | None] = outside("manager/idam.users")
    email_tried: Mapped[str] = column(String(254))
    result: Mapped[Literal["success", "bad_password", "unknown_user", "locked", "mfa_failed", "disabled"]]
    ip: Mapped[Ip | None]
    country: Mapped[Country | None]
    user_agent: Mapped[str | None] = column(String(512))
    session_id: Mapped[UUID | None]


login_events = Entity(
    LoginEvent,
    kind="log",
    operations="gl",
    label="email_tried",
    search=["email_tried"],
    read_only=["occurred_at", "user_id", "email_tried", "result", "ip", "country", "user_agent", "session_id"],
)


class Policy(ManagerModel, table="audt.policies"):
    """Security policy (password, session, mfa, address list, retention), platform wide or stricter for one tenant."""

    code: Mapped[Code]
    kind: Mapped[Literal["password", "session", "mfa", "ip_allowlist", "retention"]]
    tenant_id: Mapped[UUID | None] = reference("tnnt.tenants", "cascade")
    parameters: Mapped[dict[str, Any]] = column(Shaped(dict[str, Any]))
    valid_from: Mapped[date]
    valid_until: Mapped[date | None]


policies = Entity(
    Policy,
    kind="config",
    label="code",
    unique=["code"],
    periods=[Period(("kind", "tenant_id"), "valid_from", "valid_until", where="status = 'active'")],
    search=["code"],
    once=["code", "kind", "tenant_id"],
    frozen=[Frozen("active", but=("valid_until",), code="policy_locked")],
    machine="draft* active retired : draft>active; active>retired",
    info={"example": {"kind": "session", "parameters": {"idle_minutes": 30}}},
)


class DataRequest(ManagerModel, table="audt.data_requests"):
    """Request of a person about his data (export, erasure, rectification)."""

    number: Mapped[DocumentNumber | None]
    tenant_id: Mapped[UUID | None] = reference("tnnt.tenants")
    subject_email: Mapped[Email]
    kind: Mapped[Literal["export", "erasure", "rectification"]]
    received_on: Mapped[date]
    due_on: Mapped[date]
    extended: Mapped[bool] = column(default=False)
    verified_by: Mapped[UUID | None] = outside("manager/idam.users")
    completed_at: Mapped[datetime | None]
    evidence_url: Mapped[Url | None]
    notes: Mapped[Text | None]


data_requests = Entity(
    DataRequest,
    kind="document",
    label="number",
    number=Number("DSR"),
    unique=["number"],
    search=["number", "subject_email"],
    once=["tenant_id", "subject_email", "kind", "received_on"],
    read_only=["number", "due_on", "verified_by", "completed_at"],
    live=["extended", "evidence_url", "notes"],
    stamps={"in_progress": {"verified_by": "actor"}, "completed": {"completed_at": "now"}},
    machine="received* verifying in_progress completed rejected : received>verifying,rejected; "
    "verifying>in_progress,rejected; in_progress>completed,rejected",
)
