"""Behaviour of schedules and their runs: when a job is due, who may run, what follows a failure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from engine.jobs import cron_fault, next_time
from registry.locks import lock_by_id
from registry.manager.auto import Job, JobRun

rules = Rules("manager/auto")

# the column that each kind of schedule is about
FIELD_OF = {"cron": "cron", "interval": "interval_seconds", "once": "run_at"}
UNFINISHED = ("queued", "running")


@rules.on(
    "AUTO-J1",
    "jobs",
    *(Point.BEFORE_CREATE, Point.BEFORE_UPDATE),
    watches="handler schedule_kind cron interval_seconds run_at timezone",
    raises="422:unknown_handler 422:bad_schedule",
)
async def read_schedule(moment: Moment, changes: list[Change]) -> None:
    """The handler is registered, exactly the field of schedule_kind is set, the cron text parses; so it is known when the
    job runs next."""
    for change in changes:
        if change["handler"] not in moment.handlers:
            raise refuse(change, "handler", "unknown_handler", "No handler of this name is registered")
        _check_schedule(change)
        paused = change.old is not None and change.old["status"] == "paused"
        change.values["next_run_at"] = None if paused else first_run(change, moment.now)


def _check_schedule(change: Change) -> None:
    wanted = FIELD_OF[change["schedule_kind"]]
    for name in FIELD_OF.values():
        if (change[name] is not None) != (name == wanted):
            told = "needed" if name == wanted else "not taken"
            raise refuse(change, name, "bad_schedule", f"{name} is {told} where schedule_kind is {wanted}")
    if wanted == "cron" and (fault := cron_fault(change["cron"])):
        raise refuse(change, "cron", "bad_schedule", fault)


def first_run(job: Change, now: datetime) -> datetime:
    """When an active job runs next, seen from `now`, in UTC. One that was to run once and has not is due at once."""
    if job["schedule_kind"] == "cron":
        return next_time(job["cron"], job["timezone"] or "UTC", now)
    if job["schedule_kind"] == "interval":
        return now + timedelta(seconds=job["interval_seconds"])
    when: datetime = job["run_at"]
    return when


@rules.on("AUTO-J1", "jobs", Point.BEFORE_STATUS, edges="paused>active", raises="422:unknown_handler")
async def resume(moment: Moment, changes: list[Change]) -> None:
    """A job that goes on knows its next time, and its failures are forgiven."""
    for change in changes:
        if change["handler"] not in moment.handlers:
            raise refuse(change, "handler", "unknown_handler", "No handler of this name is registered")
        change.values |= {"next_run_at": first_run(change, moment.now), "consecutive_failures": 0}


async def busy_jobs(moment: Moment, jobs: Iterable[UUID], *, but: Iterable[UUID] = ()) -> dict[UUID, list[UUID]]:
    """Job -> its queued and running runs, `but` these."""
    runs = JobRun.__table__.c
    open_ones = (runs.is_active, runs.finished_at.is_(None), runs.status.in_(UNFINISHED), runs.id.not_in(set(but)))
    found: dict[UUID, list[UUID]] = {}
    for row in await moment.fetch(select(runs.id, runs.job_id).where(runs.job_id.in_(set(jobs)), *open_ones)):
        found.setdefault(row["job_id"], []).append(row["id"])
    return found


@rules.on("AUTO-R1", "job-runs", Point.BEFORE_CREATE, raises="409:already_running")
async def one_at_a_time(moment: Moment, changes: list[Change]) -> None:
    """concurrency forbid refuses beside a queued or running run, replace cancels that one."""
    wanted = [change["job_id"] for change in changes]
    jobs = await lock_by_id(moment, Job, set(wanted))
    busy = await busy_jobs(moment, jobs)
    canceled: list[UUID] = []
    for place, change in enumerate(changes):
        change.values["scheduled_for"] = change["scheduled_for"] or moment.now
        job = jobs.get(change["job_id"])  # an unknown job is refused by the reference itself
        if job is None or job["concurrency"] == "allow":
            continue
        if job["id"] in wanted[:place] or (job["concurrency"] == "forbid" and job["id"] in busy):
            raise ConflictError("already_running", "A run of this job is queued or running; its concurrency is forbid")
        canceled += busy.get(job["id"], ())
    if canceled:
        await moment.status("auto.job-runs", canceled, "canceled", "another run takes its place")


@rules.on(
    "AUTO-R2",
    "job-runs",
    Point.BEFORE_STATUS,
    edges="running>succeeded running>failed running>timed_out running>canceled",
)
async def measure(moment: Moment, changes: list[Change]) -> None:
    """What is over tells how long it took."""
    for change in changes:
        took = moment.now - (change["started_at"] or moment.now)
        change.values["duration_ms"] = min(max(0, round(took / timedelta(milliseconds=1))), 2**31 - 1)


@rules.on(
    "AUTO-R2",
    "job-runs",
    Point.AFTER_STATUS,
    edges="queued>running queued>canceled running>succeeded running>failed running>timed_out running>canceled",
)
async def follow_runs(moment: Moment, changes: list[Change]) -> None:
    """The job's last_run_at, last_status and consecutive_failures follow its runs."""
    jobs = await lock_by_id(moment, Job, {change["job_id"] for change in changes})
    rows: dict[UUID, dict[str, Any]] = {}
    for change in changes:
        job = jobs.get(change["job_id"])
        if job is not None:
            row = rows.setdefault(job["id"], {"id": job["id"], "consecutive_failures": job["consecutive_failures"]})
            row["last_status"] = change["status"]
            row["last_run_at"] = change["started_at"] or job["last_run_at"]
            if change["status"] in ("failed", "timed_out"):
                row["consecutive_failures"] += 1
            elif change["status"] == "succeeded":
                row["consecutive_failures"] = 0
    if rows:
        await moment.update("auto.jobs", list(rows.values()))


@rules.on("AUTO-R2", "job-runs", Point.AFTER_STATUS, edges="running>failed running>timed_out")
async def try_again(moment: Moment, changes: list[Change]) -> None:
    """A failed attempt up to max_retries queues the next after 2^attempt minutes, unless another run is there already."""
    jobs = await lock_by_id(moment, Job, {change["job_id"] for change in changes})
    busy = await busy_jobs(moment, jobs, but=[change.key for change in changes])
    again = [
        _retry(change, moment.now)
        for change in changes
        if (job := jobs.get(change["job_id"])) is not None and _may_retry(job, change, busy)
    ]
    if again:
        await moment.create("auto.job-runs", again)


def _may_retry(job: Row, run: Change, busy: dict[UUID, list[UUID]]) -> bool:
    free = job["concurrency"] == "allow" or job["id"] not in busy
    return bool(free and run["attempt"] <= job["max_retries"])


def _retry(run: Change, now: datetime) -> dict[str, Any]:
    when = now + timedelta(minutes=2 ** run["attempt"])
    return {"job_id": run["job_id"], "trigger": "retry", "scheduled_for": when, "attempt": run["attempt"] + 1}
