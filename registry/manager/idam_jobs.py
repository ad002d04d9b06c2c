"""What the clock ends: keys, sessions, grants and invitations past their time, and the locks of users."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.sql import ColumnElement

from engine.hooks import Moment
from engine.jobs import Job, Jobs
from registry.manager.authority import administrators, platform_administrators
from registry.manager.idam import ApiKey, Session, User, UserRole
from registry.manager.tnnt import Invitation

jobs = Jobs("manager")

BATCH = 500
PERIOD = timedelta(hours=1)  # until the job comes again
RESPITE = timedelta(days=1)


@jobs.on("expire_credentials", "hourly")
async def expire_credentials(job: Job) -> dict[str, int]:
    """Ends API keys, sessions, grants and invitations past their time, and unlocks users whose lock is over."""
    kept = await _keep_an_administrator(job)
    keys, sessions, grants = ApiKey.__table__.c, Session.__table__.c, UserRole.__table__.c
    invitations, users = Invitation.__table__.c, User.__table__.c
    return {
        "administrators_kept": kept,
        "api_keys": await _move(job, ApiKey, (keys.status == "active") & (keys.expires_at <= job.now), "expired"),
        "sessions": await _move(
            job, Session, (sessions.status == "active") & (sessions.expires_at <= job.now), "expired"
        ),
        "user_roles": await _move(job, UserRole, grants.valid_until <= job.now, "inactive"),
        "invitations": await _move(
            job, Invitation, (invitations.status == "pending") & (invitations.expires_at <= job.now), "expired"
        ),
        "users": await _move(job, User, (users.status == "locked") & (users.locked_until <= job.now), "active"),
    }


async def _move(job: Job, model: Any, lapsed: ColumnElement[bool], status: str) -> int:
    """Bring all rows that meet the condition to a state, some hundred a transaction; how many they were. Rows that
    somebody is changing at this moment wait for the next run."""
    table, count = model.__table__, 0
    entity = f"{table.schema}.{table.name.replace('_', '-')}"
    wanted = select(table.c.id).where(table.c.is_active, lapsed).order_by(table.c.id).limit(BATCH)
    while True:
        moved = 0
        async with job.step(f"{entity} past their time") as moment:
            rows = await moment.fetch(wanted.with_for_update(key_share=True, skip_locked=True))
            moved = await _end(moment, entity, [row["id"] for row in rows], status)
        count += moved
        if moved < BATCH:
            return count


async def _end(moment: Moment, entity: str, keys: list[Any], status: str) -> int:
    if status == "inactive":
        return len(await moment.delete(entity, keys))
    return len(await moment.status(entity, keys, status, "its time is over"))


async def _keep_an_administrator(job: Job) -> int:
    """IDAM-UR2: the last SUPER_ADMIN grant does not expire. Where nobody would be left before the next run, the grant
    that ends last counts for another day, and so on until somebody else holds the role."""
    async with job.step("the last SUPER_ADMIN grant") as moment:
        if await administrators(moment, job.now + PERIOD):
            return 0
        ending = [row for row in await platform_administrators(moment) if row["valid_from"] <= job.now]
        last = max(ending, key=lambda row: row["valid_until"], default=None)
        if last is not None:
            await moment.update("idam.user-roles", [{"id": last["grant_id"], "valid_until": job.now + RESPITE}])
            return 1
    return 0
