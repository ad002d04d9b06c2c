"""The rows that the registry itself needs, and the first user and tenant. All of it may run again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import select

from engine.errors import Fault, ForbiddenError, invalid
from engine.hooks import Moment, Row
from registry.defaults import SETTINGS
from registry.manager.authority import ADMINISTRATOR
from registry.manager.auto_seed import seed_jobs
from registry.manager.cnfg import Setting
from registry.manager.idam import Permission, Role, User, UserRole
from registry.manager.passwords import password_columns, weakness
from registry.manager.policies import password_policy
from registry.manager.tnnt import Tenant
from registry.setting_values import type_of

USUAL_ACTIONS = ("read", "create", "update", "status")


def _reads(code: str) -> bool:
    return code.endswith(".read") and not code.endswith(".sensitive.read")


# code -> (name, which Manager permissions it holds)
SYSTEM_ROLES: dict[str, tuple[str, Callable[[str], bool]]] = {
    ADMINISTRATOR: ("Super administrator", lambda code: True),
    "SUPPORT": ("Support", lambda code: _reads(code) or code.startswith("supt.") or code == "idam.users.status"),
    "BILLING": ("Billing", lambda code: code.startswith("bill.") or (code.startswith("tnnt.") and _reads(code))),
    "AUDITOR": ("Auditor", _reads),
}


async def seed(moment: Moment) -> None:
    """Settings; the permission catalogue, then the system roles made of it; schedules of the handlers."""
    await seed_settings(moment)
    await seed_permissions(moment)
    await seed_roles(moment)
    await seed_jobs(moment)


async def seed_settings(moment: Moment) -> None:
    """Platform rows of the keys that rules read, with their defaults, where there are none."""
    settings = Setting.__table__.c
    known = {row["key"] for row in await moment.list("cnfg.settings", settings.tenant_id.is_(None), limit=100_000)}
    missing = [key for key in SETTINGS if key not in known]
    await moment.create(
        "cnfg.settings", [{"key": key, "value": SETTINGS[key], "value_type": type_of(key)} for key in missing]
    )


async def seed_permissions(moment: Moment) -> None:
    """Insert the codes that idam.permissions does not know yet."""
    wanted = dict.fromkeys(moment.permissions(of_tenants=True), "tenant")
    wanted |= dict.fromkeys(moment.permissions(of_tenants=False), "manager")
    known = {row["code"] for row in await moment.fetch(select(Permission.__table__.c.code))}
    missing = [describe(code, wanted[code]) for code in sorted(wanted.keys() - known)]
    if missing:
        await moment.create("idam.permissions", missing)


def describe(code: str, scope: str) -> dict[str, Any]:
    """The row of a permission code `domain.entity.action`."""
    domain, _, rest = code.partition(".")
    entity, _, action = rest.rpartition(".")
    parts = {"domain": domain[:8], "entity": entity[:64], "action": action[:64]}
    return {"code": code, "scope": scope, **parts, "is_dangerous": action not in USUAL_ACTIONS}


async def seed_roles(moment: Moment) -> None:
    """Make the system roles, or give them the permissions that came with new entities."""
    known = moment.permissions(of_tenants=False)
    rows = await moment.list("idam.roles", Role.__table__.c.code.in_(SYSTEM_ROLES))
    stored = {row["code"]: row for row in rows}
    made, changed = [], []
    for code, (name, holds) in SYSTEM_ROLES.items():
        permissions = sorted(filter(holds, known))
        if code not in stored:
            made.append({"code": code, "name": name, "permissions": permissions, "is_system": True})
        elif stored[code]["permissions"] != permissions:
            changed.append({"id": stored[code]["id"], "permissions": permissions})
    if made:
        await moment.create("idam.roles", made)
    if changed:
        await moment.update("idam.roles", changed)


async def find_user(moment: Moment, email: str) -> Row | None:
    """The active user of an address."""
    users = await moment.list("idam.users", User.__table__.c.email == email.lower(), limit=1)
    return users[0] if users else None


async def create_user(moment: Moment, email: str, password: str, *, administrator: bool) -> Row:
    """A person who may sign in at once. An existing one keeps his password; `administrator` grants SUPER_ADMIN."""
    user = await find_user(moment, email)
    if user is None:
        if fault := weakness(password, email, await password_policy(moment, None)):
            raise invalid([Fault("password", "weak_password", fault)])
        columns = await password_columns(moment, password)
        name, kind = email.partition("@")[0], "staff" if administrator else "tenant"
        given = {"email": email.lower(), "full_name": name, "user_type": kind, "status": "active", **columns}
        [user] = await moment.create("idam.users", [given])
    if administrator:
        await _make_administrator(moment, user)
    return user


async def _make_administrator(moment: Moment, user: Row) -> None:
    [role] = await moment.list("idam.roles", Role.__table__.c.code == ADMINISTRATOR)
    grants = UserRole.__table__.c
    holds = (grants.user_id == user["id"], grants.role_id == role["id"], grants.tenant_id.is_(None))
    if not await moment.list("idam.user-roles", *holds, limit=1):
        await moment.create(
            "idam.user-roles", [{"user_id": user["id"], "role_id": role["id"], "valid_from": moment.now}]
        )


async def create_tenant(moment: Moment, values: Mapping[str, Any]) -> Row:
    """A tenant in use with its first owner. `values`: slug, name, owner_email, owner_password, and any column of
    tnnt.tenants. A tenant that is there already and still pending is brought to the same end."""
    tenants = await moment.list("tnnt.tenants", Tenant.__table__.c.slug == values["slug"], limit=1)
    tenant = tenants[0] if tenants else await _new_tenant(moment, values)
    if tenant["status"] == "pending":
        await moment.status("tnnt.tenants", [tenant["id"]], "provisioning")  # its hook goes on to active (TNNT-T2)
    return await moment.get("tnnt.tenants", tenant["id"]) or tenant


async def _new_tenant(moment: Moment, values: Mapping[str, Any]) -> Row:
    email, password = values["owner_email"], values.get("owner_password")
    owner = await find_user(moment, email)
    if owner is None and not password:
        raise invalid([Fault("owner_password", "required", "the owner is new and needs a password")])
    owner = owner or await create_user(moment, email, str(password), administrator=False)
    if owner["user_type"] == "service":
        raise ForbiddenError("permission_denied", "A service user cannot own a tenant")
    given = {name: value for name, value in values.items() if not name.startswith("owner_")}
    usual = {"billing_email": owner["email"], "country": "US"}
    [tenant] = await moment.create("tnnt.tenants", [{**usual, **given, "owner_id": owner["id"]}])
    return tenant
