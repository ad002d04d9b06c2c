"""Upsert by a declared unique key: one row and lists, partial and null-equal keys, write-once fields, races."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from engine.clock import CLOCK
from engine.testing.harness import Live
from engine.types import Principal, TenantRef
from tests.calls import Body, Caller

CENTERS, CUSTOMERS, RATES = "tenants/fim/cost-centers", "tenants/crm/customers", "tenants/fim/exchange-rates"
SETTINGS, PLANS = "manager/cnfg/settings", "manager/bill/plans"


@pytest.fixture(scope="module")
def caller(live: Live) -> Caller:
    return Caller(live.client("tenants"))


@pytest.fixture(scope="module")
def admin(live: Live) -> Caller:
    return Caller(live.client("manager"))


def upsert(caller: Caller, path: str, on: str, body: Any, prefer: str = "") -> httpx.Response:
    headers = {"Prefer": prefer} if prefer else {}
    return caller.client.post(f"/{path}/upsert", params={"on": on}, json=body, headers=headers)


def said(answer: httpx.Response) -> list[tuple[str, str]]:
    """Field and code of each fault."""
    return [(fault["field"], fault["code"]) for fault in answer.json()["error"]["details"]]


def fresh() -> str:
    """A code that nobody else has."""
    return f"U{CLOCK.new_id().hex[:8]}{CLOCK.new_id().hex[-10:]}".upper()


def test_the_second_time_it_is_an_update(caller: Caller) -> None:
    code = fresh()
    made = upsert(caller, CENTERS, "code", {"code": code, "name": "One"})
    assert made.status_code == 201 and made.headers["etag"] == '"1"'
    row = made.json()["data"]
    assert made.headers["location"] == f"/{CENTERS}/{row['id']}" and caller.get(CENTERS, row["id"]) == row
    again = upsert(caller, CENTERS, "code", {"code": code, "name": "Two"})
    assert again.status_code == 200 and again.headers["etag"] == '"2"' and "location" not in again.headers
    assert again.json()["data"] == caller.get(CENTERS, row["id"]) and again.json()["data"]["name"] == "Two"
    log = caller.send(200, "GET", f"{CENTERS}/{row['id']}/history")["items"]
    assert [record["action"] for record in log] == ["update", "create"]


def test_what_is_absent_stays(caller: Caller) -> None:
    tax = fresh()
    made = upsert(caller, CUSTOMERS, "tax_id", {"tax_id": tax, "name": "A", "industry": "pumps"}).json()["data"]
    after = upsert(caller, CUSTOMERS, "tax_id", {"tax_id": tax, "name": "B"}).json()["data"]
    assert (after["id"], after["name"], after["industry"]) == (made["id"], "B", "pumps")


def test_a_list_says_of_each_what_became_of_it(caller: Caller) -> None:
    codes = [fresh() for _ in range(3)]
    known = caller.make(CENTERS, code=codes[1], name="Known")
    answer = upsert(caller, CENTERS, "code", [{"code": code, "name": f"N-{code}"} for code in codes])
    items = answer.json()["data"]
    assert answer.status_code == 200 and [item["status"] for item in items] == [201, 200, 201]
    assert [item["data"]["code"] for item in items] == codes and {item["error"] for item in items} == {None}
    assert items[1]["data"]["id"] == known["id"] and items[1]["data"]["version"] == 2


def test_a_list_is_all_or_nothing_unless_each_counts(caller: Caller) -> None:
    codes = [fresh() for _ in range(3)]
    rows = [{"code": code, "name": "N"} for code in codes]
    rows[1]["parent_id"] = "00000000-0000-7000-8000-000000000001"
    refused = upsert(caller, CENTERS, "code", rows)
    assert refused.status_code == 422
    assert refused.json()["error"]["details"][0]["field"] == "[1].parent_id"
    assert caller.list(CENTERS, f"filter[code][in]={','.join(codes)}") == []
    caller.make(CENTERS, code=codes[2], name="Known")
    answer = upsert(caller, CENTERS, "code", rows, "each")
    assert answer.status_code == 207
    assert [item["status"] for item in answer.json()["data"]] == [201, 422, 200]


def test_write_once_fields_stay(caller: Caller) -> None:
    tax = fresh()
    caller.make(CUSTOMERS, name="Firm", tax_id=tax, kind="company")
    same = upsert(caller, CUSTOMERS, "tax_id", {"name": "Same", "tax_id": tax, "kind": "company"})
    assert same.status_code == 200
    other = upsert(caller, CUSTOMERS, "tax_id", [{"name": "Other", "tax_id": tax, "kind": "person"}])
    assert other.status_code == 422
    faults = [(fault["field"], fault["code"]) for fault in other.json()["error"]["details"]]
    assert faults == [("kind", "write_once")]
    assert caller.list(CUSTOMERS, f"filter[tax_id]={tax}")[0]["name"] == "Same"


def test_a_key_of_several_columns(caller: Caller) -> None:
    for code in ("SEK", "DKK"):
        caller.make("tenants/fim/currencies", code=code, name=code)
    day = {"from_currency": "SEK", "to_currency": "DKK", "rate_date": "2039-05-05"}
    first = upsert(caller, RATES, "from_currency,to_currency,rate_date", {**day, "rate": "1.1"})
    second = upsert(caller, RATES, "from_currency,to_currency,rate_date", {**day, "rate": "1.2"})
    assert (first.status_code, second.status_code) == (201, 200), second.text
    assert second.json()["data"]["rate"] == "1.20000000"


def test_a_key_in_which_null_equals_null(admin: Caller) -> None:
    key = f"upsert.{fresh().lower()}"
    first = upsert(admin, SETTINGS, "key,tenant_id", {"key": key, "value_type": "int", "value": 1})
    second = upsert(admin, SETTINGS, "key,tenant_id", {"key": key, "value_type": "int", "value": 2, "tenant_id": None})
    assert (first.status_code, second.status_code) == (201, 200), second.text
    assert second.json()["data"]["id"] == first.json()["data"]["id"] and second.json()["data"]["value"] == 2


def test_a_partial_key_concerns_the_rows_that_its_condition_names(caller: Caller) -> None:
    usual = {"name": "L", "kind": "purchase", "currency": "HUF", "valid_from": "2040-01-01"}

    def put(*more: Body) -> list[tuple[int, str]]:
        rows = [{**usual, "code": fresh(), **row} for row in more]
        items = upsert(caller, "tenants/pim/price-lists", "kind,currency", rows).json()["data"]
        return [(item["status"], item["data"]["id"]) for item in items]

    [(first, default)] = put({"is_default": True})
    assert first == 201
    code = caller.get("tenants/pim/price-lists", default)["code"]
    assert put({"is_default": True, "code": code, "name": "Again"}) == [(200, default)]
    outside = {**usual, "code": fresh(), "is_default": False}
    alone = upsert(caller, "tenants/pim/price-lists", "kind,currency", outside)
    assert said(alone) == [("is_default", "outside_key")]
    rows = [{**outside, "is_default": True}, outside, {**usual, "code": fresh()}]
    listed = upsert(caller, "tenants/pim/price-lists", "kind,currency", rows)
    assert said(listed) == [("[1].is_default", "outside_key"), ("[2].is_default", "outside_key")]
    each = upsert(caller, "tenants/pim/price-lists", "kind,currency", rows[:2], "each").json()["data"]
    assert each[1]["status"] == 422 and each[1]["error"]["details"][0]["field"] == "is_default"
    assert len(caller.list("tenants/pim/price-lists", "filter[currency]=HUF")) == 1


def test_a_row_without_its_key_is_refused(caller: Caller) -> None:
    mark = fresh()
    for row in ({"name": mark}, {"name": mark, "tax_id": None}):
        alone = upsert(caller, CUSTOMERS, "tax_id", row)
        assert (alone.status_code, said(alone)) == (422, [("tax_id", "required")])
    rows = [{"name": mark, "tax_id": fresh()}, {"name": mark}, {"name": mark, "tax_id": None}]
    listed = upsert(caller, CUSTOMERS, "tax_id", rows)
    assert said(listed) == [("[1].tax_id", "required"), ("[2].tax_id", "required")]
    assert caller.list(CUSTOMERS, f"filter[name]={mark}") == []
    each = upsert(caller, CUSTOMERS, "tax_id", rows, "each").json()["data"]
    assert [item["status"] for item in each] == [201, 422, 422]
    lines = "".join(f"{mark},{tax}\n" for tax in ("", rows[0]["tax_id"], ""))
    file = f"name,tax_id\n{lines}".encode()
    headers = {"Content-Type": "text/csv", "Prefer": "each"}
    answer = caller.client.post(f"/{CUSTOMERS}/import?mode=upsert&on=tax_id", content=file, headers=headers)
    report = answer.json()["data"]
    assert (report["updated"], report["failed"]) == (1, 2), report
    assert [(e["row"], e["field"], e["code"]) for e in report["errors"]] == [(n, "tax_id", "required") for n in (2, 4)]


def test_the_same_key_twice_in_one_list_is_refused(caller: Caller) -> None:
    code = fresh()
    answer = upsert(caller, CENTERS, "code", [{"code": code, "name": "A"}, {"code": code, "name": "B"}])
    assert answer.status_code == 422
    assert [(f["field"], f["code"]) for f in answer.json()["error"]["details"]] == [("[1].code", "repeated")]
    each = upsert(caller, CENTERS, "code", [{"code": code, "name": "A"}, {"code": code, "name": "B"}], "each")
    assert [item["status"] for item in each.json()["data"]] == [201, 422]


@pytest.mark.parametrize("on", ["", "name", "id", "password_hash", "code,name"])
def test_on_names_a_unique_key(caller: Caller, on: str) -> None:
    answer = upsert(caller, CENTERS, on, {"code": fresh(), "name": "A"})
    assert answer.status_code == 400 and "on=code" in answer.json()["error"]["message"]
    assert caller.client.post(f"/{CENTERS}/upsert", json={"code": fresh(), "name": "A"}).status_code == 400


def test_a_deleted_row_is_not_known(caller: Caller) -> None:
    code = fresh()
    row = caller.make(CENTERS, code=code, name="A")
    caller.drop(CENTERS, row["id"])
    made = upsert(caller, CENTERS, "code", {"code": code, "name": "B"})
    assert made.status_code == 201 and made.json()["data"]["id"] != row["id"]


@pytest.mark.parametrize("missing", ["create", "update"])
def test_it_takes_both_permissions(live: Live, missing: str) -> None:
    place = TenantRef(live.tenant(live.client("tenants")), "first")
    rights = frozenset({f"fim.cost-centers.{right}" for right in ("read", "create", "update") if right != missing})
    clerk = Caller(live.lend(Principal(CLOCK.new_id(), tenant=place, permissions=rights)))
    answer = upsert(clerk, CENTERS, "code", {"code": fresh(), "name": "A"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")


def test_rules_and_states_hold_as_for_an_update(admin: Caller) -> None:
    code = fresh()
    plan: Body = {"code": code, "name": "P", "interval": "month", "currency": "USD", "amount": "30"}
    row = upsert(admin, PLANS, "code", plan).json()["data"]
    admin.move(PLANS, row["id"], "active")
    refused = upsert(admin, PLANS, "code", {**plan, "amount": "40"})
    assert refused.status_code == 409, refused.text
    single = admin.client.patch(f"/{PLANS}/{row['id']}", json={"amount": "40"})
    assert refused.json()["error"]["code"] == single.json()["error"]["code"]


@pytest.mark.parametrize("again", range(3))
def test_concurrent_upserts_of_one_key_make_one_row(caller: Caller, again: int) -> None:
    code = fresh()
    with ThreadPoolExecutor(6) as pool:
        names = [f"N{i}" for i in range(6)]
        answers = list(pool.map(lambda name: upsert(caller, CENTERS, "code", {"code": code, "name": name}), names))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201], [a.text for a in answers]
    assert len({answer.json()["data"]["id"] for answer in answers}) == 1
    assert sorted(answer.json()["data"]["version"] for answer in answers) == [1, 2, 3, 4, 5, 6]


def test_concurrent_sets_in_other_orders_make_one_row_each(caller: Caller) -> None:
    codes = [fresh() for _ in range(20)]

    def run(backwards: bool) -> httpx.Response:
        rows = [{"code": code, "name": "N"} for code in (reversed(codes) if backwards else codes)]
        return upsert(caller, CENTERS, "code", rows)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(run, [False, True, False, True]))
    assert {answer.status_code for answer in answers} == {200}, [answer.text[:300] for answer in answers]
    statuses = [item["status"] for answer in answers for item in answer.json()["data"]]
    assert statuses.count(201) == 20
    assert len(caller.list(CENTERS, f"filter[code][in]={','.join(codes)}")) == 20
