"""What a refusal of a deletion tells: which rows are in the way, as far as the caller may see them; and what a deleted row may."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from engine.clock import CLOCK
from engine.testing.harness import Live
from engine.types import Principal, TenantRef
from tests.calls import Body, Caller

CUSTOMERS, OPPORTUNITIES, PLANS = "tenants/crm/customers", "tenants/crm/opportunities", "manager/bill/plans"


@pytest.fixture(scope="module")
def caller(live: Live) -> Caller:
    return Caller(live.client("tenants"))


def delete(caller: Caller, path: str) -> httpx.Response:
    return caller.client.delete(f"/{path}", headers={"Prefer": "max-affected=5"})


def used(answer: httpx.Response) -> list[tuple[str, Any, Any]]:
    """Field, entity and number of each detail."""
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (409, "in_use"), answer.text
    assert {fault["code"] for fault in error["details"]} == {"in_use"}
    return [(f["field"], f["params"].get("entity"), f["params"].get("count")) for f in error["details"]]


def customer(caller: Caller, opportunities: int, **values: Any) -> Body:
    row = caller.make(CUSTOMERS, name="Used", **values)
    for _ in range(opportunities):
        caller.make(OPPORTUNITIES, title="T", customer_id=row["id"], amount="1")
    return row


def test_what_refers_to_a_row_is_named_and_counted(caller: Caller) -> None:
    row = customer(caller, 3)
    caller.drop(OPPORTUNITIES, caller.list(OPPORTUNITIES, f"filter[customer_id]={row['id']}")[0]["id"])
    path = f"{CUSTOMERS}/{row['id']}"
    assert used(delete(caller, path)) == [("", "crm.opportunities", 2)]
    caller.make(CUSTOMERS, name="Below", parent_id=row["id"])
    found = used(delete(caller, path))
    assert sorted(found) == [("", "crm.customers", 1), ("", "crm.opportunities", 2)]
    batch = {"operations": [{"method": "DELETE", "path": f"/{path}"}]}
    in_batch = used(caller.client.post("/tenants/batch", json=batch))
    assert sorted(in_batch) == [(f"operations[0]{field}", *rest) for field, *rest in sorted(found)]


def test_a_set_names_them_for_each_row(caller: Caller) -> None:
    mark = str(CLOCK.new_id())
    rows = [customer(caller, number, industry=mark) for number in range(3)]
    answer = delete(caller, f"{CUSTOMERS}?filter[industry]={mark}")
    expected = [(f"[{rows[number]['id']}]", "crm.opportunities", number) for number in (1, 2)]
    assert sorted(used(answer)) == sorted(expected)


def test_rows_that_the_caller_may_not_read_are_not_told(live: Live, caller: Caller) -> None:
    row = customer(caller, 1)
    place = TenantRef(live.tenant(live.client("tenants")), "first")
    rights = frozenset({"crm.customers.read", "crm.customers.delete"})
    clerk = Caller(live.lend(Principal(CLOCK.new_id(), tenant=place, permissions=rights)))
    answer = delete(clerk, f"{CUSTOMERS}/{row['id']}")
    assert used(answer) == [("", None, None)] and "opportunities" not in answer.text


# -- transitions


def test_a_deleted_row_of_a_machine_goes_nowhere(live: Live) -> None:
    admin = Caller(live.client("manager"))
    code = f"T{CLOCK.new_id().hex[-10:]}".upper()
    row = admin.make(PLANS, code=code, name="P", interval="month", currency="USD", amount="30")
    path = f"{PLANS}/{row['id']}"
    assert admin.send(200, "GET", f"{path}/transitions")["status"] == "draft"
    admin.drop(PLANS, row["id"])
    admin.expect_refusal("404:not_found", "GET", f"{path}/transitions")


def test_a_deleted_row_without_a_machine_can_come_back(caller: Caller) -> None:
    row = caller.make("tenants/fim/cost-centers", code=f"T{CLOCK.new_id().hex[-10:]}".upper(), name="C")
    caller.drop("tenants/fim/cost-centers", row["id"])
    told = caller.send(200, "GET", f"tenants/fim/cost-centers/{row['id']}/transitions")
    assert told == {"status": "inactive", "transitions": [{"status": "active", "allowed": True, "reason": None}]}
