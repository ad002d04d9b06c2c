"""What billing does to tenants. The reason is written before the status moves: the hooks of tnnt.tenants read from it
that billing asks, not a caller."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.sql import ColumnElement

from engine.hooks import Moment
from registry.manager.tnnt import Tenant


async def suspend_tenants(moment: Moment, tenants: set[UUID]) -> None:
    """Suspend those of the tenants that are active."""
    await _move(moment, Tenant.__table__.c.id.in_(tenants), {"suspended_reason": "billing"}, ("active", "suspended"))


async def restore_tenants(moment: Moment, tenants: set[UUID]) -> None:
    """Bring back those of the tenants that are suspended for billing."""
    columns = Tenant.__table__.c
    unpaid = columns.id.in_(tenants) & (columns.suspended_reason == "billing")
    await _move(moment, unpaid, {"suspended_reason": None}, ("suspended", "active"))


async def _move(moment: Moment, who: ColumnElement[bool], values: dict[str, Any], edge: tuple[str, str]) -> None:
    rows = await moment.list("tnnt.tenants", who, Tenant.__table__.c.status == edge[0])
    if rows:
        await moment.update("tnnt.tenants", [{"id": row["id"], **values} for row in rows])
        await moment.status("tnnt.tenants", [row["id"] for row in rows], edge[1], "billing")
