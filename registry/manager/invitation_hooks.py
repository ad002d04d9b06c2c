"""Behaviour of invitations to a tenant."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_

from engine.errors import ConflictError, ForbiddenError
from engine.hooks import Change, Moment, Point, Rules
from registry.locks import lock_by_id
from registry.manager.authority import digest
from registry.manager.bill import Subscription
from registry.manager.idam import User
from registry.manager.seats import seats_taken
from registry.manager.tnnt import Tenant, TenantMember
from registry.manager.tnnt_hooks import RANK, own_ranks

rules = Rules("manager/tnnt")

TOKEN_BYTES = 32  # 43 characters


@rules.on("TNNT-V1", "invitations", Point.BEFORE_CREATE, raises="403:tenant_suspended 403:tenant_closed")
async def invite_to_open_tenants(moment: Moment, changes: list[Change]) -> None:
    """Only an active tenant invites. Its row is locked, so that two invitations do not share the last seat."""
    for tenant in (await lock_by_id(moment, Tenant, {change["tenant_id"] for change in changes})).values():
        if tenant["status"] == "suspended":
            raise ForbiddenError("tenant_suspended", "The tenant is suspended")
        if tenant["status"] != "active":
            raise ForbiddenError("tenant_closed", "The tenant is not open")


@rules.on("TNNT-V1", "invitations", Point.BEFORE_CREATE, raises="403:privilege_escalation")
async def invite_up_to_own_rank(moment: Moment, changes: list[Change]) -> None:
    """Nobody invites to a role above his own; outside a tenant only a SUPER_ADMIN invites."""
    if moment.principal.everything:
        return
    ranks = await own_ranks(moment, {change["tenant_id"] for change in changes})
    if any(RANK[change["role"]] > ranks.get(change["tenant_id"], -1) for change in changes):
        raise ForbiddenError("privilege_escalation", "Nobody invites to a role above his own")


@rules.on("TNNT-V1", "invitations", Point.BEFORE_CREATE, raises="409:already_member")
async def invite_strangers(moment: Moment, changes: list[Change]) -> None:
    """Whoever is a member of the tenant needs no invitation."""
    users, members = User.__table__.c, TenantMember.__table__.c
    invited = tuple_(members.tenant_id, users.email).in_({(change["tenant_id"], change["email"]) for change in changes})
    found = select(users.id).join_from(User.__table__, TenantMember.__table__, members.user_id == users.id)
    if await moment.fetch(found.where(invited, users.is_active, members.is_active, members.status != "removed")):
        raise ConflictError("already_member", "The person is a member of the tenant already")


@rules.on("TNNT-V1", "invitations", Point.BEFORE_CREATE, raises="409:seat_limit")
async def keep_seat_limit(moment: Moment, changes: list[Change]) -> None:
    """Members and pending invitations fit the seats of the subscription; without a subscription nobody counts."""
    invited: dict[UUID, int] = {}
    for change in changes:
        invited[change["tenant_id"]] = invited.get(change["tenant_id"], 0) + 1
    taken = await seats_taken(moment, set(invited))
    for tenant, seats in (await _seats(moment, set(invited))).items():
        if taken.get(tenant, 0) + invited[tenant] > seats:
            raise ConflictError("seat_limit", f"All {seats} seats of the subscription are taken")


async def _seats(moment: Moment, tenants: set[UUID]) -> dict[Any, int]:
    """The seats of each tenant that has a subscription."""
    columns = Subscription.__table__.c
    live = columns.tenant_id.in_(tenants) & columns.is_active & (columns.status != "canceled")
    rows = await moment.fetch(select(columns.tenant_id, columns.seats).where(live))
    return {row["tenant_id"]: row["seats"] for row in rows}


@rules.on("TNNT-V2", "invitations", Point.BEFORE_CREATE)
async def make_tokens(moment: Moment, changes: list[Change]) -> None:
    """An invitation ends after setting:tnnt.invitation_days; of its token only the SHA-256 is stored."""
    ends = moment.now + timedelta(days=await moment.setting("tnnt.invitation_days"))
    for change in changes:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        change.values.update(expires_at=ends, token_hash=digest(token))
        change.output["token"] = token
