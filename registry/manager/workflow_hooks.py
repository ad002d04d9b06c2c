"""Behaviour of workflows: what they may say, and which circles of them are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import select

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from registry.manager.auto import OPERATORS, Workflow
from registry.manager.intg import EventType

rules = Rules("manager/auto")

# action -> the permission that its author needs; {} is the entity that it writes
ACTIONS = {
    "notify": "noti.notifications.create",
    "webhook": "intg.webhooks.create",
    "set_field": "{}.update",
    "create_record": "{}.create",
    "start_job": "auto.job-runs.create",
}
# who may sign in, and what was done, is not written by workflows
CLOSED = frozenset({"idam", "audt", "auto"})


async def event_types(moment: Moment, changes: list[Change]) -> dict[UUID, Row]:
    """The event types that workflows listen to, by id."""
    columns = EventType.__table__.c
    keys = {change["event_type_id"] for change in changes}
    found = await moment.fetch(select(columns.id, columns.code, columns.payload_schema).where(columns.id.in_(keys)))
    return {row["id"]: row for row in found}


def declared_fields(schema: dict[str, Any]) -> set[str]:
    """The fields that an event type's schema declares; none = it does not say."""
    return set(schema.get("properties", schema))


@rules.on(
    "AUTO-W1",
    "workflows",
    *(Point.BEFORE_CREATE, Point.BEFORE_UPDATE),
    watches="event_type_id conditions actions",
    raises="422:bad_condition 422:unknown_action 403:permission_denied",
)
async def check_workflow(moment: Moment, changes: list[Change]) -> None:
    """Conditions use known operators and fields of the event, actions are known, and their author may do them himself."""
    types = await event_types(moment, changes)
    for change in changes:
        kind = types.get(change["event_type_id"])  # an unknown one is refused by the reference itself
        fields = declared_fields(kind["payload_schema"]) if kind else set()
        for place, condition in enumerate(change["conditions"] or ()):
            if condition["op"] not in OPERATORS or (fields and condition["field"] not in fields):
                told = f"op is one of {', '.join(OPERATORS)}, field one of the event's"
                raise refuse(change, f"conditions[{place}]", "bad_condition", told)
        for place, action in enumerate(change["actions"]):
            _check_action(moment, change, place, written_by(action, kind["code"] if kind else ""))


def written_by(action: dict[str, Any], event: str) -> tuple[str, str]:
    """(type, entity) of an action: which entity set_field and create_record write."""
    entity = action["params"].get("entity", "") if action["type"] == "create_record" else event.rpartition(".")[0]
    return action["type"], entity if isinstance(entity, str) else ""


def _check_action(moment: Moment, change: Change, place: int, action: tuple[str, str]) -> None:
    kind, entity = action
    name, writes = f"actions[{place}]", kind in ("set_field", "create_record")
    if kind not in ACTIONS:
        raise refuse(change, name, "unknown_action", f"type is one of {', '.join(ACTIONS)}")
    if writes and (entity.count(".") != 1 or entity.split(".")[0] in CLOSED):
        raise refuse(change, name, "unknown_action", f"workflows do not write {entity or 'what is not named'}")
    moment.require(ACTIONS[kind].format(entity))


@rules.on(
    "AUTO-W1",
    "workflows",
    Point.BEFORE_UPDATE,
    watches="name event_type_id conditions actions priority max_runs_per_hour",
)
async def count_revisions(moment: Moment, changes: list[Change]) -> None:
    """A change of an active workflow adds 1 to its revision."""
    for change in changes:
        if change.old is not None and change.old["status"] == "active":
            change.values["revision"] = change.old["revision"] + 1


def raised_by(workflow: Row | Change, event: str) -> Iterator[str]:
    """The events that the actions of a workflow surely raise."""
    for action in workflow["actions"]:
        kind, entity = written_by(action, event)
        if kind == "create_record":
            yield f"{entity}.created"
        elif kind == "set_field":
            yield f"{entity}.updated"


@rules.on("AUTO-W2", "workflows", Point.BEFORE_STATUS, edges="draft>active", raises="409:workflow_loop")
async def refuse_circles(moment: Moment, changes: list[Change]) -> None:
    """A workflow whose writes lead back to it over other active workflows is not activated. One that starts itself is: it
    is stopped at its depth."""
    workflows, types = Workflow.__table__.c, EventType.__table__
    active = await moment.fetch(
        select(workflows.id, workflows.actions, types.c.code)
        .join(types, types.c.id == workflows.event_type_id)
        .where(workflows.is_active, workflows.status == "active")
    )
    known = await event_types(moment, changes)
    leads: dict[str, set[str]] = {}
    for row in active:
        leads.setdefault(row["code"], set()).update(raised_by(row, row["code"]))
    for change in changes:
        own = known[change["event_type_id"]]["code"]
        onward = set(raised_by(change, own)) - {own}
        if own in _reached(leads, onward):
            raise ConflictError("workflow_loop", "Active workflows that this one starts would start it again")


def _reached(leads: dict[str, set[str]], start: set[str]) -> set[str]:
    """The events that follow from those of `start`."""
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        for event in leads.get(waiting.pop(), ()):
            if event not in found:
                found.add(event)
                waiting.append(event)
    return found
