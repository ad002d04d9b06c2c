"""Headers and their nested rows are one thing to whoever changes them: no edit of a line is lost, however it was made."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from engine.testing.harness import Live
from tests.calls import Body, Caller

INVOICES, LINES = "manager/bill/invoices", "manager/bill/invoice-lines"
ORDERS, ITEMS = "market/shop/orders", "market/shop/items"
LINE = {"kind": "one_off", "description": "Setup", "unit_amount": "10"}


@pytest.fixture(scope="module")
def admin(live: Live) -> Caller:
    return Caller(live.client("manager"))


@pytest.fixture(scope="module")
def seller(market: Live) -> Caller:
    return Caller(market.client("tenants"))


@pytest.fixture
def invoice(admin: Caller) -> Body:
    """A draft with two lines."""
    tenant = admin.list("manager/tnnt/tenants")[0]["id"]
    return admin.make(INVOICES, tenant_id=tenant, currency="USD", memo="m", lines=[LINE, LINE])


def patch(caller: Caller, path: str, body: Any, version: int, prefer: str = "") -> httpx.Response:
    headers = {"If-Match": f'"{version}"', **({"Prefer": prefer} if prefer else {})}
    return caller.client.patch(f"/{path}", json=body, headers=headers)


def version(caller: Caller, path: str, key: str) -> int:
    return int(caller.get(path, key)["version"])


def test_an_edit_of_a_line_is_not_lost_under_its_header(admin: Caller, invoice: Body) -> None:
    place, known = f"{INVOICES}/{invoice['id']}", invoice["version"]
    # no sum moves with it
    admin.change(LINES, invoice["lines"][0]["id"], description="Changed by another")
    stale = patch(admin, place, {"lines": [LINE]}, known)
    assert stale.status_code == 412 and stale.json()["error"]["code"] == "version_conflict"
    assert [fault["field"] for fault in stale.json()["error"]["details"]] == ["lines"]
    shown = admin.send(200, "GET", f"{place}?expand=lines")["lines"]
    assert sorted(line["description"] for line in shown) == ["Changed by another", "Setup"]
    assert patch(admin, place, {"lines": [LINE]}, version(admin, INVOICES, invoice["id"])).status_code == 200


@pytest.mark.parametrize(
    ("method", "body"),
    [("PATCH", {"description": "x"}), ("PATCH", {"quantity": "3"}), ("DELETE", None)],
    ids=["words", "sums", "removal"],
)
def test_each_write_of_a_line_moves_its_header_once(admin: Caller, invoice: Body, method: str, body: Any) -> None:
    admin.send(200, method, f"{LINES}/{invoice['lines'][0]['id']}", body)
    assert version(admin, INVOICES, invoice["id"]) == invoice["version"] + 1


def test_a_new_line_moves_its_header_once(admin: Caller, invoice: Body) -> None:
    admin.make(LINES, invoice_id=invoice["id"], position=3, **LINE)
    assert version(admin, INVOICES, invoice["id"]) == invoice["version"] + 1


def test_a_replaced_set_is_summed_once(admin: Caller, invoice: Body) -> None:
    place = f"{INVOICES}/{invoice['id']}"
    changed = patch(admin, place, {"memo": "n", "lines": [LINE] * 3}, invoice["version"]).json()["data"]
    assert changed["subtotal"] == "30.0000" and changed["version"] == invoice["version"] + 2
    records = admin.send(200, "GET", f"{place}/history")["items"]
    sums = [record["changes"]["subtotal"] for record in records if "subtotal" in record["changes"]]
    # newest first; no sum that never stood
    assert [tuple(map(float, old_new)) for old_new in sums[:1]] == [(20.0, 30.0)]
    emptied = patch(admin, place, {"lines": []}, changed["version"]).json()["data"]
    assert emptied["subtotal"] == "0.0000"


def test_where_nothing_is_summed_the_header_moves_too(seller: Caller) -> None:
    order = seller.make(ORDERS, note="a", items=[{"sku": "A"}, {"sku": "B"}])
    assert order["version"] == 1
    first, second = order["items"]
    seller.change(ITEMS, first["id"], sku="AA")
    seller.drop(ITEMS, second["id"])
    seller.make(ITEMS, order_id=order["id"], sku="C")
    assert version(seller, ORDERS, order["id"]) == 4
    other = seller.make(ORDERS, note="b")
    seller.change(ITEMS, first["id"], order_id=other["id"])
    assert (version(seller, ORDERS, order["id"]), version(seller, ORDERS, other["id"])) == (5, 2)
    rows = [{"order_id": other["id"], "sku": str(n)} for n in range(5)]
    seller.send(201, "POST", ITEMS, rows)
    assert version(seller, ORDERS, other["id"]) == 3


def test_what_was_taken_back_does_not_count_as_moved(admin: Caller, invoice: Body) -> None:
    """In a batch of which the first part fails after it wrote the header."""
    discount = {"kind": "discount", "description": "Too much", "unit_amount": "-1000"}
    header = {"method": "PATCH", "path": f"/{INVOICES}/{invoice['id']}", "body": {"memo": "n", "lines": [discount]}}
    line = {"method": "PATCH", "path": f"/{LINES}/{invoice['lines'][0]['id']}", "body": {"description": "B"}}
    done = admin.send(200, "POST", "manager/batch", {"mode": "each", "operations": [header, line]})
    assert [result["status"] for result in done] == [422, 200]
    assert version(admin, INVOICES, invoice["id"]) == invoice["version"] + 1


def test_lines_and_fields_of_their_header_are_disjoint(admin: Caller, invoice: Body) -> None:
    place, known, wish = f"{INVOICES}/{invoice['id']}", invoice["version"], "merge=disjoint"
    admin.change(INVOICES, invoice["id"], memo="by another")
    merged = patch(admin, place, {"lines": [LINE]}, known, wish)
    assert merged.status_code == 200 and merged.headers["preference-applied"] == wish
    assert (merged.json()["data"]["memo"], merged.json()["data"]["subtotal"]) == ("by another", "10.0000")
    # his lines are there now, so a set that was made of the former ones would lose them
    assert patch(admin, place, {"lines": [LINE, LINE]}, known, wish).status_code == 412
    assert patch(admin, place, {"memo": "mine"}, known + 1, wish).json()["data"]["memo"] == "mine"


def test_words_of_a_line_are_seen_by_a_merge(admin: Caller, invoice: Body) -> None:
    admin.change(LINES, invoice["lines"][0]["id"], description="by another")
    answer = patch(admin, f"{INVOICES}/{invoice['id']}", {"lines": [LINE]}, invoice["version"], "merge=disjoint")
    assert answer.status_code == 412
