"""Demo rows of automation: a workflow that a new plan starts, and a run of a job."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import and_

from engine.hooks import Moment
from registry.manager.auto import Job, JobRun, Workflow
from registry.manager.intg import EventType

EVENT = "bill.plans.created"
# stands for an event of long ago
LONG_AGO = UUID("01900000-0000-7000-8000-000000000001")
SCHEMA = {"properties": {"code": {"type": "string"}, "name": {"type": "string"}, "amount": {"type": "string"}}}


async def demo_auto(manager: Moment) -> None:
    """Make the rows once."""
    if await manager.list("auto.workflows", Workflow.__table__.c.code == "NEW-PLAN", limit=1):
        return
    kinds = await manager.list("intg.event-types", EventType.__table__.c.code == EVENT, limit=1)
    if not kinds:
        kinds = await manager.create(
            "intg.event-types", [{"code": EVENT, "scope": "manager", "payload_schema": SCHEMA}]
        )
    [job] = await manager.list("auto.jobs", Job.__table__.c.code == "EXPIRE_CREDENTIALS", limit=1)
    [flow] = await manager.create(
        "auto.workflows",
        [
            {
                "code": "NEW-PLAN",
                "name": "Look after credentials when a costly plan is made",
                "event_type_id": kinds[0]["id"],
                "conditions": [{"field": "amount", "op": "gt", "value": 1000}],
                "actions": [{"type": "start_job", "params": {"job": job["code"]}}],
            }
        ],
    )
    told = {"event_id": LONG_AGO, "revision": 1, "subject": "bill.plans", "started_at": manager.now}
    [run] = await manager.create("auto.workflow-runs", [{"workflow_id": flow["id"], **told}])
    await manager.status("auto.workflow-runs", [run["id"]], "skipped")
    open_run = and_(JobRun.__table__.c.job_id == job["id"], JobRun.__table__.c.status.in_(["queued", "running"]))
    if not await manager.list("auto.job-runs", open_run, limit=1):
        [queued] = await manager.create("auto.job-runs", [{"job_id": job["id"]}])
        await manager.status("auto.job-runs", [queued["id"]], "canceled")
