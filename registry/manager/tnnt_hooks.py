"""Behaviour of tenants and their members."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import tuple_

from engine.errors import ConflictError, ForbiddenError
from engine.hooks import Change, Moment, Point, Rules, refuse
from registry.locks import lock_by_id
from registry.manager.bill import Subscription
from registry.manager.idam import Session
from registry.manager.sign_in import revoke_where
from registry.manager.tnnt import Tenant, TenantMember

rules = Rules("manager/tnnt")

RANK = {"guest": 0, "member": 1, "admin": 2, "owner": 3}
RETIRING = "active>suspended active>removed"
CLOSING = "active>closing suspended>closing"
# why a caller may suspend a tenant
REASONS = ("abuse", "request", "security")


@rules.on("TNNT-T1", "tenants", Point.BEFORE_CREATE, raises="422:reserved_slug")
async def reserve_slugs(moment: Moment, changes: list[Change]) -> None:
    """Some slugs belong to the platform itself."""
    reserved = await moment.setting("tnnt.reserved_slugs")
    for change in changes:
        if change["slug"] in reserved:
            raise refuse(change, "slug", "reserved_slug", f"{change['slug']!r} is reserved for the platform")


@rules.on("TNNT-T1", "tenants", Point.BEFORE_CREATE, watches="legal_hold")
async def guard_legal_hold(moment: Moment, changes: list[Change]) -> None:
    """A tenant on legal hold from its first day needs the permission that guards the field later."""
    if any(change["legal_hold"] for change in changes):
        moment.require("tnnt.tenants.legal-hold")


@rules.on("TNNT-T3", "tenants", Point.BEFORE_STATUS, edges="active>suspended")
async def note_suspension(moment: Moment, changes: list[Change]) -> None:
    """A suspension says why. The caller's reason counts when it is one of the listed ones; where billing suspends, it has
    written its own already."""
    for change in changes:
        reason = change.reason if change.reason in REASONS else "request"
        change.values["suspended_reason"] = change["suspended_reason"] or reason


@rules.on(
    "TNNT-T4",
    "tenants",
    Point.BEFORE_STATUS,
    edges="suspended>active closing>active",
    raises="409:suspended_for_billing",
)
async def keep_unpaid_suspended(moment: Moment, changes: list[Change]) -> None:
    """A suspension for billing is lifted by payment alone, which clears the reason first; closing does not lift it."""
    for change in changes:
        if change["suspended_reason"] == "billing":
            raise ConflictError("suspended_for_billing", "The tenant is active again once its invoices are paid")


@rules.on("TNNT-T5", "tenants", Point.BEFORE_STATUS, edges=CLOSING)
async def plan_closing(moment: Moment, changes: list[Change]) -> None:
    """A closing tenant has a day on which it will be closed."""
    for change in changes:
        change.values["closing_on"] = moment.today + timedelta(days=await moment.setting("tnnt.closing_days"))


@rules.on("TNNT-T5", "tenants", Point.AFTER_STATUS, edges=CLOSING)
async def cancel_subscriptions(moment: Moment, changes: list[Change]) -> None:
    """Closing cancels the subscription."""
    columns = Subscription.__table__.c
    own = columns.tenant_id.in_({change.key for change in changes})
    live = await moment.list("bill.subscriptions", own, columns.status != "canceled")
    await moment.status("bill.subscriptions", [row["id"] for row in live], "canceled", "the tenant closes")


@rules.on("TNNT-T5", "tenants", Point.BEFORE_STATUS, edges="closing>closed", raises="409:legal_hold")
async def keep_what_courts_want(moment: Moment, changes: list[Change]) -> None:
    """A tenant on legal hold is not closed, whatever its day."""
    if any(change["legal_hold"] for change in changes):
        raise ConflictError("legal_hold", "The tenant is on legal hold; lift that first")


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
    members, live = TenantMember.__table__.c, set(await lock_by_id(moment, Tenant, set(going.values())))
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
    ranks = await own_ranks(moment, {change["tenant_id"] for change in changed})
    if any(RANK[change["role"]] > ranks.get(change["tenant_id"], -1) for change in changed):
        raise ForbiddenError("privilege_escalation", "A role above one's own is not granted")


async def own_ranks(moment: Moment, tenants: set[UUID]) -> dict[UUID, int]:
    """The caller's rank in each tenant where he is an active member."""
    members = TenantMember.__table__.c
    own = (members.tenant_id.in_(tenants), members.user_id == moment.principal.user_id, members.status == "active")
    return {row["tenant_id"]: RANK[row["role"]] for row in await moment.list("tnnt.tenant-members", *own)}


@rules.on("TNNT-M3", "tenant-members", Point.AFTER_DELETE)
@rules.on("TNNT-M3", "tenant-members", Point.AFTER_STATUS, edges="active>removed suspended>removed")
async def end_sessions(moment: Moment, changes: list[Change]) -> None:
    """Whoever is no longer a member has no session in the tenant."""
    sessions = Session.__table__.c
    gone = {(change["user_id"], change["tenant_id"]) for change in changes}
    await revoke_where(moment, tuple_(sessions.user_id, sessions.tenant_id).in_(gone), "admin")
