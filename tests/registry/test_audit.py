"""The change logs of both databases, over HTTP."""

from __future__ import annotations

import asyncpg
import pytest

from engine.testing.harness import Live
from tests.calls import Body, Caller, World

AUDIT, TENANT_AUDIT = "manager/audt/audit-logs", "tenants/sys/audit-logs"
PLANS, CUSTOMERS, CONTACTS = "manager/bill/plans", "tenants/crm/customers", "tenants/crm/contacts"


def trail(caller: Caller, path: str, row: Body) -> list[Body]:
    """What the log says of a row, oldest first."""
    return caller.list(path, f"filter[entity_id]={row['id']}&sort=occurred_at,id")


def test_every_write_leaves_one_record(world: World) -> None:
    """G16: create, update, status and delete, each with the changed columns, old and new, and who it was."""
    values = {"name": "Plan", "interval": "month", "currency": "USD", "amount": "5"}
    plan = world.admin.make(PLANS, code=world.name("A").upper(), **values)
    world.admin.change(PLANS, plan["id"], amount="6")
    world.admin.move(PLANS, plan["id"], "active")
    world.admin.drop(PLANS, plan["id"])
    records = trail(world.admin, AUDIT, plan)
    assert [record["action"] for record in records] == ["create", "update", "status", "delete"]
    assert records[0]["changes"]["amount"] == [None, "5.0000"]
    assert records[1]["changes"] == {"amount": ["5.0000", "6.0000"], "version": [1, 2]}
    assert records[2]["changes"]["status"] == ["draft", "active"]
    assert records[3]["changes"]["is_active"] == [True, False]
    assert {(record["scope"], record["domain"], record["entity"], record["outcome"]) for record in records} == {
        ("manager", "bill", "plans", "ok")
    }


def test_the_record_names_the_caller(world: World) -> None:
    """G16: actor, his address and the request."""
    user, clerk = world.clerk("bill.plans.create")
    body = {"code": world.name("A").upper(), "name": "P", "interval": "month", "currency": "USD", "amount": "5"}
    answer = clerk.client.post(f"/{PLANS}", json=body, headers={"X-Request-Id": "who-was-it"})
    [record] = trail(world.admin, AUDIT, answer.json()["data"])
    assert (record["actor_id"], record["actor_email"]) == (user["id"], user["email"])
    assert (record["request_id"], record["ip"]) == ("who-was-it", "127.0.0.1")


def test_a_refused_write_leaves_no_record(world: World) -> None:
    """G22: a failed hook rolls the whole request back, what it wrote elsewhere included."""
    before = world.admin.send(200, "GET", f"{AUDIT}?page_size=1")["total"]
    world.admin.expect_refusal("422:reserved_slug", "POST", "manager/tnnt/tenants", _tenant(world))
    after = world.admin.send(200, "GET", f"{AUDIT}?page_size=1")["total"]
    assert after == before + 1  # the owner, who was made for the attempt


def _tenant(world: World) -> Body:
    values = {"slug": "admin", "name": "A", "billing_email": "a@b.example", "country": "DE"}
    return {**values, "owner_id": world.user()["id"]}


def test_what_hooks_write_is_recorded_too(live: Live) -> None:
    """G16: the new primary contact and the old one, in the tenant's own log alone."""
    owner = Caller(live.client("tenants"))
    customer = owner.make(CUSTOMERS, name="Audit")
    first = owner.make(CONTACTS, customer_id=customer["id"], full_name="Ann")
    owner.make(CONTACTS, customer_id=customer["id"], full_name="Bob", is_primary=True)
    records = trail(owner, TENANT_AUDIT, first)
    assert [record["changes"].get("is_primary") for record in records] == [[None, True], [True, False]]
    assert trail(Caller(live.client("manager")), AUDIT, first) == []
    assert trail(Caller(live.other_tenant()), TENANT_AUDIT, first) == []


@pytest.mark.parametrize("path", [AUDIT, TENANT_AUDIT])
def test_the_log_takes_no_writes(world: World, live: Live, path: str) -> None:
    """AUDT-L2, SYS-L2: there is no route that changes it."""
    caller = world.admin if path == AUDIT else Caller(live.client("tenants"))
    record = caller.send(200, "GET", f"{path}?page_size=1")["items"][0]
    for method, target in (("POST", path), ("PATCH", f"{path}/{record['id']}"), ("DELETE", f"{path}/{record['id']}")):
        caller.expect_refusal("405:method_not_allowed", method, target, {} if method != "DELETE" else None)


@pytest.mark.parametrize("verb", ["update audt.audit_logs set action = 'other'", "delete from audt.audit_logs"])
def test_the_database_refuses_changes_of_the_log(live: Live, verb: str) -> None:
    """AUDT-L2: not even the owner of the tables changes it."""
    with pytest.raises(asyncpg.PostgresError):
        live.run_sql("manager", verb)
    assert live.run_sql("manager", "select count(*) as n from audt.audit_logs")[0]["n"] > 0
