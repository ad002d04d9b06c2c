"""The rows of auto.jobs that come with the program: one for each registered handler."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from engine.hooks import Moment
from engine.jobs import Handler
from registry.manager.auto import Job


async def seed_jobs(moment: Moment) -> None:
    """A schedule, as its declaration says, for each handler that never had one; from then on it belongs to the
    administrators. Schedules of handlers that are gone are paused."""
    columns = Job.__table__.c
    rows = await moment.fetch(select(columns.id, columns.handler, columns.status, columns.is_active))
    scheduled = {row["handler"] for row in rows}
    wanted = [_row(handler) for name, handler in sorted(moment.handlers.items()) if name not in scheduled]
    gone = [row for row in rows if row["handler"] not in moment.handlers]
    lost = [row["id"] for row in gone if row["is_active"] and row["status"] == "active"]
    if wanted:
        await moment.create("auto.jobs", wanted)
    if lost:
        await moment.status("auto.jobs", lost, "paused", "its handler is not registered any more")


def _row(handler: Handler) -> dict[str, Any]:
    words = handler.name.replace("_", " ").capitalize()
    cadence = {"schedule_kind": "cron", "cron": handler.cron, "timeout_seconds": handler.timeout}
    return {"code": handler.name.upper(), "name": words, "handler": handler.name, **cadence}
