"""Behaviour of approval rules, and who may decide an approval request. How documents wait for it is the engine's part
(`Entity.approval`, G20)."""

from __future__ import annotations

from decimal import Decimal
from itertools import combinations
from typing import Any

from engine.errors import ConflictError, ForbiddenError
from engine.hooks import Change, Moment, Point, Rules
from registry.locks import lock_rows
from registry.tenants.roles import ADMINISTRATOR, held_roles
from registry.tenants.sys import ApprovalRule, Role

rules = Rules("tenants/sys")

DECISIONS = "pending>approved pending>rejected"
WHOLE_BAND = ("document_type", "level", "min_amount", "max_amount")


@rules.on(
    "SYS-AR1",
    "approval-rules",
    Point.BEFORE_CREATE,
    Point.BEFORE_UPDATE,
    watches="level min_amount max_amount",
    raises="409:overlapping_band",
)
@rules.on("SYS-AR1", "approval-rules", Point.BEFORE_STATUS, raises="409:overlapping_band")
async def keep_bands_apart(moment: Moment, changes: list[Change]) -> None:
    """Of one document type and level no two active rules hold the same amount."""
    coming = {
        change.key: {name: change[name] for name in WHOLE_BAND}
        for change in changes
        if change["is_active"] is not False
    }
    if not coming:
        return
    # two who make rules at once come one after the other: the tenant's ADMIN role is the row that all of them find
    await lock_rows(moment, Role, Role.__table__.c.code == ADMINISTRATOR)
    columns = ApprovalRule.__table__.c
    types = {band["document_type"] for band in coming.values()}
    stored = await moment.list("sys.approval-rules", columns.document_type.in_(types))
    bands = [*coming.values(), *(row for row in stored if row["id"] not in coming)]
    if any(_overlap(one, other) for one, other in combinations(bands, 2)):
        raise ConflictError(
            "overlapping_band", "Another rule of this document type and level holds some of these amounts"
        )


def _overlap(one: Any, other: Any) -> bool:
    if (one["document_type"], one["level"]) != (other["document_type"], other["level"]):
        return False
    return _begins_before_end(one, other) and _begins_before_end(other, one)


def _begins_before_end(one: Any, other: Any) -> bool:
    return other["max_amount"] is None or Decimal(one["min_amount"]) < Decimal(other["max_amount"])


@rules.on("SYS-A1", "approval-requests", Point.BEFORE_STATUS, edges=DECISIONS, raises="403:not_approver")
async def let_approvers_decide(moment: Moment, changes: list[Change]) -> None:
    """The caller holds the approver role today; that he is neither requester nor author is held by the engine (G20)."""
    asked = {change["approver_role_id"] for change in changes if not change.by_engine}
    who = moment.principal.user_id
    held = {role["role_id"] for role in await held_roles(moment, who)} if asked and who else set()
    if asked - held:
        raise ForbiddenError("not_approver", "Only somebody with the approver role decides this")
