"""What a tenant and its members are inside the tenant itself: its first rows, and its local users."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select, tuple_

from engine.hooks import Change, Moment, Point, Row, Rows, Rules
from engine.types import TenantRef
from registry.manager.idam import User
from registry.manager.tnnt import Tenant, TenantMember
from registry.tenants.sys import User as LocalUser
from registry.tenants.sys_seed import make_administrator, seed_tenant

rules = Rules("manager/tnnt")

PROFILE = ("email", "full_name", "locale", "timezone")
STARTING = "pending>provisioning"


def place_of(tenant: Row) -> TenantRef:
    """Where the rows of a tenant are."""
    return TenantRef(tenant["id"], tenant["slug"], timezone=tenant["timezone"])


async def inside(moment: Moment, tenant: Row) -> Moment:
    """A moment on the tenant's own rows, in the name of the platform."""
    return await moment.in_scope("tenants", place_of(tenant))


@rules.on("TNNT-T2", "tenants", Point.AFTER_STATUS, edges=STARTING)
async def furnish(moment: Moment, changes: list[Change]) -> None:
    """The rows that a tenant starts with: roles, number sequences, base currency, chart of accounts. The tables are there:
    a pooled tenant needs no database of its own."""
    for change in changes:
        await seed_tenant(await inside(moment, change.values), change["currency"])


@rules.on("TNNT-T2", "tenants", Point.AFTER_STATUS, edges=STARTING)
async def provision(moment: Moment, changes: list[Change]) -> None:
    """The owner becomes a member and the local administrator, and the tenant is active. A fault undoes all of it."""
    await _join_owners(moment, changes)
    for change in changes:
        await make_administrator(await inside(moment, change.values), change["owner_id"])
    await moment.status("tnnt.tenants", [change.key for change in changes], "active")


async def _join_owners(moment: Moment, changes: list[Change]) -> None:
    """Make each tenant's owner a member of it, unless he is one."""
    members = TenantMember.__table__.c
    wanted = {(change.key, change["owner_id"]) for change in changes}
    known = await moment.list(
        "tnnt.tenant-members", tuple_(members.tenant_id, members.user_id).in_(wanted), members.status != "removed"
    )
    missing = wanted - {(row["tenant_id"], row["user_id"]) for row in known}
    owner = {"role": "owner", "joined_at": moment.now}
    rows = [{"tenant_id": tenant, "user_id": user, **owner} for tenant, user in missing]
    await moment.create("tnnt.tenant-members", rows)


@rules.on(
    "TNNT-M3",
    "tenant-members",
    *(Point.AFTER_CREATE, Point.AFTER_UPDATE, Point.AFTER_STATUS, Point.AFTER_DELETE),
)
async def mirror(moment: Moment, changes: list[Change]) -> None:
    """Each member is a local user of his tenant: made, changed, suspended and taken away with the membership."""
    tenants = await _rows_by_id(moment, Tenant, ("slug", "timezone"), {change["tenant_id"] for change in changes})
    people = await _rows_by_id(moment, User, PROFILE, {change["user_id"] for change in changes})
    for tenant_id, tenant in tenants.items():
        local = await inside(moment, tenant)
        here = [change for change in changes if change["tenant_id"] == tenant_id]
        await _mirror_in(local, [(change.values, people[change["user_id"]]) for change in here])


async def _rows_by_id(
    moment: Moment, model: type[Tenant] | type[User], names: Iterable[str], keys: Iterable[UUID]
) -> dict[UUID, Row]:
    """Columns of rows by id, deleted rows too: a membership goes with its tenant or its user."""
    columns = model.__table__.c
    found = select(columns.id, *(columns[name] for name in names)).where(columns.id.in_(keys))
    return {row["id"]: row for row in await moment.fetch(found)}


async def _mirror_in(local: Moment, members: list[tuple[Row, Row]]) -> None:
    """Bring the local users of one tenant in line with memberships, whatever they were before."""
    known = await _local_users(local, [person["id"] for _, person in members])
    staying = [(member, person) for member, person in members if member["is_active"] and member["status"] != "removed"]
    fresh = [pair for pair in staying if pair[1]["id"] not in known]
    users = known | {row["identity_id"]: row for row in await local.create("sys.users", [_profile(*p) for p in fresh])}
    kept = {person["id"] for _, person in staying}
    await local.delete("sys.users", [known[p["id"]]["id"] for _, p in members if p["id"] in known.keys() - kept])
    changed = [
        {"id": users[person["id"]]["id"], "member_role": member["role"]}
        for member, person in staying
        if users[person["id"]]["member_role"] != member["role"]
    ]
    await local.update("sys.users", changed)
    for status in ("active", "suspended"):
        keys = [users[person["id"]]["id"] for member, person in staying if member["status"] == status]
        await local.status("sys.users", keys, status)


async def _local_users(local: Moment, identities: list[UUID]) -> dict[UUID, Row]:
    rows: Rows = await local.list("sys.users", LocalUser.__table__.c.identity_id.in_(identities), limit=len(identities))
    return {row["identity_id"]: row for row in rows}


def _profile(member: Row, person: Row) -> Row:
    """A new local user, as the platform knows him."""
    own = {name: person[name] for name in ("email", "locale", "timezone")}
    return {"identity_id": person["id"], "display_name": person["full_name"], "member_role": member["role"], **own}
