"""Many rows in one request: lists in which each item counts by itself, set-based update and delete, ten thousand rows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest

from engine.clock import CLOCK
from engine.testing.harness import Live
from engine.types import Principal, TenantRef
from tenancy.pool import Transaction
from tests.calls import Body, Caller

CUSTOMERS, CONTACTS = "tenants/crm/customers", "tenants/crm/contacts"
INVOICES = "manager/bill/invoices"
ABSENT = "00000000-0000-7000-8000-000000000001"


@pytest.fixture(scope="module")
def caller(live: Live) -> Caller:
    return Caller(live.client("tenants"))


@pytest.fixture
def mark() -> str:
    """An industry that only this test's rows have."""
    return str(CLOCK.new_id())


def send(caller: Caller, method: str, path: str, body: Any = None, prefer: str = "") -> httpx.Response:
    return caller.client.request(method, f"/{path}", json=body, headers={"Prefer": prefer} if prefer else {})


def code(answer: httpx.Response) -> str:
    return f"{answer.status_code}:{answer.json()['error']['code']}"


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The statements that requests send in transactions meanwhile; what the relay does beside them does not count."""
    sent: list[str] = []
    fetch = Transaction.fetch

    async def noted(self: Transaction, text: str, arguments: Any) -> Any:
        task = asyncio.current_task()
        if task is not None and "RequestResponseCycle" in repr(task.get_coro()):
            sent.append(text)
        return await fetch(self, text, arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "fetch", noted)
        yield sent


# -- each by itself


def test_each_item_of_a_list_counts_by_itself(live: Live, caller: Caller, mark: str) -> None:
    tax = CLOCK.new_id().hex[:16]
    rows: list[Any] = [
        {"name": "A", "industry": mark, "tax_id": tax},
        {"name": "B", "industry": mark, "parent_id": ABSENT},
        {"nam": "C", "industry": mark},
        {"name": "D", "industry": mark, "tax_id": tax},
        {"name": "E", "industry": mark},
    ]
    answer = send(caller, "POST", CUSTOMERS, rows, "each")
    assert answer.status_code == 207 and answer.headers["preference-applied"] == "each"
    items = answer.json()["data"]
    assert [item["status"] for item in items] == [201, 422, 422, 409, 201]
    assert [item["error"] and item["error"]["code"] for item in items] == [
        None,
        "invalid_reference",
        "validation_error",
        "duplicate",
        None,
    ]
    assert items[1]["error"]["details"][0]["field"] == "parent_id"
    assert {fault["field"] for fault in items[2]["error"]["details"]} == {"nam", "name"}
    assert items[3]["error"]["details"][0]["field"] == "tax_id" and items[3]["data"] is None
    assert sorted(row["name"] for row in caller.list(CUSTOMERS, f"filter[industry]={mark}")) == ["A", "E"]
    assert [caller.get(CUSTOMERS, items[i]["data"]["id"])["name"] for i in (0, 4)] == ["A", "E"]
    log = caller.send(200, "GET", f"{CUSTOMERS}/{items[0]['data']['id']}/history")["items"]
    assert [record["action"] for record in log] == ["create"]


def test_numbers_of_what_failed_go_to_others(caller: Caller, mark: str) -> None:
    rows = [{"name": "A", "industry": mark, **({"parent_id": ABSENT} if i == 1 else {})} for i in range(3)]
    items = send(caller, "POST", CUSTOMERS, rows, "each").json()["data"]
    numbers = [int(item["data"]["number"].rpartition("-")[2]) for item in items if item["data"]]
    assert numbers[1] == numbers[0] + 1


def test_where_all_is_well_no_item_has_a_statement_of_its_own(
    caller: Caller, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for size in (2, 60):
        with counted(monkeypatch) as sent:
            answer = send(caller, "POST", CUSTOMERS, [{"name": "A", "industry": mark}] * size, "each")
        assert {item["status"] for item in answer.json()["data"]} == {201} and len(answer.json()["data"]) == size
        counts.append(len(sent))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(("told", "tries"), [(True, 3), (False, 1 + 2 * 6)])
def test_one_bad_row_among_many_is_asked_for_or_found_by_halves(
    caller: Caller, mark: str, monkeypatch: pytest.MonkeyPatch, told: bool, tries: int
) -> None:
    """The set, the question which row it is, and the set without it; or halves, where nobody can tell."""
    if not told:
        monkeypatch.setattr("engine.clashes._key_of", lambda *_: None)
    tax = CLOCK.new_id().hex[:16]
    caller.make(CUSTOMERS, name="Known", tax_id=tax)
    rows = [{"name": "A", "industry": mark, **({"tax_id": tax} if i == 40 else {})} for i in range(64)]
    with counted(monkeypatch) as sent:
        items = send(caller, "POST", CUSTOMERS, rows, "each").json()["data"]
    assert [i for i, item in enumerate(items) if item["status"] != 201] == [40]
    assert items[40]["error"]["code"] == "duplicate"
    assert len([text for text in sent if text.startswith("savepoint")]) == tries


def test_one_object_is_answered_as_always(caller: Caller) -> None:
    assert send(caller, "POST", CUSTOMERS, {"name": "Only"}, "each").status_code == 201
    assert send(caller, "POST", CUSTOMERS, [], "each").json()["data"] == []


# -- by filter


def few(caller: Caller, mark: str, size: int = 3) -> list[Body]:
    rows: list[Body] = caller.send(201, "POST", CUSTOMERS, [{"name": f"N{i}", "industry": mark} for i in range(size)])
    return rows


def test_an_update_by_filter_is_one_set(caller: Caller, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = few(caller, mark)
    path = f"{CUSTOMERS}?filter[industry]={mark}&filter[name][ne]=N2"
    with counted(monkeypatch) as sent:
        answer = send(caller, "PATCH", path, {"legal_name": "seen"}, "max-affected=10")
    assert answer.status_code == 200 and answer.json()["data"] == {"count": 2}
    assert answer.headers["preference-applied"] == "max-affected=10"
    assert (
        len([text for text in sent if text.lstrip().lower().startswith("with") and "UPDATE crm.customers" in text]) == 1
    )
    after = {row["name"]: row for row in caller.list(CUSTOMERS, f"filter[industry]={mark}")}
    assert [after[name]["legal_name"] for name in ("N0", "N1", "N2")] == ["seen", "seen", None]
    assert [after[name]["version"] for name in ("N0", "N1", "N2")] == [2, 2, 1]
    log = caller.send(200, "GET", f"{CUSTOMERS}/{rows[0]['id']}/history")["items"][0]
    assert log["changes"]["legal_name"] == [None, "seen"]


def test_the_rows_are_shown_on_request(caller: Caller, mark: str) -> None:
    few(caller, mark)
    path = f"{CUSTOMERS}?filter[industry]={mark}"
    answer = send(caller, "PATCH", path, {"legal_name": "x"}, "max-affected=10, return=representation")
    assert answer.json()["data"]["count"] == 3
    assert {(row["legal_name"], row["version"]) for row in answer.json()["data"]["items"]} == {("x", 2)}


def test_a_deletion_by_filter(caller: Caller, mark: str) -> None:
    few(caller, mark)
    answer = send(caller, "DELETE", f"{CUSTOMERS}?filter[industry]={mark}&q=N1", prefer="max-affected=1")
    assert answer.json()["data"] == {"count": 1}
    assert len(caller.list(CUSTOMERS, f"filter[industry]={mark}")) == 2
    gone = caller.list(CUSTOMERS, f"filter[industry]={mark}&deleted=only")
    assert [row["name"] for row in gone] == ["N1"]
    again = send(caller, "DELETE", f"{CUSTOMERS}?filter[industry]={mark}&q=N1", prefer="max-affected=1")
    assert again.json()["data"] == {"count": 0}


def test_more_rows_than_allowed_are_counted_and_kept(caller: Caller, mark: str) -> None:
    few(caller, mark)
    for method, body in (("PATCH", {"legal_name": "x"}), ("DELETE", None)):
        answer = send(caller, method, f"{CUSTOMERS}?filter[industry]={mark}", body, "max-affected=2")
        assert code(answer) == "409:too_many_rows"
        assert answer.json()["error"]["details"][0]["params"] == {"count": 3, "max_affected": 2}
    assert {row["version"] for row in caller.list(CUSTOMERS, f"filter[industry]={mark}")} == {1}


@pytest.mark.parametrize(
    ("query", "prefer", "expected"),
    [
        ("", "max-affected=5", "400:filter_required"),
        ("deleted=include", "max-affected=5", "400:unknown_parameter"),
        ("deleted=only&filter[industry]=x", "max-affected=5", "400:unknown_parameter"),
        ("filter[industry]=x", "", "400:max_affected_required"),
        ("filter[industry]=x", "max-affected=many", "400:bad_request"),
        ("filter[industry]=x", "max-affected=99999", "400:bad_request"),
        ("filter[industri]=x", "max-affected=5", "422:validation_error"),
        ("filter[industry]=x&page=1", "max-affected=5", "400:unknown_parameter"),
        ("filter[industry]=x&expand=parent", "max-affected=5", "400:unknown_parameter"),
    ],
)
def test_a_set_needs_a_filter_and_a_limit(caller: Caller, query: str, prefer: str, expected: str) -> None:
    for method, body in (("PATCH", {"legal_name": "x"}), ("DELETE", None)):
        assert code(send(caller, method, f"{CUSTOMERS}?{query}", body, prefer)) == expected


def test_a_set_takes_no_version_and_no_write_once_field(caller: Caller, mark: str) -> None:
    path = f"{CUSTOMERS}?filter[industry]={mark}"
    for body, found in (({"version": 1}, "field_not_allowed"), ({"kind": "person"}, "write_once")):
        answer = send(caller, "PATCH", path, body, "max-affected=5")
        assert [fault["code"] for fault in answer.json()["error"]["details"]] == [found]


def test_a_set_obeys_references_guards_and_what_refers_to_it(live: Live, caller: Caller, mark: str) -> None:
    rows = few(caller, mark)
    path = f"{CUSTOMERS}?filter[industry]={mark}"
    answer = send(caller, "PATCH", path, {"parent_id": ABSENT}, "max-affected=5")
    assert code(answer) == "422:invalid_reference"
    fields = sorted(fault["field"] for fault in answer.json()["error"]["details"])
    assert fields == sorted(f"[{row['id']}].parent_id" for row in rows)
    caller.make("tenants/crm/opportunities", title="T", customer_id=rows[1]["id"], amount="1")
    answer = send(caller, "DELETE", path, prefer="max-affected=5")
    assert code(answer) == "409:in_use"
    assert [fault["field"] for fault in answer.json()["error"]["details"]] == [f"[{rows[1]['id']}]"]
    place = TenantRef(live.tenant(live.client("tenants")), "first")
    rights = frozenset({"crm.customers.read", "crm.customers.update"})
    clerk = Caller(live.lend(Principal(CLOCK.new_id(), tenant=place, permissions=rights)))
    assert send(clerk, "PATCH", path, {"legal_name": "y"}, "max-affected=5").json()["data"] == {"count": 3}
    assert code(send(clerk, "PATCH", path, {"credit_limit": "5"}, "max-affected=5")) == "403:permission_denied"
    assert code(send(clerk, "DELETE", path, prefer="max-affected=5")) == "403:permission_denied"
    blind = Caller(live.lend(Principal(CLOCK.new_id(), tenant=place, permissions=rights - {"crm.customers.read"})))
    assert code(send(blind, "PATCH", path, {"legal_name": "z"}, "max-affected=5")) == "403:permission_denied"
    assert {row["legal_name"] for row in caller.list(CUSTOMERS, f"filter[industry]={mark}")} == {"y"}


def test_parent_and_child_go_together(caller: Caller, mark: str) -> None:
    top = caller.make(CUSTOMERS, name="Top", industry=mark)
    caller.make(CUSTOMERS, name="Below", industry=mark, parent_id=top["id"])
    path = f"{CUSTOMERS}?filter[industry]={mark}"
    assert code(send(caller, "DELETE", f"{path}&filter[name]=Top", prefer="max-affected=5")) == "409:in_use"
    assert send(caller, "DELETE", path, prefer="max-affected=5").json()["data"] == {"count": 2}


def test_a_filter_looks_only_where_the_caller_may(live: Live, caller: Caller, mark: str) -> None:
    few(caller, mark)
    place = TenantRef(live.tenant(live.client("tenants")), "first")
    rights = frozenset({"crm.customers.read", "crm.customers.update"})
    clerk = Caller(live.lend(Principal(CLOCK.new_id(), tenant=place, permissions=rights)))
    path = f"{CUSTOMERS}?filter[contacts.full_name]=Ann"
    assert code(send(clerk, "PATCH", path, {"legal_name": "y"}, "max-affected=5")) == "403:permission_denied"


# -- documents


@pytest.fixture(scope="module")
def admin(live: Live) -> Caller:
    return Caller(live.client("manager"))


def invoice(admin: Caller, memo: str, lines: int = 2) -> Body:
    """A body."""
    tenant = admin.list("manager/tnnt/tenants")[0]["id"]
    line = {"kind": "one_off", "description": "Setup", "unit_amount": "10"}
    return {"tenant_id": tenant, "currency": "USD", "memo": memo, "lines": [line] * lines}


def test_a_set_with_a_locked_document_is_refused_whole(admin: Caller, mark: str) -> None:
    first, second = (admin.make(INVOICES, **invoice(admin, mark)) for _ in range(2))
    admin.move(INVOICES, first["id"], "open")
    path = f"{INVOICES}?filter[memo]={mark}"
    answer = send(admin, "PATCH", path, {"due_date": "2040-01-01"}, "max-affected=5")
    assert code(answer) == "409:document_locked"
    assert [fault["field"] for fault in answer.json()["error"]["details"]] == [f"[{first['id']}]"]
    assert code(send(admin, "DELETE", path, prefer="max-affected=5")) == "409:not_draft"
    assert admin.get(INVOICES, second["id"])["due_date"] == second["due_date"]
    done = send(admin, "DELETE", f"{path}&filter[status]=draft", prefer="max-affected=5")
    assert done.json()["data"] == {"count": 1}


def test_lines_of_a_set_are_replaced_in_every_document(
    admin: Caller, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for size in (2, 12):
        memo = f"{mark}-{size}"
        admin.send(201, "POST", INVOICES, [invoice(admin, memo) for _ in range(size)])
        line = {"kind": "one_off", "description": "Other", "unit_amount": "7"}
        with counted(monkeypatch) as sent:
            answer = send(
                admin,
                "PATCH",
                f"{INVOICES}?filter[memo]={memo}",
                {"lines": [line] * 3},
                "max-affected=50, return=representation",
            )
        counts.append(len(sent))
        items = answer.json()["data"]["items"]
        assert len(items) == size and {row["subtotal"] for row in items} == {"21.0000"}
        assert all([line["description"] for line in row["lines"]] == ["Other"] * 3 for row in items)
    assert counts[0] == counts[1]


# -- ten thousand


def test_no_row_has_a_statement_of_its_own(admin: Caller, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers with lines: numbers, references, roll-ups, child rows, each in as many statements for two as for forty."""
    counts = []
    for size in (2, 40):
        bodies = [invoice(admin, f"{mark}-{size}") for _ in range(size)]
        with counted(monkeypatch) as sent:
            rows = admin.send(201, "POST", INVOICES, bodies)
        assert len(rows) == size and {len(row["lines"]) for row in rows} == {2}
        assert {row["subtotal"] for row in rows} == {"20.0000"}
        counts.append(len(sent))
    assert counts[0] == counts[1]


def test_a_fault_in_a_line_names_document_and_line(caller: Caller) -> None:
    codes = [f"L{CLOCK.new_id().hex[:20].upper()}{i}" for i in range(2)]
    items = [{"variant_id": ABSENT, "unit_price": n, "valid_from": "2040-01-01"} for n in "12"]
    bodies: list[Body] = [
        {"code": code, "name": "L", "kind": "sale", "currency": "EUR", "valid_from": "2040-01-01"} for code in codes
    ]
    bodies[1]["items"] = items
    error = caller.expect_refusal("422:invalid_reference", "POST", "tenants/pim/price-lists", bodies)
    assert [fault["field"] for fault in error["details"]] == ["[1].items[0].variant_id", "[1].items[1].variant_id"]
    assert caller.list("tenants/pim/price-lists", f"filter[code][in]={','.join(codes)}") == []


def test_ten_thousand_rows_in_one_request(
    live: Live, caller: Caller, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = caller.make(CUSTOMERS, name="Parent")["id"]
    # all that PostgreSQL knows of the table is from before the rows came
    live.run_sql("tenants", "analyze crm.customers")
    rows = [
        {"name": f"N{i}", "industry": mark, "parent_id": parent, "legal_name": "x" * 100, "credit_limit": "10.005"}
        for i in range(10_000)
    ]
    with counted(monkeypatch) as sent:
        made = caller.send(201, "POST", CUSTOMERS, rows)
    assert [row["name"] for row in made] == [row["name"] for row in rows]
    assert len(sent) < 20, sent
    assert len({row["number"] for row in made}) == 10_000
    assert {row["credit_limit"] for row in made} == {"10.0100"}
    tenant: UUID = live.tenant(live.client("tenants"))
    log = live.catalog.roles["tenants", "change_log"].table.fullname
    ids = f"select count(*) from {log} where action = 'create' and entity = 'customers' and entity_id = any($1)"
    keys = [row["id"] for row in made]
    assert live.run_sql("tenants", ids, keys, tenant=tenant)[0][0] == 10_000
    with counted(monkeypatch) as sent:
        answer = send(
            caller, "PATCH", f"{CUSTOMERS}?filter[industry]={mark}", {"legal_name": "y"}, "max-affected=10000"
        )
    assert answer.json()["data"] == {"count": 10_000} and len(sent) < 20


def test_more_than_ten_thousand_are_refused(caller: Caller) -> None:
    rows = [{"name": "N"}] * 10_001
    for prefer in ("", "each"):
        answer = send(caller, "POST", CUSTOMERS, rows, prefer)
        assert code(answer) == "413:payload_too_large" and "10000" in answer.json()["error"]["message"]
    assert code(send(caller, "POST", CUSTOMERS, [{"nam": "N"}] * 10_001)) == "413:payload_too_large"


def test_a_list_may_be_larger_than_an_object(live: Live, caller: Caller) -> None:
    def body(given: Any) -> httpx.Response:
        return send(caller, "POST", "tenants/crm/leads", given)

    settings = live.system.settings
    large = {"full_name": "N", "email": "n@n.example", "notes": "x" * settings.max_body_bytes}
    assert code(body(large)) == "413:payload_too_large"
    assert body([large]).status_code == 201
    assert code(body([{**large, "notes": "x" * settings.max_bulk_bytes}])) == "413:payload_too_large"
