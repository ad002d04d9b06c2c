"""Workflows at work: each event starts the active workflows that listen to it (AUTO-W2)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select

from engine.errors import ApiError, ConflictError, ValidationError
from engine.events import Event, Events
from engine.hooks import Moment, Row
from registry.manager.auto import Job, Workflow, WorkflowRun
from registry.manager.intg import EventType
from registry.manager.notify import Recipient, notify
from registry.manager.workflow_hooks import declared_fields

MAX_DEPTH = 5
HIDDEN = "***"

events = Events("manager")
of_tenants = Events("tenants")


async def awaited(moment: Moment) -> set[str]:
    """The events that some active workflow waits for."""
    platform = await moment.in_scope("manager")
    workflows, types = Workflow.__table__, EventType.__table__
    found = await platform.fetch(
        select(types.c.code)
        .distinct()
        .join(workflows, types.c.id == workflows.c.event_type_id)
        .where(workflows.c.is_active, workflows.c.status == "active")
    )
    return {row["code"] for row in found}


@events.on("*", among=awaited)
@of_tenants.on("*", among=awaited)
async def start_workflows(moment: Moment, happened: list[Event]) -> None:
    """Run the workflows of each event, by priority. What one of them cannot do is noted in its run and undone."""
    platform = await moment.in_scope("manager")
    waiting = await _listening(platform, {event.name for event in happened})
    for event in happened:
        for workflow in waiting.get(event.name, ()):
            if workflow["tenant_id"] in (None, event.tenant_id):
                await _start(moment, platform, workflow, event)


async def _listening(platform: Moment, names: set[str]) -> dict[str, list[Row]]:
    """Active workflows by the event that they listen to, in the order in which they run."""
    workflows, types = Workflow.__table__, EventType.__table__
    found = await platform.fetch(
        select(workflows, types.c.code.label("event"), types.c.payload_schema)
        .join(types, types.c.id == workflows.c.event_type_id)
        .where(workflows.c.is_active, workflows.c.status == "active", types.c.code.in_(names))
        .order_by(workflows.c.priority, workflows.c.id)
    )
    by_event: dict[str, list[Row]] = {}
    for row in found:
        by_event.setdefault(row["event"], []).append(row)
    return by_event


async def _start(moment: Moment, platform: Moment, workflow: Row, event: Event) -> None:
    runs = WorkflowRun.__table__.c
    told = await platform.fetch(
        select(runs.id).where(runs.workflow_id == workflow["id"], runs.event_id == event.id).limit(1)
    )
    if told:
        return
    fields = declared_fields(workflow["payload_schema"])
    values = shown_values(event, await moment.get(event.entity, event.key) if fields else None, fields)
    if not all(holds(condition, values) for condition in workflow["conditions"]):
        return
    own = {"workflow_id": workflow["id"], "revision": workflow["revision"], "event_id": event.id, "depth": event.depth}
    subject = f"{event.entity} {event.key}"[:160]
    [run] = await platform.create("auto.workflow-runs", [{**own, "subject": subject, "started_at": platform.now}])
    if refusal := await _refusal(platform, workflow, event):
        await _finish(platform, run, "skipped", [], refusal)
        return
    steps, error = await _act(moment, platform, workflow, event, values)
    await _finish(platform, run, "failed" if error else "succeeded", steps, error)


async def _refusal(platform: Moment, workflow: Row, event: Event) -> str | None:
    """Why a workflow does not run though its event came. One that started itself again and again is disabled."""
    if event.depth >= MAX_DEPTH:
        still = await platform.get("auto.workflows", workflow["id"])
        if still is not None and still["status"] == "active":
            await platform.status("auto.workflows", [workflow["id"]], "disabled", "workflow_loop")
        return f"workflow_loop: a chain of {MAX_DEPTH} workflows ends here"
    runs = WorkflowRun.__table__.c
    since = platform.now - timedelta(hours=1)
    [row] = await platform.fetch(
        select(func.count(runs.id).label("runs")).where(
            runs.workflow_id == workflow["id"],
            runs.started_at > since,
            or_(runs.status != "skipped", runs.finished_at.is_(None)),
        )
    )
    # the run in question is counted
    return "max_runs_per_hour is reached" if row["runs"] > workflow["max_runs_per_hour"] else None


async def _finish(platform: Moment, run: Row, status: str, steps: list[dict[str, Any]], error: str | None) -> None:
    await platform.update("auto.workflow-runs", [{"id": run["id"], "steps": steps, "error": error}])
    await platform.status("auto.workflow-runs", [run["id"]], status)


async def _act(
    moment: Moment, platform: Moment, workflow: Row, event: Event, values: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], str | None]:
    """All actions or none: the steps as they went, and what stopped them."""
    steps: list[dict[str, Any]] = []
    try:
        async with moment.attempt():
            for action in workflow["actions"]:
                began = monotonic()
                steps.append({"action": action["type"], "status": "failed", "ms": 0, "error": None})
                await _do(moment, platform, event, (action["type"], filled(action["params"], values)))
                steps[-1] |= {"status": "succeeded", "ms": round((monotonic() - began) * 1000)}
    except Exception as failure:
        if _passing(failure):
            raise
        steps[-1]["error"] = _told(failure)
        for step in steps[:-1]:
            step["status"] = "undone"
        return steps, f"{steps[-1]['action']}: {steps[-1]['error']}"
    return steps, None


def _passing(failure: Exception) -> bool:
    """Whether the event is better asked again as a whole: the database is away, or somebody was quicker."""
    return isinstance(failure, ApiError) and failure.status >= 500


def _told(failure: Exception) -> str:
    if isinstance(failure, ApiError):
        faults = "; ".join(f"{fault.field}: {fault.code}" for fault in failure.details)
        return f"{failure.code} ({faults})" if faults else failure.code
    return type(failure).__name__


async def _do(moment: Moment, platform: Moment, event: Event, action: tuple[str, dict[str, Any]]) -> None:
    kind, params = action
    if kind == "set_field":
        await moment.update(event.entity, [{"id": event.key, _text(params, "field"): params.get("value")}])
    elif kind == "create_record":
        await moment.create(_text(params, "entity"), [params.get("values", {})])
    elif kind == "start_job":
        jobs = await platform.list("auto.jobs", Job.__table__.c.code == _text(params, "job"), limit=1)
        if not jobs:
            raise ValidationError("unknown_handler", f"There is no job {params['job']}")
        await platform.create("auto.job-runs", [{"job_id": jobs[0]["id"]}])
    elif kind == "notify":
        await _notify(platform, event, params)
    else:
        raise ConflictError("webhook_unavailable", "Webhooks are sent by intg.webhooks, which is not there yet")


async def _notify(platform: Moment, event: Event, params: dict[str, Any]) -> None:
    user = params.get("user_id")
    to = Recipient(UUID(user) if user else None, params.get("address"), event.tenant_id)
    variables = params.get("variables", {})
    if await notify(platform, _text(params, "template"), to, variables, f"{event.id}") is None:
        raise ValidationError("unknown_template", "No published template has this code")


def _text(params: Mapping[str, Any], name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str) or not value:
        raise ValidationError("missing_parameter", f"the action needs {name}")
    return value


def shown_values(event: Event, record: Row | None, fields: set[str]) -> dict[str, Any]:
    """What conditions and parameters see of an event: what changed, and what its type declares of the row beside; never a
    secret."""
    new = {name: pair[1] for name, pair in event.changes.items() if pair[1] != HIDDEN}
    secret = {name for name, pair in event.changes.items() if HIDDEN in pair}
    beside = {name: record[name] for name in fields - secret if record is not None and name in record}
    return {**beside, **new, "id": str(event.key), "event": event.name}


def filled(params: Any, values: Mapping[str, Any]) -> Any:
    """Parameters with `$field` replaced by the field's value."""
    if isinstance(params, dict):
        return {name: filled(value, values) for name, value in params.items()}
    if isinstance(params, list):
        return [filled(value, values) for value in params]
    if isinstance(params, str) and params.startswith("$") and params[1:] in values:
        return values[params[1:]]
    return params


def holds(condition: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether a condition is met. A field without value equals nothing but null, and is neither more nor less."""
    known, wanted = values.get(condition["field"]), condition["value"]
    match condition["op"]:
        case "eq":
            return _same(known, wanted)
        case "ne":
            return not _same(known, wanted)
        case "in":
            return isinstance(wanted, list) and any(_same(known, one) for one in wanted)
        case "contains":
            members = known if isinstance(known, list) else None
            return (
                any(_same(one, wanted) for one in members) if members is not None else str(wanted) in str(known or "")
            )
        case "gt" | "lt" as op:
            return _ordered(known, wanted, more=op == "gt")
    return False


def _same(known: Any, wanted: Any) -> bool:
    if known is None or wanted is None or isinstance(known, bool) or isinstance(wanted, bool):
        return bool(known is wanted)
    numbers = _number(known), _number(wanted)
    return numbers[0] == numbers[1] if None not in numbers else str(known) == str(wanted)


def _ordered(known: Any, wanted: Any, *, more: bool) -> bool:
    if known is None or wanted is None:
        return False
    left, right = _number(known), _number(wanted)
    if left is not None and right is not None:
        return left > right if more else left < right
    return str(known) > str(wanted) if more else str(known) < str(wanted)


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool):
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None
