"""What a user holds at this moment: granted roles, membership of a tenant, and an API key's share of both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address, ip_network
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.sql import ColumnElement

from engine.errors import ApiError, ForbiddenError, UnauthorizedError
from engine.hooks import Moment, Row
from engine.types import Principal, TenantRef
from registry.locks import lock_rows
from registry.manager.idam import ApiKey, Role, User, UserRole
from registry.manager.tnnt import Tenant, TenantMember
from registry.tenants.roles import held_roles, permissions_of, system_permissions

ADMINISTRATOR = "SUPER_ADMIN"
OPEN_TENANT = ("active", "suspended", "closing")
# a suspended tenant may come back and finds its books up to date; the data of a closing one stands still
WORKED_ON = ("active", "suspended")
# the tenant's system role that comes with each member role; owner and admin may do everything
MEMBER_ROLES = {"member": "USER", "guest": "VIEWER"}
# how exact last_used_at of an API key is, so that reads do not become writes
KEY_USE = timedelta(minutes=1)
FOREVER = datetime.max.replace(tzinfo=UTC)


class Membership(NamedTuple):
    """A user's place in a tenant."""

    tenant: TenantRef
    status: str
    role: str

    def refusal(self) -> ApiError | None:
        """Why the tenant cannot be used now (TNNT-T3)."""
        if self.status == "suspended":
            return ForbiddenError("tenant_suspended", "The tenant is suspended")
        if self.status not in OPEN_TENANT:
            return ForbiddenError("tenant_closed", "The tenant is not open")
        return None


async def tenants_in_use(moment: Moment) -> list[TenantRef]:
    """The tenants for which jobs run, in order of age."""
    tenants = Tenant.__table__.c
    found = await moment.fetch(
        select(tenants.id, tenants.slug, tenants.timezone)
        .where(tenants.is_active, tenants.status.in_(WORKED_ON))
        .order_by(tenants.id)
    )
    return [TenantRef(row["id"], row["slug"], timezone=row["timezone"]) for row in found]


async def all_tenants(moment: Moment) -> list[TenantRef]:
    """Every tenant there ever was, in order of age: deletion hides rows and takes none away."""
    tenants = Tenant.__table__.c
    found = await moment.fetch(select(tenants.id, tenants.slug, tenants.timezone).order_by(tenants.id))
    return [TenantRef(row["id"], row["slug"], timezone=row["timezone"]) for row in found]


def digest(secret: str) -> str:
    """What is stored of a random secret: its SHA-256 in hex."""
    return sha256(secret.encode(errors="replace")).hexdigest()


def in_force(now: datetime) -> ColumnElement[bool]:
    """The grants that count at `now`."""
    grants = UserRole.__table__.c
    return and_(grants.is_active, grants.valid_from <= now, or_(grants.valid_until.is_(None), grants.valid_until > now))


async def granted_roles(moment: Moment, user_id: UUID, tenant_id: UUID | None) -> list[Row]:
    """(code, permissions) of the roles that the user holds now in the tenant, or platform-wide for None."""
    grants, roles = UserRole.__table__, Role.__table__
    return await moment.fetch(
        select(roles.c.code, roles.c.permissions)
        .join(grants, grants.c.role_id == roles.c.id)
        .where(grants.c.user_id == user_id, grants.c.tenant_id == tenant_id, in_force(moment.now), roles.c.is_active)
        .order_by(roles.c.code)
    )


async def membership(moment: Moment, user_id: UUID, tenant: ColumnElement[bool]) -> Membership | None:
    """The user's active membership of the one tenant that meets the condition."""
    tenants, members = Tenant.__table__, TenantMember.__table__
    rows = await moment.fetch(
        select(tenants.c.id, tenants.c.slug, tenants.c.timezone, tenants.c.status, members.c.role)
        .join(members, members.c.tenant_id == tenants.c.id)
        .where(
            tenant, tenants.c.is_active, members.c.user_id == user_id, members.c.is_active, members.c.status == "active"
        )
    )
    if not rows:
        return None
    row = rows[0]
    place = TenantRef(row["id"], row["slug"], timezone=row["timezone"], read_only=row["status"] == "closing")
    return Membership(place, row["status"], row["role"])


async def authority(
    moment: Moment, user: Row, tenant_id: UUID | None, session_id: UUID | None = None
) -> Principal | ApiError:
    """The caller with all that he holds now; an error when his tenant is shut or no longer his."""
    place = None
    if tenant_id is not None:
        place = await membership(moment, user["id"], Tenant.__table__.c.id == tenant_id)
        if place is None:
            return UnauthorizedError("invalid_token")
        if refusal := place.refusal():
            return refusal
    roles = await granted_roles(moment, user["id"], tenant_id)
    codes = [role["code"] for role in roles]
    permissions = frozenset[str]().union(*(role["permissions"] for role in roles))
    everything = ADMINISTRATOR in codes or (place is not None and place.role not in MEMBER_ROLES)
    if place is not None:
        local = [] if everything else await _local_roles(moment, user["id"], place)
        known = moment.permissions(of_tenants=True)
        permissions = permissions.union(_of_member(place, known), *(permissions_of(role, known) for role in local))
        codes += [*(role["code"] for role in local), place.role.upper()]
    return Principal(
        user["id"],
        user["email"],
        tenant=place.tenant if place else None,
        session_id=session_id,
        permissions=permissions,
        everything=everything,
        roles=tuple(dict.fromkeys(codes)),
    )


async def _local_roles(moment: Moment, user_id: UUID, place: Membership) -> list[Row]:
    """The roles that the user holds today inside the tenant, which keeps them in its own database."""
    return await held_roles(await moment.in_scope("tenants", place.tenant), user_id)


def _of_member(place: Membership, known: frozenset[str]) -> frozenset[str]:
    return system_permissions(MEMBER_ROLES[place.role], known) if place.role in MEMBER_ROLES else frozenset()


async def key_authority(moment: Moment, key: str, ip: str | None) -> Principal | ApiError:
    """IDAM-K3: the caller behind an API key: its scopes, as far as the owner still holds them."""
    keys = ApiKey.__table__.c
    rows = await moment.list("idam.api-keys", keys.key_hash == digest(key))
    if not rows or not usable_key(rows[0], moment.now, ip):
        return _bad_key()
    owner = await moment.get("idam.users", rows[0]["user_id"])
    if owner is None or owner["status"] != "active":
        return _bad_key()
    held = await authority(moment, owner, rows[0]["tenant_id"])
    if isinstance(held, UnauthorizedError):
        return _bad_key()
    if isinstance(held, ApiError):
        return held
    await _note_use(moment, rows[0], ip)
    scopes = frozenset(code for code in rows[0]["scopes"] if held.may(code))
    return Principal(held.user_id, held.email, held.tenant, permissions=scopes, roles=held.roles)


def _bad_key() -> ApiError:
    return UnauthorizedError("invalid_api_key", "The API key is not valid here")


def usable_key(key: Row, now: datetime, ip: str | None) -> bool:
    """Whether a key is live and may be used from the address."""
    if key["status"] != "active" or (key["expires_at"] is not None and key["expires_at"] <= now):
        return False
    return not key["allowed_ips"] or (ip is not None and _inside(ip, key["allowed_ips"]))


def _inside(ip: str, networks: list[str]) -> bool:
    try:
        return any(ip_address(ip) in ip_network(network, strict=False) for network in networks)
    except ValueError:
        return False


async def _note_use(moment: Moment, key: Row, ip: str | None) -> None:
    used = key["last_used_at"]
    if used is None or moment.now - used >= KEY_USE:
        await moment.update("idam.api-keys", [{"id": key["id"], "last_used_at": moment.now, "last_used_ip": ip}])


async def administrators(moment: Moment, at: datetime | None = None) -> list[Row]:
    """Every holder of SUPER_ADMIN at a time, by default now, as `platform_administrators` gives them."""
    time = at or moment.now
    holders = await platform_administrators(moment)
    return [row for row in holders if row["valid_from"] <= time < (row["valid_until"] or FOREVER)]


async def platform_administrators(moment: Moment) -> list[Row]:
    """(grant_id, user_id, valid_from, valid_until) of every SUPER_ADMIN grant of an active user. The role's row is locked,
    so that two administrators who remove each other at once come one after the other."""
    users, grants, roles = User.__table__, UserRole.__table__, Role.__table__
    await lock_rows(moment, Role, roles.c.code == ADMINISTRATOR)
    return await moment.fetch(
        select(grants.c.id.label("grant_id"), grants.c.user_id, grants.c.valid_from, grants.c.valid_until)
        .join(roles, roles.c.id == grants.c.role_id)
        .join(users, users.c.id == grants.c.user_id)
        .where(roles.c.code == ADMINISTRATOR, roles.c.is_active, grants.c.tenant_id.is_(None), grants.c.is_active)
        .where(users.c.is_active, users.c.status == "active")
    )
