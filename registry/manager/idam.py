"""Identity and access management: users and roles; one credential store for staff and tenant people."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import String
from sqlalchemy.orm import Mapped

from engine.entity import Entity, Owner, Unique, Virtual
from engine.types import (
    Code,
    Email,
    Ip,
    Name,
    Phone,
    Sha256,
    Strings,
    Text,
    TimeZone,
    Url,
    check,
    column,
    now,
    reference,
)
from registry.manager import ManagerModel


class User(ManagerModel, table="idam.users"):
    """One sign-in identity (platform staff, tenant people, service accounts); the only place credentials live."""

    email: Mapped[Email]
    full_name: Mapped[Name]
    user_type: Mapped[Literal["staff", "tenant", "service"]] = column(default="tenant")
    password_hash: Mapped[str | None] = column(String(255))
    password_history: Mapped[Strings] = column(default=list)
    password_changed_at: Mapped[datetime | None]
    must_change_password: Mapped[bool] = column(default=False)
    phone: Mapped[Phone | None]
    locale: Mapped[str] = column(String(10), default="en")
    timezone: Mapped[TimeZone] = column(default="UTC")
    avatar_url: Mapped[Url | None]
    mfa_enabled: Mapped[bool] = column(default=False)
    mfa_secret: Mapped[str | None] = column(String(255))
    email_verified_at: Mapped[datetime | None]
    failed_login_count: Mapped[int] = column(default=0)
    first_failed_at: Mapped[datetime | None]
    locked_until: Mapped[datetime | None]
    last_login_at: Mapped[datetime | None]
    last_login_ip: Mapped[Ip | None]


users = Entity(
    User,
    label="email",
    unique=["email"],
    search=["email", "full_name"],
    once=["user_type"],
    read_only=[
        *("password_hash", "password_history", "password_changed_at", "mfa_enabled", "mfa_secret", "email_verified_at"),
        *("failed_login_count", "first_failed_at", "locked_until", "last_login_at", "last_login_ip"),
    ],
    hidden=["password_hash", "password_history", "mfa_secret"],
    encrypted=["mfa_secret"],
    virtual=[Virtual("password", String(72), input=True)],
    machine="invited* active locked disabled : invited>active,disabled; invited~>active; active>disabled; "
    "active~>locked; locked>active,disabled; locked~>active; disabled>active",
)


class Role(ManagerModel, table="idam.roles"):
    """Named set of permissions for manager-side users."""

    code: Mapped[Code]
    name: Mapped[Name]
    description: Mapped[Text | None]
    permissions: Mapped[Strings] = column(default=list)
    is_system: Mapped[bool] = column(default=False)
    max_assignees: Mapped[int | None] = column(above=0)


roles = Entity(
    Role, kind="config", label="code", unique=["code"], search=["code", "name"], once=["code"], read_only=["is_system"]
)


class Permission(ManagerModel, table="idam.permissions"):
    """Catalogue of permission codes, written by the engine at start from the entity metadata plus the perm: codes in
    rules."""

    code: Mapped[str] = column(String(120))
    scope: Mapped[Literal["manager", "tenant"]]
    domain: Mapped[str] = column(String(8))
    entity: Mapped[str] = column(String(64))
    action: Mapped[str] = column(String(64))
    description: Mapped[str | None] = column(String(255))
    is_dangerous: Mapped[bool] = column(default=False)


permissions = Entity(
    Permission,
    kind="config",
    operations="gl",
    label="code",
    unique=["code"],
    search=["code", "entity"],
    read_only=["code", "scope", "domain", "entity", "action", "description", "is_dangerous"],
    role="permissions",
)


class UserRole(ManagerModel, table="idam.user_roles"):
    """Grants a role to a user, for the whole platform or for one tenant, with an optional time window."""

    user_id: Mapped[UUID] = reference("idam.users", "cascade")
    role_id: Mapped[UUID] = reference("idam.roles")
    tenant_id: Mapped[UUID | None] = reference("tnnt.tenants", "cascade")  # null = platform wide
    valid_from: Mapped[datetime] = column(default=now)
    valid_until: Mapped[datetime | None]
    reason: Mapped[str | None] = column(String(255))
    __table_args__ = (check("valid_until is null or valid_until > valid_from"),)


user_roles = Entity(
    UserRole,
    kind="link",
    operations="cgld",
    unique=[Unique(("user_id", "role_id", "tenant_id"), nulls_equal=True)],
    once=["user_id", "role_id", "tenant_id", "valid_from", "valid_until"],
)


class ApiKey(ManagerModel, table="idam.api_keys"):
    """Secret for machine access on behalf of a user."""

    name: Mapped[Name]
    user_id: Mapped[UUID] = reference("idam.users", "cascade")
    tenant_id: Mapped[UUID | None] = reference("tnnt.tenants", "cascade")
    prefix: Mapped[str] = column(String(12))
    key_hash: Mapped[Sha256]
    scopes: Mapped[Strings]
    allowed_ips: Mapped[Strings] = column(default=list)
    rate_limit_per_minute: Mapped[int] = column(default=600, minimum=1, maximum=6000)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    last_used_ip: Mapped[Ip | None]
    revoked_at: Mapped[datetime | None]


api_keys = Entity(
    ApiKey,
    operations="cglds",
    label="name",
    unique=["prefix", "key_hash"],
    search=["name", "prefix"],
    once=["user_id", "tenant_id", "scopes", "allowed_ips", "expires_at"],
    read_only=["prefix", "key_hash", "last_used_at", "last_used_ip", "revoked_at"],
    hidden=["key_hash"],
    virtual=[Virtual("key", String(64), output=True)],
    machine="active* revoked expired : active>revoked; active~>revoked,expired",
    stamps={"revoked": {"revoked_at": "now"}},
)


class Session(ManagerModel, table="idam.sessions"):
    """Refresh-token session of a signed-in user; rows come from the login route."""

    user_id: Mapped[UUID] = reference("idam.users", "cascade")
    tenant_id: Mapped[UUID | None] = reference("tnnt.tenants", "cascade")
    refresh_hash: Mapped[Sha256]
    family_id: Mapped[UUID]
    ip: Mapped[Ip | None]
    user_agent: Mapped[str | None] = column(String(512))
    mfa_passed: Mapped[bool] = column(default=False)
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    last_seen_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    revoke_reason: Mapped[Literal["logout", "rotated", "reuse", "admin", "password_change", "limit"] | None]


sessions = Entity(
    Session,
    kind="log",
    operations="gls",
    unique=["refresh_hash"],
    read_only=[
        *("user_id", "tenant_id", "refresh_hash", "family_id", "ip", "user_agent", "mfa_passed"),
        *("issued_at", "expires_at", "last_seen_at", "revoked_at", "revoke_reason"),
    ],
    hidden=["refresh_hash", "family_id"],
    machine="active* revoked expired : active>revoked; active~>revoked,expired",
    stamps={"revoked": {"revoked_at": "now"}},
    owner=Owner("user_id", unless="idam.sessions.manage"),
    permissions=["idam.sessions.manage"],
)
