"""What breaks a unique key or overlaps a period in a set of new rows is named by its place in the body."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from engine.clock import CLOCK
from engine.testing.harness import Live
from tests.calls import Body, Caller

CUSTOMERS, CENTERS, LISTS = "tenants/crm/customers", "tenants/fim/cost-centers", "tenants/pim/price-lists"
TAXES = "tenants/fim/tax-codes"


@pytest.fixture(scope="module")
def caller(live: Live) -> Caller:
    return Caller(live.client("tenants"))


def fresh() -> str:
    """A code that nobody else has."""
    return f"C{CLOCK.new_id().hex[-14:]}".upper()


def send(caller: Caller, path: str, body: Any, **headers: str) -> httpx.Response:
    return caller.client.post(f"/{path}", json=body, headers=headers)


def faults(answer: httpx.Response, code: str = "duplicate") -> list[str]:
    """The places that a refusal names."""
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (409, code), answer.text
    assert {fault["code"] for fault in error["details"]} == {code}
    return [fault["field"] for fault in error["details"]]


def customers(*taxes: str | None) -> list[Body]:
    return [{"name": f"N{place}", "tax_id": tax} for place, tax in enumerate(taxes)]


def test_the_rows_that_others_have_are_named(caller: Caller) -> None:
    first, second, third = fresh(), fresh(), fresh()
    send(caller, CUSTOMERS, customers(first, second))
    answer = send(caller, CUSTOMERS, customers(third, second, None, first))
    assert faults(answer) == ["[1].tax_id", "[3].tax_id"]
    assert caller.list(CUSTOMERS, f"filter[tax_id]={third}") == []
    assert faults(send(caller, CUSTOMERS, customers(first)[0])) == ["tax_id"]


def test_the_second_of_two_equal_rows_is_named(caller: Caller) -> None:
    tax = fresh()
    assert faults(send(caller, CUSTOMERS, customers(fresh(), tax, None, None, tax))) == ["[4].tax_id"]
    items = send(caller, CUSTOMERS, customers(tax, tax), Prefer="each").json()["data"]
    assert [item["status"] for item in items] == [201, 409]
    assert items[1]["error"]["details"][0]["field"] == "tax_id"


def test_at_most_fifty_are_named(caller: Caller) -> None:
    taxes = [fresh() for _ in range(60)]
    send(caller, CUSTOMERS, customers(*taxes))
    assert faults(send(caller, CUSTOMERS, customers(*taxes))) == [f"[{place}].tax_id" for place in range(50)]


def test_a_key_of_several_columns_with_a_condition(caller: Caller) -> None:
    usual = {"name": "L", "kind": "purchase", "currency": "PLN", "valid_from": "2040-01-01"}
    caller.make(LISTS, **usual, code=fresh(), is_default=True)
    rows = [{**usual, "code": fresh()}, {**usual, "code": fresh(), "is_default": True}]
    assert faults(send(caller, LISTS, rows)) == ["[1].kind", "[1].currency"]


def test_deleted_rows_and_rows_of_other_tenants_do_not_count(live: Live, caller: Caller) -> None:
    old, tax = fresh(), fresh()
    caller.drop(CUSTOMERS, caller.make(CUSTOMERS, name="Gone", tax_id=old)["id"])
    assert faults(send(caller, CUSTOMERS, customers(old, tax, tax))) == ["[2].tax_id"]


def test_a_batch_names_operation_and_row(caller: Caller) -> None:
    tax = fresh()
    operations = [
        {"method": "GET", "path": f"/{CUSTOMERS}?page_size=1"},
        {"method": "POST", "path": f"/{CUSTOMERS}", "body": customers(fresh(), tax, tax)},
    ]
    answer = send(caller, "tenants/batch", {"operations": operations})
    assert faults(answer) == ["operations[1][2].tax_id"]
    answer = send(caller, "tenants/batch", {"operations": operations, "mode": "each"})
    error = answer.json()["data"][1]["body"]["error"]
    assert [fault["field"] for fault in error["details"]] == ["[2].tax_id"]


def test_an_upsert_names_the_rows_that_break_another_key(caller: Caller) -> None:
    usual = {"name": "L", "kind": "purchase", "currency": "CZK", "valid_from": "2040-01-01"}
    caller.make(LISTS, **usual, code=fresh(), is_default=True)
    rows = [{**usual, "code": fresh()}, {**usual, "code": fresh(), "is_default": True}]
    assert faults(send(caller, f"{LISTS}/upsert?on=code", rows)) == ["[1].kind", "[1].currency"]


def test_the_rows_whose_periods_overlap_are_named(caller: Caller) -> None:
    code, usual = fresh(), {"name": "T", "rate": "7"}
    caller.make(TAXES, **usual, code=code, valid_from="2040-01-01", valid_until="2040-06-30")
    rows = [
        {**usual, "code": code, "valid_from": "2041-01-01"},
        {**usual, "code": code, "valid_from": "2040-06-30", "valid_until": "2040-12-31"},
        {**usual, "code": fresh(), "valid_from": "2040-06-30"},
        {**usual, "code": code, "valid_from": "2050-01-01"},
    ]
    names = [f"[{place}].{name}" for place in (1, 3) for name in ("code", "valid_from", "valid_until")]
    assert faults(send(caller, TAXES, rows), "overlapping_period") == names


def test_an_import_finds_them_at_once(caller: Caller) -> None:
    taxes = [fresh() for _ in range(40)]
    send(caller, CUSTOMERS, customers(*taxes[::2]))
    file = "name,tax_id\n" + "".join(f"N,{tax}\n" for tax in taxes)
    headers = {"Content-Type": "text/csv", "Prefer": "each"}
    answer = caller.client.post(f"/{CUSTOMERS}/import", content=file.encode(), headers=headers)
    report = answer.json()["data"]
    assert (report["created"], report["failed"]) == (20, 20)
    assert [error["row"] for error in report["errors"]] == [2 + place for place in range(0, 40, 2)]
    assert {error["field"] for error in report["errors"]} == {"tax_id"}
