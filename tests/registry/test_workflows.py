"""Behaviour of workflows: what they may say, and what they do when their event comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from engine.events import Event
from engine.testing.harness import Live
from engine.types import Principal
from registry.manager.workflow_events import MAX_DEPTH, filled, holds, shown_values
from tests.calls import Body, Caller, World

WORKFLOWS, RUNS, TYPES = "manager/auto/workflows", "manager/auto/workflow-runs", "manager/intg/event-types"
COUPONS, CUSTOMERS, JOBS = "manager/bill/coupons", "tenants/crm/customers", "manager/auto/jobs"
PLANS = "manager/bill/plans"
PATIENCE = 15.0


def until(condition: Callable[[], Any]) -> Any:
    """What the condition says as soon as it holds."""
    patient = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < patient, "it does not come about"
        time.sleep(0.05)
    return found


@pytest.fixture
def admin(world: World) -> Iterator[Caller]:
    """The administrator; workflows of the test are disabled after it."""
    yield world.admin
    for row in world.admin.list(WORKFLOWS, "filter[status]=active"):
        world.admin.move(WORKFLOWS, row["id"], "disabled")


def kind(admin: Caller, code: str, schema: Body | None = None) -> Body:
    """An event type, made when there is none."""
    known = admin.list(TYPES, f"filter[code]={code}")
    if not known:
        return admin.make(TYPES, code=code, scope="manager", payload_schema=schema or {})
    return admin.change(TYPES, known[0]["id"], payload_schema=schema or {})


Make = Callable[..., Body]


@pytest.fixture
def make(world: World, admin: Caller) -> Make:
    """A workflow; `active=False` leaves it a draft."""

    def made(event: str, *actions: Body, active: bool = True, schema: Body | None = None, **values: Any) -> Body:
        own = {"code": world.name("FLOW").upper(), "name": "Flow", "event_type_id": kind(admin, event, schema)["id"]}
        row = admin.make(WORKFLOWS, **own, actions=list(actions), **values)
        return admin.move(WORKFLOWS, row["id"], "active") if active else row

    return made


def action(kind: str, **params: Any) -> Body:
    return {"type": kind, "params": params}


def runs(admin: Caller, workflow: Body, subject: Body | None = None) -> list[Body]:
    """Its runs, for one row where that is named: late events of other tests' rows may come as well."""
    found = admin.list(RUNS, f"filter[workflow_id]={workflow['id']}&sort=depth,created_at")
    return [run for run in found if subject is None or run["subject"].endswith(subject["id"])]


def ended(admin: Caller, workflow: Body, subject: Body | None = None, count: int = 1) -> list[Body]:
    """The runs of a workflow, once there are so many and all are over."""

    def over() -> list[Body] | None:
        found = runs(admin, workflow, subject)
        return found if len(found) >= count and all(run["finished_at"] for run in found) else None

    found: list[Body] = until(over)
    return found


def plan(world: World, **values: Any) -> Body:
    usual = {"code": world.name("PLAN").upper(), "name": "Plan", "amount": "10", "currency": "USD", "interval": "month"}
    return world.admin.make(PLANS, **{**usual, **values})


RENAME = action("set_field", field="name", value="Renamed $code")


@pytest.mark.parametrize(
    ("condition", "fits"),
    [
        ({"field": "severity", "op": "eq", "value": "sev1"}, True),
        ({"field": "severity", "op": "like", "value": "sev1"}, False),
        ({"field": "colour", "op": "eq", "value": "red"}, False),
    ],
)
def test_a_condition_names_a_field_and_an_operator(make: Make, admin: Caller, condition: Body, fits: bool) -> None:
    """AUTO-W1: the field exists in the event's schema, the operator is known; at update as well."""
    schema = {"type": "object", "properties": {"severity": {"type": "string"}}}
    draft = make("test.things.judged", active=False, schema=schema)
    body = {"conditions": [condition]}
    if fits:
        admin.change(WORKFLOWS, draft["id"], **body)
    else:
        admin.expect_refusal("422:bad_condition", "PATCH", f"{WORKFLOWS}/{draft['id']}", body)
        new = {"code": "BAD", "name": "Bad", "event_type_id": draft["event_type_id"], "actions": [], **body}
        admin.expect_refusal("422:bad_condition", "POST", WORKFLOWS, new)


@pytest.mark.parametrize(
    "wrong",
    [
        action("explode"),
        action("create_record", values={}),
        action("create_record", entity="idam.user-roles", values={}),
        action("create_record", entity="audt.audit-logs", values={}),
    ],
)
def test_an_action_is_known_and_keeps_off_credentials(make: Make, admin: Caller, wrong: Body) -> None:
    """AUTO-W1: unknown types are refused, and so is writing users, trail and automation."""
    kept = make("bill.plans.created", active=False)
    admin.expect_refusal("422:unknown_action", "PATCH", f"{WORKFLOWS}/{kept['id']}", {"actions": [wrong]})
    users = kind(admin, "idam.users.created")["id"]
    body = {"event_type_id": users, "actions": [RENAME]}
    admin.expect_refusal("422:unknown_action", "PATCH", f"{WORKFLOWS}/{kept['id']}", body)


def test_nobody_has_a_workflow_do_what_he_may_not(live: Live, make: Make, admin: Caller) -> None:
    """AUTO-W1: its author holds the permission of each action."""
    draft = make("bill.plans.created", active=False)
    rights = frozenset({"auto.workflows.update", "auto.workflows.read", "bill.plans.update"})
    clerk = Caller(live.lend(Principal(uuid4(), permissions=rights)))
    assert clerk.change(WORKFLOWS, draft["id"], actions=[RENAME])["actions"] == [RENAME]
    path, other = f"{WORKFLOWS}/{draft['id']}", action("create_record", entity="bill.coupons", values={})
    clerk.expect_refusal("403:permission_denied", "PATCH", path, {"actions": [other]})


def test_the_revision_counts_changes_while_active(make: Make, admin: Caller) -> None:
    """AUTO-W1: an active workflow's change adds 1; a draft's does not."""
    draft = make("test.things.revised", active=False)
    assert admin.change(WORKFLOWS, draft["id"], priority=5)["revision"] == 1
    admin.move(WORKFLOWS, draft["id"], "active")
    assert admin.change(WORKFLOWS, draft["id"], priority=6)["revision"] == 2
    admin.move(WORKFLOWS, draft["id"], "disabled")
    assert admin.change(WORKFLOWS, draft["id"], priority=7)["revision"] == 2


def test_a_circle_of_workflows_is_not_activated(make: Make, admin: Caller) -> None:
    """AUTO-W2: what leads over other active workflows back to its own event is refused."""
    make("test.a.created", action("create_record", entity="test.b", values={}))
    make("test.b.created", action("create_record", entity="test.c", values={}))
    last = make("test.c.created", action("create_record", entity="test.a", values={}), active=False)
    admin.stays("409:workflow_loop", WORKFLOWS, last["id"], "active")
    admin.change(WORKFLOWS, last["id"], actions=[action("create_record", entity="test.d", values={})])
    assert admin.move(WORKFLOWS, last["id"], "active")["status"] == "active"


def test_an_event_runs_its_workflow_once(world: World, make: Make, admin: Caller) -> None:
    """G18, AUTO-W2: conditions decide, the actions are done, and the run tells it."""
    flow = make(
        "bill.plans.created",
        action("set_field", field="name", value="$code"),
        conditions=[{"field": "trial_days", "op": "gt", "value": 5}],
    )
    other, wanted = plan(world, trial_days=5), plan(world, trial_days=14)
    [run] = ended(admin, flow, wanted)
    assert (run["status"], run["depth"], run["error"]) == ("succeeded", 0, None)
    assert run["subject"] == f"bill.plans {wanted['id']}" and run["revision"] == flow["revision"]
    [step] = run["steps"]
    assert (step["action"], step["status"], step["error"]) == ("set_field", "succeeded", None)
    assert admin.get(PLANS, wanted["id"])["name"] == wanted["code"]
    assert admin.get(PLANS, other["id"])["name"] == "Plan"


def test_actions_are_done_all_or_none(world: World, make: Make, admin: Caller) -> None:
    """A failing action is named in the run, and what came before it is undone."""
    flow = make("bill.plans.created", action("set_field", field="name", value="Half"), action("start_job", job="NONE"))
    made = plan(world)
    [run] = ended(admin, flow, made)
    assert run["status"] == "failed" and run["error"] == "start_job: unknown_handler"
    assert [(step["action"], step["status"]) for step in run["steps"]] == [
        ("set_field", "undone"),
        ("start_job", "failed"),
    ]
    assert admin.get(PLANS, made["id"])["name"] == "Plan"


def test_a_refused_write_is_the_runs_failure_only(world: World, make: Make, admin: Caller) -> None:
    """A database fault undoes the actions and leaves the trail of the run."""
    taken = plan(world)
    flow = make("bill.plans.created", action("set_field", field="code", value=taken["code"]))
    made = plan(world)
    [run] = ended(admin, flow, made)
    assert (run["status"], run["error"]) == ("failed", "set_field: duplicate (code: duplicate)")


def test_a_workflow_starts_a_job(world: World, make: Make, admin: Caller) -> None:
    """AUTO-W1: action start_job queues a run of the job."""
    code = world.name("STARTED").upper()
    timed = {"schedule_kind": "interval", "interval_seconds": 86_400}
    job = admin.make(JOBS, code=code, name="Job", handler="expire_credentials", **timed)
    flow = make("bill.plans.created", action("start_job", job=code))
    made = plan(world)
    assert ended(admin, flow, made)[0]["status"] == "succeeded"
    [queued] = admin.list("manager/auto/job-runs", f"filter[job_id]={job['id']}")
    assert (queued["status"], queued["trigger"]) == ("queued", "manual")


def test_a_workflow_notifies(world: World, make: Make, admin: Caller) -> None:
    """AUTO-W1: action notify queues a message of a published template."""
    code, address = world.name("NEWS").upper(), f"{uuid4()}@news.example"
    variables = [{"name": "plan", "type": "string", "required": True}]
    text = {"subject": "News", "body": "Look: {{ plan }}", "variables": variables}
    template = admin.make("manager/noti/templates", code=code, channel_kind="email", **text)
    admin.move("manager/noti/templates", template["id"], "published")
    to = {"template": code, "address": address, "variables": {"plan": "$code"}}
    flow = make("bill.plans.created", action("notify", **to))
    made = plan(world)
    [run] = ended(admin, flow, made)
    assert run["status"] == "succeeded", run
    [message] = admin.list("manager/noti/notifications", f"filter[address]={address}")
    assert message["variables"] == {"plan": made["code"]}


def test_a_webhook_cannot_be_sent_yet(world: World, make: Make, admin: Caller) -> None:
    """AUTO-W1: action webhook is known; sending it is the part of intg.webhooks."""
    flow = make("bill.plans.created", action("webhook"))
    made = plan(world)
    assert ended(admin, flow, made)[0]["error"] == "webhook: webhook_unavailable"


def test_no_more_than_max_runs_per_hour(world: World, make: Make, admin: Caller) -> None:
    """max_runs_per_hour: what is more is skipped, and told."""
    flow = make("bill.plans.created", RENAME, max_runs_per_hour=2)
    for _ in range(4):
        last = plan(world)
    ended(admin, flow, last)
    assert [run["status"] for run in ended(admin, flow, count=4)].count("succeeded") == 2
    [skipped] = runs(admin, flow, last)
    assert (skipped["status"], skipped["error"]) == ("skipped", "max_runs_per_hour is reached")


def test_a_workflow_that_starts_itself_is_stopped(world: World, make: Make, admin: Caller) -> None:
    """AUTO-W2: events raised by a workflow carry depth + 1; depth 5 stops the chain and disables the workflow."""
    schema = {"properties": {"name": {"type": "string"}, "version": {"type": "integer"}}}
    name = world.name("Endless ")
    only = [{"field": "name", "op": "eq", "value": name}]
    again = action("set_field", field="description", value="$version")
    flow = make("bill.plans.updated", again, schema=schema, conditions=only)
    made = plan(world)
    admin.change(PLANS, made["id"], name=name)
    found = ended(admin, flow, made, MAX_DEPTH + 1)
    assert [(run["depth"], run["status"]) for run in found] == [(d, "succeeded") for d in range(5)] + [(5, "skipped")]
    assert found[-1]["error"].startswith("workflow_loop")
    assert admin.get(WORKFLOWS, flow["id"])["status"] == "disabled"


def test_a_workflow_listens_to_its_tenant(live: Live, make: Make, admin: Caller) -> None:
    """tenant_id: events of that tenant only; without it of all. What it writes is the tenant's."""
    first, second = Caller(live.client("tenants")), Caller(live.other_tenant())
    own = str(live.tenant(live.client("tenants")))
    mark = action("set_field", field="website", value="https://flow.example")
    narrow = make("crm.customers.created", mark, tenant_id=own)
    wide = make("crm.customers.created", action("create_record", entity="crm.activities", values={}))
    mine, theirs = first.make(CUSTOMERS, name="Mine"), second.make(CUSTOMERS, name="Theirs")
    assert {run["subject"] for run in ended(admin, wide, count=2)} == {
        f"crm.customers {c['id']}" for c in (mine, theirs)
    }
    assert [run["subject"] for run in ended(admin, narrow)] == [f"crm.customers {mine['id']}"]
    assert first.get(CUSTOMERS, mine["id"])["website"] == "https://flow.example"
    assert second.get(CUSTOMERS, theirs["id"])["website"] is None


@pytest.mark.parametrize(
    ("op", "known", "wanted", "expected"),
    [
        ("eq", "10.0000", 10, True),
        ("eq", None, None, True),
        ("eq", True, 1, False),
        ("eq", "a", "b", False),
        ("ne", "a", "b", True),
        ("ne", "10.0", "10", False),
        ("gt", "9", 10, False),
        ("gt", "10.01", "10", True),
        ("lt", "2026-01-01", "2026-02-01", True),
        ("lt", None, 5, False),
        ("in", "b", ["a", "b"], True),
        ("in", "b", "abc", False),
        ("contains", ["a", "b"], "b", True),
        ("contains", "header", "head", True),
        ("contains", None, "None", False),
    ],
)
def test_how_conditions_compare(op: str, known: Any, wanted: Any, expected: bool) -> None:
    """AUTO-W1: numbers by value whatever their form, other things as text."""
    assert holds({"field": "x", "op": op, "value": wanted}, {"x": known}) is expected


def test_secrets_are_not_seen() -> None:
    """G15: neither the masked value of the log nor the row's own, whatever the schema says."""
    changes = {"name": [None, "Ann"], "password_hash": [None, "***"]}
    event = Event(uuid4(), "x.y.created", "manager", None, "x.y", uuid4(), changes, None, None, None)  # type: ignore[arg-type]
    row = {"name": "Ann", "password_hash": "$2b$", "age": 3}
    seen = shown_values(event, row, {"name", "password_hash", "age"})
    assert seen == {"name": "Ann", "age": 3, "id": str(event.key), "event": "x.y.created"}


def test_parameters_are_filled_at_any_depth() -> None:
    """`$field` as a whole value; other texts stay."""
    values = {"code": "A", "amount": "3.00"}
    assert filled({"a": ["$code", {"b": "$amount"}], "c": "to $code", "d": "$none", "e": 1}, values) == {
        "a": ["A", {"b": "3.00"}],
        "c": "to $code",
        "d": "$none",
        "e": 1,
    }
