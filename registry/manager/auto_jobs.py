"""What the clock does to schedules: due jobs get their runs (AUTO-J2)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from engine.hooks import Moment, Row
from engine.jobs import Job, Jobs, last_time, next_time
from registry.locks import lock_rows
from registry.manager import auto
from registry.manager.auto_hooks import busy_jobs

jobs = Jobs("manager")

MAX_FAILURES = 10


@jobs.on("schedule_jobs", "minute", scheduler=True)
async def schedule_jobs(job: Job) -> dict[str, int]:
    """Queues a run for every job that is due, and pauses jobs that failed ten times in a row."""
    columns = auto.Job.__table__.c
    async with job.transaction() as moment:
        failing = await lock_rows(
            moment, auto.Job, columns.status == "active", columns.consecutive_failures >= MAX_FAILURES
        )
        if failing:
            keys = [row["id"] for row in failing]
            await moment.status("auto.jobs", keys, "paused", f"{MAX_FAILURES} failures in a row")
        due = await lock_rows(moment, auto.Job, columns.status == "active", columns.next_run_at <= job.now)
        queued = await _queue(moment, due) if due else 0
    return {"due": len(due), "queued": queued, "paused": len(failing)}


async def _queue(moment: Moment, due: list[Row]) -> int:
    """Runs for the last time that each job missed, the times before it being skipped; how many were new."""
    times = {row["id"]: _last_due(row, moment.now) for row in due}
    known = await _known(moment, times)
    busy = await busy_jobs(moment, times)
    runs, moved = [], []
    for row in due:
        when = times[row["id"]]
        moved.append({"id": row["id"], "next_run_at": _following(row, when, moment.now)})
        handler = moment.handlers.get(row["handler"])
        if handler is not None and handler.scheduler:
            moved[-1] |= {"last_run_at": moment.now, "last_status": "succeeded"}  # this run, which has no row
        elif (row["id"], when) not in known and (row["concurrency"] != "forbid" or row["id"] not in busy):
            runs.append({"job_id": row["id"], "trigger": "schedule", "scheduled_for": when})
    await moment.update("auto.jobs", moved)
    if runs:
        await moment.create("auto.job-runs", runs)
    return len(runs)


async def _known(moment: Moment, times: dict[Any, datetime]) -> set[tuple[Any, datetime]]:
    """(job, time) of the runs that are there for these times."""
    runs = auto.JobRun.__table__.c
    found = await moment.fetch(
        select(runs.job_id, runs.scheduled_for).where(
            runs.job_id.in_(times), runs.scheduled_for.in_(set(times.values()))
        )
    )
    return {(row["job_id"], row["scheduled_for"]) for row in found}


def _last_due(row: Row, now: datetime) -> datetime:
    first: datetime = row["next_run_at"]
    if row["schedule_kind"] == "cron":
        return max(first, last_time(row["cron"], row["timezone"], now))
    if row["schedule_kind"] == "interval":
        step = timedelta(seconds=row["interval_seconds"])
        return first + (now - first) // step * step
    return first


def _following(row: Row, when: datetime, now: datetime) -> datetime | None:
    if row["schedule_kind"] == "cron":
        return next_time(row["cron"], row["timezone"], now)
    return when + timedelta(seconds=row["interval_seconds"]) if row["schedule_kind"] == "interval" else None
