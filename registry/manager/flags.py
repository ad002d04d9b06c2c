"""CNFG-F1: whether a feature is on for a tenant and a user."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from hashlib import sha256
from uuid import UUID

from sqlalchemy import or_, select

from engine.hooks import Moment, Row
from registry.manager.cnfg import FeatureFlag, FlagOverride

BUCKETS = 10_000


def bucket_of(key: str, tenant_id: UUID | None) -> int:
    """The bucket, 0 to 9999, that a tenant falls into: the same at each look, another for each flag."""
    text = f"{key}:{tenant_id or ''}"
    return int(sha256(text.encode()).hexdigest()[:8], 16) % BUCKETS


def evaluate(flag: Row, overrides: Sequence[Row], tenant_id: UUID | None) -> bool:
    """Archived is off; then the user's override, the tenant's, the default, the rollout. `overrides` are those of the
    flag that are in force for the two."""
    if flag["status"] == "archived":
        return False
    for override in sorted(overrides, key=lambda row: row["user_id"] is None):
        return bool(override["value"])
    return bool(flag["default_on"]) or bucket_of(flag["key"], tenant_id) < flag["rollout_pct"] * Decimal(100)


async def flags_of(moment: Moment, tenant_id: UUID | None, user_id: UUID | None) -> dict[str, bool]:
    """Every flag, as it stands for a user in a tenant."""
    return await _evaluated(moment, await moment.list("cnfg.feature-flags", limit=10_000), (tenant_id, user_id))


async def flag_on(moment: Moment, key: str, tenant_id: UUID | None, user_id: UUID | None = None) -> bool:
    """Whether one feature is on; an unknown one is off. `moment` is of the Manager scope."""
    flags = await moment.list("cnfg.feature-flags", FeatureFlag.__table__.c.key == key)
    return (await _evaluated(moment, flags, (tenant_id, user_id))).get(key, False)


async def _evaluated(moment: Moment, flags: Sequence[Row], who: tuple[UUID | None, UUID | None]) -> dict[str, bool]:
    columns = FlagOverride.__table__.c
    statement = select(columns.flag_id, columns.user_id, columns.value).where(
        columns.is_active,
        columns.flag_id.in_([flag["id"] for flag in flags]),
        or_(columns.tenant_id == who[0], columns.user_id == who[1]),
        or_(columns.expires_at.is_(None), columns.expires_at > moment.now),
    )
    overrides = await moment.fetch(statement) if flags else []
    return {
        flag["key"]: evaluate(flag, [row for row in overrides if row["flag_id"] == flag["id"]], who[0])
        for flag in flags
    }
