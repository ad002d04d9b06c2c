"""A batch: several operations over one scope, atomic or each by itself, with names between them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from engine.clock import CLOCK
from engine.testing.harness import Live
from engine.types import Principal, TenantRef
from tests.calls import Body, Caller

CUSTOMERS, CONTACTS = "tenants/crm/customers", "tenants/crm/contacts"
ABSENT = "00000000-0000-7000-8000-000000000001"


@pytest.fixture(scope="module")
def caller(live: Live) -> Caller:
    return Caller(live.client("tenants"))


@pytest.fixture
def mark() -> str:
    """An industry that only this test's rows have."""
    return str(CLOCK.new_id())


def send(caller: Caller, operations: Any, scope: str = "tenants", **more: Any) -> httpx.Response:
    headers = more.pop("headers", {})
    return caller.client.post(f"/{scope}/batch", json={"operations": operations, **more}, headers=headers)


def post(path: str, body: Any, **more: Any) -> Body:
    return {"method": "POST", "path": f"/{path}", "body": body, **more}


def rows(caller: Caller, mark: str) -> list[Body]:
    return caller.list(CUSTOMERS, f"filter[industry]={mark}&sort=name")


def test_operations_know_the_answers_of_earlier_ones(caller: Caller, mark: str) -> None:
    operations = [
        post(CUSTOMERS, {"name": "Acme", "industry": mark}, id="a"),
        post(CONTACTS, {"customer_id": "$a.id", "full_name": "Ann", "notes": "$$a.id"}, id="b"),
        {"method": "PATCH", "path": f"/{CUSTOMERS}/{{$a.id}}", "body": {"legal_name": "Acme Ltd"}},
        {"method": "GET", "path": f"/{CUSTOMERS}?filter[industry]={mark}&expand=contacts"},
        {"method": "DELETE", "path": f"/{CONTACTS}/{{$b.id}}"},
    ]
    answer = send(caller, operations)
    assert answer.status_code == 200, answer.text
    items = answer.json()["data"]
    assert [(item["id"], item["status"]) for item in items] == [
        ("a", 201),
        ("b", 201),
        (None, 200),
        (None, 200),
        (None, 200),
    ]
    customer = items[0]["body"]["data"]
    assert items[1]["body"]["data"]["customer_id"] == customer["id"]
    assert items[1]["body"]["data"]["notes"] == "$a.id"
    listed = items[3]["body"]["data"]["items"][0]
    assert listed["legal_name"] == "Acme Ltd" and [c["full_name"] for c in listed["contacts"]] == ["Ann"]
    assert caller.get(CUSTOMERS, customer["id"])["version"] == 2
    caller.expect_refusal("404:not_found", "GET", f"{CONTACTS}/{items[1]['body']['data']['id']}")
    log = caller.send(200, "GET", f"{CUSTOMERS}/{customer['id']}/history")["items"]
    assert [record["action"] for record in log] == ["update", "create"]


def test_an_atomic_batch_is_all_or_nothing(caller: Caller, mark: str) -> None:
    operations = [
        post(CUSTOMERS, {"name": "A", "industry": mark}),
        post(CUSTOMERS, {"name": "B", "industry": mark, "parent_id": ABSENT}),
    ]
    answer = send(caller, operations)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "invalid_reference")
    assert error["message"].startswith("operations[1]: ")
    assert [fault["field"] for fault in error["details"]] == ["operations[1].parent_id"]
    assert rows(caller, mark) == []
    gone = send(caller, [operations[0], {"method": "GET", "path": f"/{CUSTOMERS}/{ABSENT}"}])
    assert gone.status_code == 404
    assert [fault["field"] for fault in gone.json()["error"]["details"]] == ["operations[1]"]
    assert rows(caller, mark) == []


def test_each_operation_by_itself(caller: Caller, mark: str) -> None:
    operations = [
        post(CUSTOMERS, {"name": "A", "industry": mark}, id="a"),
        post(CUSTOMERS, {"name": "B", "industry": mark, "parent_id": ABSENT}, id="b"),
        post(CONTACTS, {"customer_id": "$b.id", "full_name": "Ann"}),
        post(CUSTOMERS, {"name": "C", "industry": mark, "parent_id": "$a.id"}),
    ]
    answer = send(caller, operations, mode="each")
    items = answer.json()["data"]
    assert answer.status_code == 200 and [item["status"] for item in items] == [201, 422, 422, 201]
    assert items[1]["body"]["error"]["details"][0]["field"] == "parent_id"
    assert "'b'" in items[2]["body"]["error"]["message"]
    assert [row["name"] for row in rows(caller, mark)] == ["A", "C"]


def test_a_set_and_an_upsert_take_part(caller: Caller, mark: str) -> None:
    tax = CLOCK.new_id().hex[:20]
    operations = [
        post(CUSTOMERS, [{"name": "A", "industry": mark}, {"name": "B", "industry": mark}], id="two"),
        post(f"{CUSTOMERS}/upsert?on=tax_id", {"name": "C", "industry": mark, "tax_id": tax}),
        {
            "method": "PATCH",
            "path": f"/{CUSTOMERS}?filter[industry]={mark}",
            "body": {"parent_id": "$two.0.id"},
            "prefer": "max-affected=1",
        },
    ]
    answer = send(caller, operations)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "too_many_rows")
    operations[2]["path"] += "&filter[name][ne]=A"
    operations[2]["prefer"] = "max-affected=2"
    items = send(caller, operations).json()["data"]
    assert [item["status"] for item in items] == [201, 201, 200] and items[2]["body"]["data"] == {"count": 2}
    first = items[0]["body"]["data"][0]["id"]
    assert [row["parent_id"] for row in rows(caller, mark)] == [None, first, first]


def test_each_operation_takes_its_own_permission(live: Live, caller: Caller, mark: str) -> None:
    place = TenantRef(live.tenant(live.client("tenants")), "first")
    clerk = Caller(live.lend(Principal(CLOCK.new_id(), tenant=place, permissions=frozenset({"crm.customers.create"}))))
    operations = [post(CUSTOMERS, {"name": "A", "industry": mark}, id="a"), {"method": "GET", "path": f"/{CUSTOMERS}"}]
    answer = send(clerk, operations)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
    assert rows(caller, mark) == []
    assert [item["status"] for item in send(clerk, operations, mode="each").json()["data"]] == [201, 403]


def test_a_rehearsal_and_a_key_are_of_the_whole(caller: Caller, mark: str) -> None:
    operations = [post(CUSTOMERS, {"name": "A", "industry": mark})]
    dry = send(caller, operations, headers={"Prefer": "dry-run"})
    assert dry.status_code == 200 and dry.json()["data"][0]["status"] == 201 and rows(caller, mark) == []
    key = {"Idempotency-Key": mark}
    first, second = send(caller, operations, headers=key), send(caller, operations, headers=key)
    assert first.content == second.content and second.headers["idempotent-replayed"] == "true"
    assert len(rows(caller, mark)) == 1


def test_rules_after_commit_run_once_it_is_durable(caller: Caller, mark: str) -> None:
    """Numbers come from one series, whatever failed in between."""
    operations = [
        post(CUSTOMERS, {"name": "A", "industry": mark}),
        post(CUSTOMERS, {"name": "B", "industry": mark, "parent_id": ABSENT}),
        post(CUSTOMERS, {"name": "C", "industry": mark}),
    ]
    send(caller, operations, mode="each")
    numbers = [int(row["number"].rpartition("-")[2]) for row in rows(caller, mark)]
    assert numbers[1] == numbers[0] + 1


GOOD = {"method": "GET", "path": f"/{CUSTOMERS}"}


@pytest.mark.parametrize(
    ("operations", "field", "code"),
    [
        ([], "operations", "out_of_range"),
        ([GOOD] * 101, "operations", "out_of_range"),
        (["x"], "operations[0]", "invalid_format"),
        ([{**GOOD, "verb": "GET"}], "operations[0]", "field_not_allowed"),
        ([{**GOOD, "method": "TRACE"}], "operations[0].method", "invalid_choice"),
        ([{**GOOD, "path": "/manager/idam/users"}], "operations[0].path", "invalid_format"),
        ([{**GOOD, "path": 5}], "operations[0].path", "invalid_format"),
        ([{**GOOD, "id": "1 a"}], "operations[0].id", "invalid_format"),
        ([{**GOOD, "id": "a"}, {**GOOD, "id": "a"}], "operations[1].id", "repeated"),
        ([post(CUSTOMERS, {"name": "$z.id"})], "operations[0].body", "invalid_reference"),
        ([{**GOOD, "path": f"/{CUSTOMERS}/{{$z.id}}"}], "operations[0].path", "invalid_reference"),
        ([{**GOOD, "prefer": "dry-run"}], "operations[0].prefer", "invalid_choice"),
    ],
)
def test_what_does_not_fit_is_named(caller: Caller, operations: Any, field: str, code: str) -> None:
    answer = send(caller, operations)
    assert answer.status_code == 422
    assert (field, code) in [(fault["field"], fault["code"]) for fault in answer.json()["error"]["details"]]


def test_a_batch_is_for_callers_of_its_scope(live: Live, caller: Caller) -> None:
    assert send(caller, [GOOD], scope="manager").json()["error"]["code"] == "wrong_scope"
    assert send(caller, [GOOD], scope="nowhere").status_code == 404
    assert httpx.post(f"{live.url}/tenants/batch", json={"operations": [GOOD]}).status_code == 401
    assert caller.client.get("/tenants/batch").status_code == 405
    for path, code in (("/tenants/crm/nothing", "route_not_found"), (f"/{CUSTOMERS}/export", "bad_request")):
        answer = send(caller, [{"method": "GET", "path": path}])
        assert answer.json()["error"]["code"] == code


def test_both_reads_see_what_was_written_before(caller: Caller, mark: str) -> None:
    operations = [
        post(CUSTOMERS, {"name": "$$a.id", "industry": mark}, id="a"),
        {"method": "QUERY", "path": f"/{CUSTOMERS}", "body": {"filter": {"industry": mark}}},
        {"method": "GET", "path": f"/{CUSTOMERS}/{{$a.id}}"},
    ]
    items = send(caller, operations).json()["data"]
    assert [item["status"] for item in items] == [201, 200, 200], items
    row = items[0]["body"]["data"]
    assert row["name"] == "$a.id" and items[2]["body"]["data"] == row
    assert [found["id"] for found in items[1]["body"]["data"]["items"]] == [row["id"]]
