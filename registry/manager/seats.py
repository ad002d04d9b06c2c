"""How many places of a tenant are taken."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select, union_all

from engine.hooks import Moment
from registry.manager.tnnt import Invitation, TenantMember


async def seats_taken(moment: Moment, tenants: set[UUID]) -> dict[UUID, int]:
    """Active and suspended members plus pending invitations, of each tenant that has any. Whoever decides by the number
    locks the tenants first."""
    members, invitations = TenantMember.__table__.c, Invitation.__table__.c
    places = union_all(
        select(members.tenant_id).where(
            members.tenant_id.in_(tenants), members.is_active, members.status.in_(("active", "suspended"))
        ),
        select(invitations.tenant_id).where(
            invitations.tenant_id.in_(tenants), invitations.is_active, invitations.status == "pending"
        ),
    ).subquery()
    counted = select(places.c.tenant_id, func.count().label("taken")).group_by(places.c.tenant_id)
    return {row["tenant_id"]: row["taken"] for row in await moment.fetch(counted)}
