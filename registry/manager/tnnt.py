"""Tenant management: the customers of the SaaS; life cycle, members, invitations, own domains."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import String
from sqlalchemy.orm import Mapped

from engine.entity import Entity, Unique, Virtual
from engine.types import (
    Country,
    Currency,
    Email,
    Name,
    Percent,
    PostalAddress,
    Sha256,
    Shaped,
    Slug,
    TimeZone,
    column,
    reference,
)
from registry.manager import ManagerModel

Standing = Literal["owner", "admin", "member", "guest"]


class TenantSettings(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How the platform shows itself to a tenant: texts and colours by name, and the domains that are switched on."""

    brand: dict[str, str] = {}
    domains: list[str] = []


class Tenant(ManagerModel, table="tnnt.tenants"):
    """Customer organisation of the platform."""

    slug: Mapped[Slug]
    name: Mapped[Name]
    legal_name: Mapped[Name | None]
    tax_id: Mapped[str | None] = column(String(32))
    tax_pct: Mapped[Percent] = column(default=Decimal(0))
    billing_email: Mapped[Email]
    billing_address: Mapped[PostalAddress | None]
    country: Mapped[Country]
    currency: Mapped[Currency] = column(default="USD")
    timezone: Mapped[TimeZone] = column(default="UTC")
    locale: Mapped[str] = column(String(10), default="en")
    owner_id: Mapped[UUID] = reference("idam.users")
    settings: Mapped[dict[str, Any]] = column(Shaped(TenantSettings), default=dict)
    legal_hold: Mapped[bool] = column(default=False)
    suspended_reason: Mapped[Literal["billing", "abuse", "request", "security"] | None]
    suspended_at: Mapped[datetime | None]
    closing_on: Mapped[date | None]
    closed_at: Mapped[datetime | None]


tenants = Entity(
    Tenant,
    label="slug",
    unique=["slug"],
    search=["slug", "name", "legal_name"],
    once=["slug", "currency"],
    read_only=["suspended_reason", "suspended_at", "closing_on", "closed_at"],
    machine="pending* provisioning active suspended closing closed : pending>provisioning; "
    "provisioning~>active,pending; active>suspended,closing; active~>suspended; suspended>active,closing; "
    "suspended~>active; closing>active; closing~>closed",
    stamps={
        "suspended": {"suspended_at": "now"},
        "active": {"suspended_at": "null", "suspended_reason": "null", "closing_on": "null"},
        "closed": {"closed_at": "now"},
    },
    guards={"legal_hold": "tnnt.tenants.legal-hold"},
    permissions=["tnnt.tenants.legal-hold"],
)


class TenantMember(ManagerModel, table="tnnt.tenant_members"):
    """Membership of a user in a tenant; created by provisioning and by accepted invitations."""

    tenant_id: Mapped[UUID] = reference("tnnt.tenants", "cascade")
    user_id: Mapped[UUID] = reference("idam.users", "cascade")
    role: Mapped[Standing] = column(default="member")
    joined_at: Mapped[datetime]
    last_access_at: Mapped[datetime | None]


tenant_members = Entity(
    TenantMember,
    kind="link",
    operations="gluds",
    unique=[Unique(("tenant_id", "user_id"), where="status <> 'removed'")],
    once=["tenant_id", "user_id"],
    read_only=["joined_at", "last_access_at"],
    machine="active* suspended removed : active>suspended,removed; suspended>active,removed",
)


class Invitation(ManagerModel, table="tnnt.invitations"):
    """Offer to join a tenant, by mail link."""

    tenant_id: Mapped[UUID] = reference("tnnt.tenants", "cascade")
    email: Mapped[Email]
    role: Mapped[Standing] = column(default="member")
    token_hash: Mapped[Sha256]
    expires_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]
    accepted_user_id: Mapped[UUID | None] = reference("idam.users", "setnull")
    message: Mapped[str | None] = column(String(500))


invitations = Entity(
    Invitation,
    operations="cglds",
    label="email",
    unique=["token_hash", Unique(("tenant_id", "email"), where="status = 'pending'")],
    search=["email"],
    once=["tenant_id", "email", "role", "message"],
    read_only=["token_hash", "expires_at", "accepted_at", "accepted_user_id"],
    hidden=["token_hash"],
    virtual=[Virtual("token", String(64), output=True)],
    machine="pending* accepted expired revoked : pending>revoked; pending~>accepted,expired",
    stamps={"accepted": {"accepted_at": "now"}},
)


class Domain(ManagerModel, table="tnnt.domains"):
    """Own host name of a tenant."""

    tenant_id: Mapped[UUID] = reference("tnnt.tenants", "cascade")
    hostname: Mapped[str] = column(String(253))
    is_primary: Mapped[bool] = column(default=False)
    verification_token: Mapped[str] = column(String(64))
    verified_at: Mapped[datetime | None]
    certificate_expires_on: Mapped[date | None]


domains = Entity(
    Domain,
    label="hostname",
    unique=["hostname", Unique(("tenant_id",), where="is_primary")],
    search=["hostname"],
    once=["tenant_id", "hostname"],
    read_only=["verification_token", "verified_at", "certificate_expires_on"],
    machine="pending* verified failed : pending~>verified,failed; failed>pending; verified~>failed",
    stamps={"verified": {"verified_at": "now"}, "failed": {"verified_at": "null"}},
    info={"example": {"hostname": "shop.example.org"}},
)
