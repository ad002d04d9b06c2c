"""Rows of other people's tables are created, changed and removed where that is asked for and allowed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import httpx
import pytest

from engine.testing.harness import Live
from engine.types import Op
from tests.engine.reflection.somebody import ask

NUMBERS = count(100)


@pytest.fixture
def client(writing: Live) -> httpx.Client:
    return writing.client("shop")


def data(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()["data"]


def code(answer: httpx.Response) -> tuple[int, str, list[str]]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], [fault["field"] for fault in error["details"]]


def customer(client: httpx.Client) -> str:
    name = f"C{next(NUMBERS)}"
    data(client.post("/shop/trade/customers", json={"code": name, "name": "x"}), 201)
    return name


def order(client: httpx.Client) -> str:
    return str(data(client.post("/shop/trade/orders", json={"customer": customer(client)}), 201)["id"])


# table -> a body, and what is changed in it; None = the view cannot be changed
BODIES: dict[str, tuple[Any, dict[str, Any]]] = {
    "trade/customers": (lambda c: {"code": f"N,/% ä{next(NUMBERS)}", "name": "New"}, {"name": "Newer"}),
    "trade/orders": (lambda c: {"customer": customer(c)}, {"state": "paid"}),
    "trade/lines": (lambda c: {"order_id": order(c), "line_no": 1, "sku": "S", "qty": 2, "price": "1.50"}, {"qty": 3}),
    "trade/shipments": (lambda c: {"order_id": "1", "line_no": 1, "weight": 0.5}, {"weight": 1.5}),
    "trade/staff": (lambda c: {"id": next(NUMBERS), "name": "New", "boss_id": 1}, {"boss_id": None}),
    "trade/bookings": (lambda c: {"room": next(NUMBERS), "during": '["2026-01-01 00:00:00+00",)'}, {"during": "empty"}),
    "trade/events": (lambda c: {"id": next(NUMBERS), "day": "2026-05-01", "what": "new"}, {"what": "newer"}),
    "trade/gold": (lambda c: {"code": f"G{next(NUMBERS)}", "name": "New", "tier": "gold"}, {"name": "Newer"}),
    "trade/secrets": (lambda c: {"id": next(NUMBERS), "open": "o", "closed": "c"}, {"open": None}),
    "kinds/everything": (lambda c: {"whole": 1}, {"whole": 2}),
    "kinds/lists": (lambda c: {"wholes": [1]}, {"wholes": None}),
    "kinds/needed": (lambda c: {"name": f"n{next(NUMBERS)}"}, {"note": "y"}),
    "Odd%20Names/Order%20Items": (
        lambda c: {"select": next(NUMBERS)},
        {"Unit Price": "2.50", "version": 4, "a_b_2": "z", "x": 1},
    ),
    "Odd%20Names/a%2Fb%25c%2Ed": (lambda c: {"id": f"k/{next(NUMBERS)},%"}, {"Order Item": 1}),
    "Odd%20Names/gr%C3%BC%C3%9Fe": (lambda c: {"id": next(NUMBERS)}, {"user": 1}),
    "Odd%20Names/order": (lambda c: {"id": next(NUMBERS)}, {"version": 7}),
}
# every column is part of the key, so there is nothing to change
KEYS_ONLY: dict[str, Any] = {
    "Odd%20Names/UPPER": lambda c: {"ID": next(NUMBERS)},
    "Odd%20Names/upper": lambda c: {"ID": next(NUMBERS)},
    "Odd%20Names/select": lambda c: {"export": f"e{next(NUMBERS)}", "import": "a/b,c"},
    "Odd%20Names/order_status": lambda c: {"id": next(NUMBERS)},
}


def test_every_table_that_can_be_written_is_tried(writing: Live) -> None:
    writable = {
        p.removeprefix("shop/") for p, r in writing.catalog.resources.items() if p[:5] == "shop/" and Op.CREATE in r.ops
    }
    assert writable == BODIES.keys() | KEYS_ONLY.keys()


@pytest.mark.parametrize("path", BODIES)
def test_a_row_is_created_changed_and_removed(client: httpx.Client, path: str) -> None:
    make, change = BODIES[path]
    body = make(client)
    made = client.post(f"/shop/{path}", json=body)
    row = data(made, 201)
    assert {name: row[name] for name in body} == body
    place, tag = made.headers["location"], made.headers["etag"]
    assert data(client.get(place)) == row and client.get(place).headers["etag"] == tag
    changed = client.patch(place, json=change, headers={"If-Match": tag})
    assert data(changed) == {**data(changed), **row, **change, **computed(data(changed))}
    assert code(client.patch(place, json=change, headers={"If-Match": tag}))[:2] == (412, "version_conflict")
    assert code(client.delete(place, headers={"If-Match": tag}))[:2] == (412, "version_conflict")
    assert data(client.patch(place, json={})) == data(changed)
    assert data(client.delete(place, headers={"If-Match": changed.headers["etag"]})) == data(changed)
    for gone in (client.get(place), client.patch(place, json=change), client.delete(place)):
        assert code(gone)[:2] == (404, "not_found")


def computed(row: dict[str, Any]) -> dict[str, Any]:
    """What the database makes of other columns."""
    return {name: row[name] for name in ("total", "doubled") if name in row}


@pytest.mark.parametrize("path", KEYS_ONLY)
def test_a_row_that_is_all_key_is_created_and_removed(client: httpx.Client, path: str) -> None:
    made = client.post(f"/shop/{path}", json=KEYS_ONLY[path](client))
    assert data(client.get(made.headers["location"])) == data(made, 201)
    assert data(client.delete(made.headers["location"])) == data(made, 201)


@pytest.mark.parametrize("path", BODIES)
def test_many_rows_are_written_as_one_set(client: httpx.Client, path: str) -> None:
    make, change = BODIES[path]
    bodies = [make(client) for _ in range(3)]
    rows = data(client.post(f"/shop/{path}", json=bodies), 201)
    assert [{name: row[name] for name in body} for row, body in zip(rows, bodies, strict=True)] == bodies
    resource = path.split("/")
    where = {
        "or": [{"and": [{"field": k, "op": "eq", "value": row[k]} for k in keys_of(client, resource)]} for row in rows]
    }
    asked = {"where": json.dumps(where)}
    many = {"Prefer": "max-affected=3, return=representation"}
    written = data(client.request("PATCH", f"/shop/{path}", params=asked, json=change, headers=many))
    assert written["count"] == 3 and all(row | change == row for row in written["items"])
    gone = data(client.request("DELETE", f"/shop/{path}", params=asked, headers={"Prefer": "max-affected=3"}))
    assert gone == {"count": 3}
    assert data(client.get(f"/shop/{path}", params=asked))["items"] == []


def keys_of(client: httpx.Client, parts: list[str]) -> list[str]:
    return list(data(client.get(f"/shop/{'/'.join(parts)}/_meta"))["key"])


def test_removed_rows_are_shown_where_that_is_wanted(client: httpx.Client) -> None:
    number = next(NUMBERS)
    data(client.post("/shop/trade/staff", json=[{"id": number, "name": "A"}, {"id": number + 1, "name": "B"}]), 201)
    next(NUMBERS)
    wanted = {"Prefer": "max-affected=5, return=representation"}
    found = client.request("DELETE", "/shop/trade/staff", params={"filter[id][gte]": number}, headers=wanted)
    assert [row["name"] for row in data(found)["items"]] == ["A", "B"]


def test_of_ten_writers_who_know_the_same_state_one_succeeds(client: httpx.Client) -> None:
    number = next(NUMBERS)
    made = client.post("/shop/trade/staff", json={"id": number, "name": "0"})
    for turn in range(5):
        tag = client.get(f"/shop/trade/staff/{number}").headers["etag"]

        def write(writer: int, tag: str = tag, turn: int = turn) -> int:
            body = {"name": f"{turn}.{writer}"}
            return client.patch(f"/shop/trade/staff/{number}", json=body, headers={"If-Match": tag}).status_code

        with ThreadPoolExecutor(10) as threads:
            answers = sorted(threads.map(write, range(10)))
        assert answers == [200, *[412] * 9]
    assert data(made, 201)["name"] == "0"


def test_a_row_that_others_refer_to_stays(client: httpx.Client) -> None:
    assert code(client.delete("/shop/trade/lines/1,1"))[:2] == (409, "in_use")
    assert code(client.delete("/shop/trade/customers/ACME"))[:2] == (409, "in_use")
    many = client.request(
        "DELETE", "/shop/trade/lines", params={"filter[order_id]": 1}, headers={"Prefer": "max-affected=9"}
    )
    assert code(many)[:2] == (409, "in_use")


def test_the_database_follows_what_is_removed(client: httpx.Client) -> None:
    number = order(client)
    line = {"order_id": number, "line_no": 1, "sku": "S", "qty": 1, "price": "1"}
    data(client.post("/shop/trade/lines", json=line), 201)
    data(client.delete(f"/shop/trade/orders/{number}"))
    assert code(client.get(f"/shop/trade/lines/{number},1"))[:2] == (404, "not_found")


REFUSALS: list[tuple[str, dict[str, Any], tuple[int, str, list[str]]]] = [
    ("trade/customers", {"code": "low", "name": "x"}, (422, "validation_error", ["code"])),
    ("trade/customers", {"code": "A1", "name": "x", "credit": "-1"}, (422, "validation_error", ["credit"])),
    ("trade/customers", {"code": "A1", "name": "x", "credit": "1000001"}, (422, "validation_error", ["credit"])),
    ("trade/customers", {"code": "A1", "name": "x", "tier": "none"}, (422, "validation_error", ["tier"])),
    ("trade/customers", {"code": "A1", "name": "x" * 81}, (422, "validation_error", ["name"])),
    ("trade/customers", {"code": "ACME", "name": "x"}, (409, "duplicate", ["code"])),
    ("trade/customers", {"code": "A1", "name": "x", "email": "a@acme.example"}, (409, "duplicate", ["email"])),
    (
        "trade/customers",
        {"code": "A1", "name": "x", "referred_by": "NONE"},
        (422, "invalid_reference", ["referred_by"]),
    ),
    ("trade/orders", {"customer": "ACME"}, (409, "duplicate", ["customer"])),
    ("trade/shipments", {"order_id": "1", "line_no": 99}, (422, "invalid_reference", ["order_id", "line_no"])),
    ("trade/shipments", {"weight": 0}, (422, "validation_error", ["weight"])),
    (
        "trade/bookings",
        {"room": 1, "during": '["2026-01-01 12:00:00+00",)'},
        (409, "overlapping_period", ["room", "during"]),
    ),
    ("trade/staff", {"id": 40000, "name": "x"}, (422, "validation_error", ["id"])),
    ("trade/lines", {"order_id": "1", "line_no": 9, "sku": "x", "qty": 1}, (422, "validation_error", ["price"])),
]


@pytest.mark.parametrize(("path", "body", "expected"), REFUSALS)
def test_constraints_are_codes_with_their_fields(
    client: httpx.Client, path: str, body: dict[str, Any], expected: tuple[int, str, list[str]]
) -> None:
    assert code(client.post(f"/shop/{path}", json=body)) == expected


def test_limits_are_published(writing: Live) -> None:
    fields = writing.resource("shop/trade/customers").fields
    assert (fields["credit"].bounds.minimum, fields["credit"].bounds.maximum) == (0, 1000000)
    assert fields["tier"].type.enums == ["basic", "gold", "it's"]
    assert writing.resource("shop/kinds/everything").fields["grade"].bounds[:3] == (None, 6, 0)
    assert writing.resource("shop/kinds/needed").fields["name"].type.length == 5


def test_rows_are_known_by_unique_keys(client: httpx.Client) -> None:
    name = f"U{next(NUMBERS)}"
    body = {"code": name, "name": "One", "email": f"{name}@x.example"}
    assert client.post("/shop/trade/customers/upsert?on=email", json=body).status_code == 201
    again = client.post("/shop/trade/customers/upsert?on=code", json={**body, "name": "Two"})
    assert data(again)["name"] == "Two"
    other = {"code": f"{name}B", "name": "N"}
    mixed = client.post("/shop/trade/customers/upsert?on=email", json=[{**body, "name": "Three"}, other])
    assert code(mixed) == (422, "validation_error", ["[1].email"])
    rows = [{**body, "name": "Three"}, {**other, "email": f"{name}B@x.example"}]
    mixed = client.post("/shop/trade/customers/upsert?on=email", json=rows)
    assert [item["status"] for item in data(mixed)] == [200, 201]


def test_what_a_table_cannot_take_is_405(client: httpx.Client) -> None:
    for path in ("trade/journal", "trade/totals", "trade/sums"):
        assert code(client.post(f"/shop/{path}", json={}))[:2] == (405, "method_not_allowed")
        assert client.get(f"/shop/{path}/1").status_code in (404, 405)
    made = customer(client)
    answer = client.patch(f"/shop/trade/customers/{made}/status", json={"status": "inactive"})
    assert code(answer)[:2] == (405, "method_not_allowed")
    hidden = client.get("/shop/trade/customers", params={"deleted": "include"})
    assert hidden.status_code == 422 and "really deleted" in hidden.text
    versioned = client.patch(f"/shop/trade/customers/{made}", json={"version": 1})
    assert code(versioned) == (422, "validation_error", ["version"])


def test_a_key_that_is_a_word_of_the_routes_has_an_address(client: httpx.Client) -> None:
    for word in ("import", "upsert"):
        made = client.post("/shop/Odd%20Names/a%2Fb%25c%2Ed", json={"id": word})
        assert data(client.get(made.headers["location"])) == data(made, 201)


def test_a_request_with_a_key_is_refused_where_there_is_no_place_for_its_answer(client: httpx.Client) -> None:
    answer = client.post("/shop/trade/customers", json={"code": "IDEM", "name": "x"}, headers={"Idempotency-Key": "a"})
    assert code(answer)[:2] == (400, "bad_request") and "audit-schema" in answer.text
    assert code(client.get("/shop/trade/customers/IDEM"))[:2] == (404, "not_found")


def test_several_operations_are_one_transaction(client: httpx.Client) -> None:
    name = f"B{next(NUMBERS)}"
    steps = [
        {"id": "c", "method": "POST", "path": "/shop/trade/customers", "body": {"code": name, "name": "x"}},
        {"method": "POST", "path": "/shop/trade/orders", "body": {"customer": "$c.code"}},
        {"method": "PATCH", "path": "/shop/trade/customers/{$c.code}", "body": {"name": "y"}},
    ]
    assert [step["status"] for step in data(client.post("/shop/batch", json={"operations": steps}))] == [201, 201, 200]


def test_files_go_in_as_they_came_out(client: httpx.Client) -> None:
    names = [f"F{next(NUMBERS)}" for _ in range(2)]
    text = "code,name,credit\n" + "".join(f"{name},N,1.50\n" for name in names)
    answer = client.post("/shop/trade/customers/import", content=text, headers={"Content-Type": "text/csv"})
    assert data(answer)["created"] == 2, answer.text
    assert data(client.get(f"/shop/trade/customers/{names[0]}"))["credit"] == "1.50"


def test_a_write_leaves_no_trace_but_itself(client: httpx.Client, written: str) -> None:
    customer(client)
    schemas = ask(
        written,
        "select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' order by 1",
    )
    assert [row[0] for row in schemas] == ["Odd Names", "kinds", "public", "trade"]
