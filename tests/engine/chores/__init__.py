"""A registry for tests of jobs: handlers that leave marks, and can be told by their payload to fail or to take long."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped

from engine.entity import Entity
from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Rules
from engine.jobs import Job, Jobs
from engine.types import Model, Name, Scope, column


class ChoreModel(Model, abstract=True):
    """Base of the test models."""


class Mark(ChoreModel, table="chore.marks"):
    """A run was here."""

    job: Mapped[Name]
    run_for: Mapped[datetime]
    label: Mapped[Name | None]
    followed: Mapped[bool] = column(default=False)


scopes = [Scope("chore", ChoreModel.metadata)]
marks = Entity(Mark, label="job")
rules = Rules("chore/chore")


@rules.on("CHORE-1", "marks", Point.DONE)
async def follow(moment: Moment, changes: list[Change]) -> None:
    """Runs after the commit of a step."""
    keys = [change.key for change in changes if change.old is None]
    if keys:
        await moment.update("chore.marks", [{"id": key, "followed": True} for key in keys])


jobs, tenant_jobs = Jobs("chore"), Jobs("tenants")


@jobs.on("leave_mark", "0 0 1 1 *", timeout=60)
async def leave_mark(job: Job) -> dict[str, Any]:
    """Leaves a mark; `seconds` in the payload = takes that long first, `fails` = raises then."""
    await asyncio.sleep(job.payload.get("seconds", 0))
    if job.payload.get("fails"):
        raise ConflictError("chore_failed", "as it was told to")
    async with job.transaction() as moment:
        await moment.create("chore.marks", [{"job": job.name, "run_for": job.now}])
    return {"left": 1}


@jobs.on("three_steps", "yearly")
async def three_steps(job: Job) -> dict[str, Any]:
    """Three steps of which the second fails after it wrote."""
    for label in ("one", "two", "three"):
        async with job.step(label) as moment:
            await moment.create("chore.marks", [{"job": job.name, "run_for": job.now, "label": label}])
            if label == "two":
                raise KeyError("secret-value-of-a-row")
    job.report["note"] = "all three were tried"
    return {"tried": 3}


@jobs.on("across_scopes", "yearly")
async def across_scopes(job: Job) -> dict[str, Any]:
    """Tells the clock of each moment."""
    async with job.transaction() as moment:
        other = await moment.in_scope("manager")
        return {"clocks": [moment.now.isoformat(), other.now.isoformat()], "today": moment.today.isoformat()}


@tenant_jobs.on("count_customers", "yearly")
async def count_customers(job: Job) -> dict[str, Any]:
    """Counts the customers that it can see; `fails_for` in the payload = the tenant for which it raises."""
    assert job.tenant is not None
    if job.payload.get("fails_for") == job.tenant.slug:
        raise ConflictError("chore_failed", "as it was told to")
    async with job.transaction() as moment:
        rows = await moment.list("crm.customers")
        return {"customers": len(rows), "today": moment.today.isoformat(), "names": sorted(r["name"] for r in rows)}
