"""Roles inside a tenant: those that each one starts with, and what a person holds through his roles."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import lru_cache
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.sql import ColumnElement

from engine.hooks import Moment, Row, Rows
from registry.tenants.sys import Role, User, UserRole

ADMINISTRATOR = "ADMIN"
# what everybody who works in a tenant does with its foundation: his own profile, files, decisions he is asked for
OWN_DESK = frozenset({"sys.users.update", "sys.attachments.create", "sys.approval-requests.status"})
DAILY = (".read", ".create", ".update", ".status")


def _reads(code: str) -> bool:
    # AUDT-L3: the trail is for administrators; a row's own history is part of reading the row
    return code.endswith(".read") and not code.endswith(".sensitive.read") and not code.startswith("sys.audit-logs.")


def _works(code: str) -> bool:
    if code.startswith("sys."):
        return _reads(code) or code in OWN_DESK
    return code.endswith(DAILY) and not code.endswith(".sensitive.read")


def _leads(code: str) -> bool:
    return not code.startswith("sys.") or _works(code) or code.startswith("sys.attachments.")


# code -> (name, which permissions of the tenants scope it holds)
SYSTEM_ROLES: dict[str, tuple[str, Callable[[str], bool]]] = {
    ADMINISTRATOR: ("Administrator", lambda code: True),
    "MANAGER": ("Manager", _leads),
    "USER": ("User", _works),
    "VIEWER": ("Viewer", _reads),
}


@lru_cache(maxsize=16)
def system_permissions(code: str, known: frozenset[str]) -> frozenset[str]:
    """The permissions among `known` that a system role holds: those of entities that came after the tenant as well."""
    return frozenset(filter(SYSTEM_ROLES[code][1], known))


def permissions_of(role: Row, known: frozenset[str]) -> frozenset[str]:
    """What a role gives, of the permissions that there are."""
    if role["is_system"] and role["code"] in SYSTEM_ROLES:
        return system_permissions(role["code"], known)
    return frozenset(role["permissions"]) & known


def in_force(today: date) -> ColumnElement[bool]:
    """The grants that count on a day, of active users and roles, where the three tables are joined."""
    grants, users, roles = UserRole.__table__.c, User.__table__.c, Role.__table__.c
    ends = or_(grants.valid_until.is_(None), grants.valid_until >= today)
    lives = grants.is_active & users.is_active & roles.is_active & (users.status == "active")
    return lives & (grants.valid_from <= today) & ends


async def grants_in_force(moment: Moment, condition: ColumnElement[bool]) -> Rows:
    """(grant_id, identity_id, role_id, code, permissions, is_system) of today's grants that meet the condition."""
    grants, users, roles = UserRole.__table__, User.__table__, Role.__table__
    return await moment.fetch(
        select(
            grants.c.id.label("grant_id"),
            users.c.identity_id,
            roles.c.id.label("role_id"),
            *(roles.c[name] for name in ("code", "permissions", "is_system")),
        )
        .join_from(grants, users, grants.c.user_id == users.c.id)
        .join(roles, grants.c.role_id == roles.c.id)
        .where(in_force(moment.today), condition)
        .order_by(roles.c.code)
    )


async def held_roles(moment: Moment, identity_id: UUID) -> Rows:
    """The roles that a person holds today in the tenant of the moment, as `grants_in_force` gives them."""
    return await grants_in_force(moment, User.__table__.c.identity_id == identity_id)
