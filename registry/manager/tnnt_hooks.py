"""Behaviour of tenants and their members."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select

from engine.errors import ConflictError, ForbiddenError
from engine.hooks import Change, Moment, Point, Rules, refuse
from registry.manager.seed import join_owner
from registry.manager.tnnt import Tenant, TenantMember

rules = Rules("manager/tnnt")

RANK = {"guest": 0, "member": 1, "admin": 2, "owner": 3}
RETIRING = "active>suspended active>removed"


@rules.on("TNNT-T1", "tenants", Point.BEFORE_CREATE, raises="422:reserved_slug")
async def reserve_slugs(moment: Moment, changes: list[Change]) -> None:
    """Some slugs belong to the platform itself."""
    reserved = moment.setting("tnnt.reserved_slugs")
    for change in changes:
        if change["slug"] in reserved:
            raise refuse(change, "slug", "reserved_slug", f"{change['slug']!r} is reserved for the platform")


@rules.on("TNNT-T1", "tenants", Point.BEFORE_CREATE, Point.BEFORE_UPDATE)
async def guard_legal_hold(moment: Moment, changes: list[Change]) -> None:
    """Setting or lifting legal_hold needs its own permission."""
    if any(change.changes("legal_hold") and (change.old is not None or change["legal_hold"]) for change in changes):
        moment.require("tnnt.tenants.legal-hold")


@rules.on("TNNT-T2", "tenants", Point.AFTER_STATUS, edges="pending>provisioning")
async def provision(moment: Moment, changes: list[Change]) -> None:
    """A pooled tenant needs no database of its own: its owner becomes a member, and it is active."""
    await moment.status("tnnt.tenants", [change.key for change in changes], "active")
    for change in changes:
        await join_owner(moment, change.values)


@rules.on("TNNT-T6", "tenants", Point.BEFORE_DELETE, raises="409:tenant_live")
async def keep_live_tenants(moment: Moment, changes: list[Change]) -> None:
    """Only pending or closed tenants are deleted."""
    for change in changes:
        if change["status"] not in ("pending", "closed"):
            raise ConflictError("tenant_live", "Only a pending or closed tenant is deleted; close it first")


@rules.on("TNNT-M1", "tenant-members", Point.BEFORE_UPDATE, raises="409:last_owner")
async def keep_an_owner(moment: Moment, changes: list[Change]) -> None:
    """The last active owner of a tenant keeps his role."""
    await _refuse_last_owner(moment, [change for change in changes if change.changes("role")])


@rules.on("TNNT-M1", "tenant-members", Point.BEFORE_DELETE, raises="409:last_owner")
@rules.on("TNNT-M1", "tenant-members", Point.BEFORE_STATUS, edges=RETIRING, raises="409:last_owner")
async def keep_an_active_owner(moment: Moment, changes: list[Change]) -> None:
    """The last active owner of a tenant is neither suspended nor removed nor deleted."""
    await _refuse_last_owner(moment, changes)


async def _refuse_last_owner(moment: Moment, changes: list[Change]) -> None:
    """409 when the going rows are all the active owners that their tenant has. The tenant's row is locked, so that two
    owners who leave at once come one after the other; the members of a deleted tenant go with it."""
    going = {change.key: change["tenant_id"] for change in changes if _is_active_owner(change)}
    if not going:
        return
    tenants, members = Tenant.__table__.c, TenantMember.__table__.c
    lock = select(tenants.id).where(tenants.id.in_(going.values()), tenants.is_active).order_by(tenants.id)
    live = {row["id"] for row in await moment.fetch(lock.with_for_update(key_share=True))}
    owners = await moment.list(
        "tnnt.tenant-members",
        *(members.tenant_id.in_(live), members.role == "owner", members.status == "active"),
    )
    remaining = {row["tenant_id"] for row in owners if row["id"] not in going}
    if live - remaining:
        raise ConflictError("last_owner", "The last active owner stays; make somebody else owner first")


def _is_active_owner(change: Change) -> bool:
    return change.old is not None and change.old["role"] == "owner" and change.old["status"] == "active"


@rules.on("TNNT-M2", "tenant-members", Point.BEFORE_UPDATE, raises="403:privilege_escalation")
async def grant_own_rank_at_most(moment: Moment, changes: list[Change]) -> None:
    """Nobody changes his own role or grants one above his own; outside a tenant only a SUPER_ADMIN grants."""
    changed = [change for change in changes if change.changes("role")]
    if any(change["user_id"] == moment.principal.user_id for change in changed):
        raise ForbiddenError("privilege_escalation", "Nobody changes his own role")
    if not changed or moment.principal.everything:
        return
    ranks = await _own_ranks(moment, {change["tenant_id"] for change in changed})
    if any(RANK[change["role"]] > ranks.get(change["tenant_id"], -1) for change in changed):
        raise ForbiddenError("privilege_escalation", "A role above one's own is not granted")


async def _own_ranks(moment: Moment, tenants: set[UUID]) -> dict[UUID, int]:
    """The caller's rank in each tenant where he is an active member."""
    members = TenantMember.__table__.c
    own = (members.tenant_id.in_(tenants), members.user_id == moment.principal.user_id, members.status == "active")
    return {row["tenant_id"]: RANK[row["role"]] for row in await moment.list("tnnt.tenant-members", *own)}
