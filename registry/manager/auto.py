"""Automation: schedules, job runs, event-driven workflows; runs every background rule."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import Index, String, text
from sqlalchemy.orm import Mapped

from engine.entity import Entity, Unique
from engine.types import Code, Name, Shaped, SmallInt, Text, TimeZone, column, reference
from registry.manager import ManagerModel


class Job(ManagerModel, table="auto.jobs"):
    """Schedule for a registered handler."""

    code: Mapped[Code]
    name: Mapped[Name]
    handler: Mapped[str] = column(String(120))
    schedule_kind: Mapped[Literal["cron", "interval", "once"]]
    cron: Mapped[str | None] = column(String(120))
    interval_seconds: Mapped[int | None] = column(minimum=60)
    run_at: Mapped[datetime | None]
    timezone: Mapped[TimeZone] = column(default="UTC")
    payload: Mapped[dict[str, Any]] = column(Shaped(dict[str, Any]), default=dict)
    max_retries: Mapped[SmallInt] = column(default=3, minimum=0, maximum=10)
    timeout_seconds: Mapped[int] = column(default=300, minimum=1, maximum=86400)
    concurrency: Mapped[Literal["forbid", "allow", "replace"]] = column(default="forbid")
    next_run_at: Mapped[datetime | None]
    last_run_at: Mapped[datetime | None]
    last_status: Mapped[str | None] = column(String(24))
    consecutive_failures: Mapped[int] = column(default=0)


jobs = Entity(
    Job,
    kind="config",
    label="code",
    unique=["code"],
    search=["code", "name"],
    once=["code", "handler", "schedule_kind"],
    read_only=["next_run_at", "last_run_at", "last_status", "consecutive_failures"],
    machine="active* paused : active>paused; active~>paused; paused>active",
    stamps={"paused": {"next_run_at": "null"}},
    role="jobs",
    info={"example": {"handler": "close_tenants", "cron": "0 3 * * *"}},
)


class JobRun(ManagerModel, table="auto.job_runs"):
    """One execution of a job; create = run by hand."""

    job_id: Mapped[UUID] = reference("auto.jobs", "cascade")
    trigger: Mapped[Literal["schedule", "manual", "retry"]] = column(default="manual")
    scheduled_for: Mapped[datetime]
    attempt: Mapped[SmallInt] = column(default=1)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None]
    worker: Mapped[str | None] = column(String(64))
    output: Mapped[dict[str, Any] | None] = column(Shaped(dict[str, Any]))
    error: Mapped[Text | None]
    # what workers look for every second stays small however many runs there were
    __table_args__ = (Index("ix_job_runs_open", "scheduled_for", postgresql_where=text("finished_at IS NULL")),)


job_runs = Entity(
    JobRun,
    kind="log",
    operations="cgls",
    unique=[Unique(("job_id", "scheduled_for", "attempt"))],
    once=["job_id"],
    read_only=[
        *("trigger", "scheduled_for", "attempt", "started_at", "finished_at", "duration_ms", "worker"),
        *("output", "error"),
    ],
    machine="queued* running succeeded failed timed_out canceled : queued~>running; queued>canceled; "
    "running~>succeeded,failed,timed_out; running>canceled",
    stamps={
        "running": {"started_at": "now"},
        **{state: {"finished_at": "now"} for state in ("succeeded", "failed", "timed_out", "canceled")},
    },
    role="job_runs",
)


# how a condition compares
OPERATORS = ("eq", "ne", "gt", "lt", "in", "contains")


class Condition(msgspec.Struct, forbid_unknown_fields=True):
    """What must hold of an event's record."""

    field: str
    op: str
    value: Any


class Action(msgspec.Struct, forbid_unknown_fields=True):
    """What a workflow does. A parameter `$field` stands for the record's field."""

    type: str
    params: dict[str, Any] = {}


class ActionStep(msgspec.Struct):
    """How an action went, and how long it took in milliseconds."""

    action: str
    status: Literal["succeeded", "failed", "undone"]
    ms: int
    error: str | None = None


class Workflow(ManagerModel, table="auto.workflows"):
    """Event-driven rule: when event and conditions, do actions."""

    code: Mapped[Code]
    name: Mapped[Name]
    tenant_id: Mapped[UUID | None] = reference("tnnt.tenants", "cascade")
    event_type_id: Mapped[UUID] = reference("intg.event_types")
    conditions: Mapped[list[dict[str, Any]]] = column(Shaped(list[Condition]), default=list)
    actions: Mapped[list[dict[str, Any]]] = column(Shaped(list[Action]))
    priority: Mapped[int] = column(default=100)
    max_runs_per_hour: Mapped[int] = column(default=100, above=0)
    revision: Mapped[int] = column(default=1)


workflows = Entity(
    Workflow,
    kind="config",
    label="code",
    unique=["code"],
    search=["code", "name"],
    once=["code", "tenant_id"],
    read_only=["revision"],
    machine="draft* active disabled : draft>active; active>disabled; active~>disabled; disabled>active",
)


class WorkflowRun(ManagerModel, table="auto.workflow_runs"):
    """Trace of one workflow execution."""

    workflow_id: Mapped[UUID] = reference("auto.workflows", "cascade")
    revision: Mapped[int]
    event_id: Mapped[UUID]
    depth: Mapped[SmallInt] = column(default=0)
    subject: Mapped[str | None] = column(String(160))
    steps: Mapped[list[dict[str, Any]]] = column(Shaped(list[ActionStep]), default=list)
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    error: Mapped[Text | None]


workflow_runs = Entity(
    WorkflowRun,
    kind="log",
    operations="gl",
    unique=[Unique(("workflow_id", "event_id"))],
    search=["subject"],
    read_only=[
        *("workflow_id", "revision", "event_id", "depth", "subject", "steps", "started_at", "finished_at"),
        *("error",),
    ],
    machine="running* succeeded failed skipped : running~>succeeded,failed,skipped",
    stamps={state: {"finished_at": "now"} for state in ("succeeded", "failed", "skipped")},
)
