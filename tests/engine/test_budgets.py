"""Budgets: how deep, how many, how long and how dear a query may be, each as its setting says."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote
from uuid import UUID

import asyncpg
import pytest
from pydantic import ValidationError

from engine.budgets import Budgets, indexed, reasons
from engine.clock import CLOCK
from engine.main import System
from engine.query import read_listing
from engine.settings import Settings
from engine.sql.read import ESTIMATE_ABOVE
from engine.testing.harness import Live, served
from engine.types import Principal, TenantRef
from tests.calls import Caller
from tests.engine.wares import CATALOG, PARTS, WARES

CUSTOMERS, CONTACTS = "tenants/crm/customers", "tenants/crm/contacts"
TIGHT: dict[str, Any] = {
    "max_expand_depth": 1,
    "max_filters": 2,
    "max_in_values": 3,
    "command_timeout": 0.4,
    "role_timeouts": {"HASTY": 0.15, "PATIENT": 20.0},
    "pool_size": 1,
    "tenant_query_costs": {"first": 300.0},
}


@pytest.fixture(scope="module")
def tight(live: Live) -> Iterator[Live]:
    """A second server over the same databases, with budgets of its own."""
    system = System(live.system.settings.model_copy(update=TIGHT))
    system.server = live.system.server
    system.locate()
    with served(system) as found:
        yield found


@pytest.fixture(scope="module")
def caller(tight: Live) -> Caller:
    return Caller(tight.client("tenants"))


def someone(live: Live, *roles: str) -> Caller:
    """A caller of tenant `first` with roles."""
    place = TenantRef(live.tenant(live.client("tenants")), "first")
    return Caller(live.lend(Principal(CLOCK.new_id(), tenant=place, everything=True, roles=roles)))


# -- how deep and how many


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("expand=contacts.customer", "too_complex"),
        ("filter[name]=a&filter[email]=a&filter[phone]=a", "out_of_range"),
        ("filter[name][in]=a,b,c,d", "out_of_range"),
        ("filter[tags][hasany]=a,b,c,d", "out_of_range"),
    ],
)
def test_limits_are_those_of_the_settings(live: Live, caller: Caller, query: str, code: str) -> None:
    caller.expect_refusal(f"422:{code}", "GET", f"{CUSTOMERS}?{query}")
    assert Caller(live.client("tenants")).send(200, "GET", f"{CUSTOMERS}?{query}") is not None
    inside = query.replace("contacts.customer", "contacts").replace("&filter[phone]=a", "").replace(",d", "")
    # counting has a price too, which grows with the rows of other tests
    assert caller.send(200, "GET", f"{CUSTOMERS}?{inside}&count=none&page_size=1") is not None


def test_the_limits_of_a_get_and_of_a_body_are_the_same(caller: Caller) -> None:
    row = caller.make(CUSTOMERS, name="Limits")
    caller.expect_refusal("422:too_complex", "GET", f"{CUSTOMERS}/{row['id']}?expand=contacts.customer")
    caller.expect_refusal(
        "422:too_complex", "QUERY", CUSTOMERS, {"expand": {"contacts": {"expand": {"customer": True}}}}
    )
    caller.expect_refusal("422:out_of_range", "QUERY", CUSTOMERS, {"filter": {"name": {"in": ["a", "b", "c", "d"]}}})


@pytest.mark.parametrize(("name", "value"), [("max_expand_depth", 7), ("max_filters", 0), ("role_timeouts", {"A": 0})])
def test_a_setting_beyond_the_hard_cap_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: value})


# -- how long


class Locked:
    """A table that nobody else reads while the block lasts."""

    def __init__(self, live: Live, table: str) -> None:
        self.url, self.table, self.runner = live.system.places["tenants"].owner, table, asyncio.Runner()

    def __enter__(self) -> Locked:
        self.connection: Any = self.runner.run(asyncpg.connect(self.url, ssl=False))
        self.runner.run(self.connection.execute(f"begin; lock table {self.table} in access exclusive mode"))
        return self

    def __exit__(self, *_failure: object) -> None:
        self.runner.run(self.connection.close())
        self.runner.close()


def refused_after(caller: Caller, method: str, body: Any = None) -> tuple[float, str]:
    begun = time.monotonic()
    error = caller.expect_refusal("504:query_timeout", method, CONTACTS, body)
    return time.monotonic() - begun, error["message"]


def test_a_statement_takes_as_long_as_the_roles_of_its_caller_allow(tight: Live, caller: Caller) -> None:
    """The one connection of the pool serves them in turn."""
    hasty, both = someone(tight, "HASTY"), someone(tight, "HASTY", "PATIENT", "OTHER")
    customer = caller.make(CUSTOMERS, name="Slow")
    body = {"customer_id": customer["id"], "full_name": "Ann"}
    with Locked(tight, "crm.contacts"):
        for who, seconds in ((hasty, 0.15), (caller, 0.4), (hasty, 0.15)):
            for method, given in (("GET", None), ("POST", body), ("POST", [body, body])):
                took, message = refused_after(who, method, given)
                assert seconds <= took < seconds + 0.8 and f"{seconds:g} s" in message
    with ThreadPoolExecutor(1) as pool:
        with Locked(tight, "crm.contacts"):
            waiting = pool.submit(both.send, 200, "GET", CONTACTS)
            time.sleep(1.2)
            assert not waiting.done()
        assert waiting.result(10)["items"] is not None


# -- how dear


@pytest.fixture(scope="module")
def many(tight: Live, caller: Caller) -> Iterator[dict[str, str]]:
    """20,000 contacts of one customer, and one of another; gone afterwards."""
    tenant = tight.tenant(tight.client("tenants"))
    crowd, lone = (caller.make(CUSTOMERS, name=name)["id"] for name in ("Crowd", "Lone"))
    caller.make(CONTACTS, customer_id=lone, full_name="Ann")
    values = "'id', gen_random_uuid(), 'customer_id', $1::uuid, 'full_name', 'N' || i, 'position', 'P' || i % 10"
    copies = f"select (jsonb_populate_record(c, jsonb_build_object({values}))).* from crm.contacts c"
    sql = f"insert into crm.contacts {copies}, generate_series(1, 20000) i where c.customer_id = $2::uuid"
    tight.run_sql("tenants", sql, UUID(crowd), UUID(lone), tenant=tenant)
    tight.run_sql("tenants", "analyze crm.contacts")
    yield {"crowd": crowd, "lone": lone}
    tight.run_sql("tenants", "delete from crm.contacts where customer_id = $1::uuid", UUID(crowd), tenant=tenant)


def test_a_list_that_is_priced_too_high_names_the_filter_and_its_index(
    live: Live, caller: Caller, many: dict[str, str]
) -> None:
    path = f"{CONTACTS}?filter[position]=P3&sort=full_name"
    error = caller.expect_refusal("422:too_expensive", "GET", path)
    [fault] = error["details"]
    assert (fault["field"], fault["code"]) == ("filter[position][eq]", "not_indexed")
    said = {"entity": "crm.contacts", "columns": ["position", "full_name"], "kind": "btree"}
    assert fault["params"] == said and "position, full_name of crm.contacts" in fault["message"]
    caller.expect_refusal("422:too_expensive", "QUERY", CONTACTS, {"filter": {"position": "P3"}, "sort": "full_name"})
    # what an index serves is cheap, and another server has no ceiling
    assert len(caller.list(CONTACTS, f"filter[customer_id]={many['lone']}&sort=full_name")) == 1
    assert Caller(live.client("tenants")).send(200, "GET", path)["total"] == 2000
    counting = caller.expect_refusal("422:too_expensive", "GET", f"{CONTACTS}?page_size=19")
    assert counting["details"][0]["field"] == "count"
    assert caller.send(200, "GET", f"{CONTACTS}?page_size=19&count=none")["next_cursor"]


def test_an_estimate_is_not_below_what_was_counted(live: Live, many: dict[str, str]) -> None:
    free = Caller(live.client("tenants"))
    path = f"{CONTACTS}?count=estimated&page_size=1&filter[customer_id]={many['crowd']}"
    # of what nin holds the planner knows nothing, and takes a half of each
    data = free.send(200, "GET", f"{path}&filter[position][nin]=P3&filter[full_name][nin]=x&filter[phone][nin]=y")
    assert data["total"] == ESTIMATE_ABOVE + 1 and data["total_is_estimate"] is True
    assert free.send(200, "GET", f"{path}&filter[position]=P3")["total"] == 2000


def test_a_set_that_is_written_has_a_price_too(live: Live, caller: Caller, many: dict[str, str]) -> None:
    path = f"{CONTACTS}?filter[position]=P3"
    headers = {"Prefer": "max-affected=5"}
    for method, body in (("PATCH", {"notes": "x"}), ("DELETE", None)):
        answer = caller.client.request(method, f"/{path}", json=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "too_expensive"), answer.text
        [fault] = answer.json()["error"]["details"]
        assert (fault["field"], fault["params"]["columns"]) == ("filter[position][eq]", ["position"])
        # without a ceiling it is counted, and is too many
        free = Caller(live.client("tenants")).client.request(method, f"/{path}", json=body, headers=headers)
        assert free.json()["error"]["code"] == "too_many_rows"
        lone = f"/{CONTACTS}?filter[customer_id]={many['lone']}&filter[position]=P3"
        assert caller.client.request(method, lone, json=body, headers=headers).json()["data"] == {"count": 0}


def test_an_export_has_the_price_of_its_conditions(live: Live, caller: Caller, many: dict[str, str]) -> None:
    # in an `or` it is looked for of every row
    fellows = {"some": "customer", "where": {"some": "contacts", "where": {"field": "position", "value": "P3"}}}
    where = quote(json.dumps({"or": [fellows, {"field": "notes", "value": "x"}]}))
    free = Caller(live.client("tenants"))
    for query, status in (("", 200), ("filter[position]=P3", 200), (f"where={where}", 422)):
        path = f"/{CONTACTS}/export?format=csv&fields=id&{query}"
        answer = caller.client.get(path)
        assert answer.status_code == status, f"{query} {answer.text[:400]}"
        assert free.client.get(path).status_code == 200
    assert answer.json()["error"]["code"] == "too_expensive"


def test_groups_have_a_price_too_and_facets_go_without(live: Live, caller: Caller, many: dict[str, str]) -> None:
    groups = "aggregate=n:count()&group=position&sort=-n"
    error = caller.expect_refusal("422:too_expensive", "GET", f"{CONTACTS}?filter[position]=P3&{groups}")
    assert error["details"][0]["params"]["columns"] == ["position"]
    assert caller.expect_refusal("422:too_expensive", "GET", f"{CONTACTS}?{groups}")["details"][0]["code"] == "costly"
    lone = f"{CONTACTS}?filter[customer_id]={many['lone']}"
    assert caller.send(200, "GET", f"{lone}&{groups}")["groups"] == [{"position": None, "n": 1}]
    facets = f"{lone}&facets=position,customer_id"  # the second one is of all customers
    data = caller.send(200, "GET", facets)
    assert data["facets"] == {"position": None, "customer_id": None} and data["total"] == 1
    found = Caller(live.client("tenants")).send(200, "GET", facets)["facets"]
    assert found["position"] == [{"value": None, "count": 1}]
    assert found["customer_id"][0] == {"value": many["crowd"], "count": 20000}


def test_a_price_is_asked_once_in_a_while(tight: Live, many: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    pool = tight.system.pools["tenants"]
    asked: list[str] = []
    run = type(pool).run

    async def counted(self: Any, tenant: Any, text: str, *rest: Any) -> Any:
        asked.append(text)
        return await run(self, tenant, text, *rest)

    monkeypatch.setattr(type(pool), "run", counted)
    caller = someone(tight)
    for number in range(4):
        caller.list(CONTACTS, f"filter[customer_id]={many['lone']}&filter[full_name]=N{number}")
    priced = [text for text in asked if text.startswith("EXPLAIN")]
    assert len(priced) == 1 and len([text for text in asked if "crm.contacts" in text]) == 5


def test_nothing_is_priced_without_a_ceiling(live: Live) -> None:
    budgets = Budgets(live.catalog, {"max_query_cost": None})
    assert budgets.most(Principal(None)) is None and budgets.seconds(Principal(None, roles=("HASTY",))) is None
    assert Budgets(live.catalog, {"max_query_cost": 5.0}).most(Principal(None)) == 5.0


LIKE, SMALL = {"field": "title", "op": "icontains", "value": "a"}, {"field": "small", "value": 1}
EITHER, NEITHER, BOTH, NONE = (
    quote(json.dumps(tree))
    for tree in (
        {"or": [LIKE, SMALL]},
        {"not": SMALL},
        {"and": [SMALL, {"field": "amount", "op": "gt", "value": 1}]},
        {"none": "parts", "where": {"field": "sku", "value": "a"}},
    )
)


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        ("filter[amount]=1", "filter[amount][eq]", (["amount"], "btree")),
        ("filter[amount][gt]=1&filter[kind]=new", "filter[amount][gt]", (["kind", "amount"], "btree")),
        ("filter[title][icontains]=a", "filter[title][icontains]", (["title"], "trigram")),
        ("filter[tags][has]=a", "filter[tags][has]", (["tags"], "gin")),
        ("filter[parts.weight][gt]=1", "filter[parts.weight][gt]", (["weight"], "btree")),
        ("filter[title][ne]=a", "filter[title][ne]", None),
        ("filter[parent.title][ne]=a", "filter[parent.title][ne]", None),
        ("filter[parent.amount][isnull]=true", "filter[parent.amount][isnull]", None),
        (f"filter[kind]=new&where={EITHER}", "filter[small][eq]", (["small"], "btree")),
        (f"filter[kind]=new&where={EITHER}", "filter[title][icontains]", (["title"], "trigram")),
        (f"filter[kind]=new&where={EITHER}", "filter[kind][eq]", (["kind"], "btree")),
        (f"filter[kind]=new&where={BOTH}", "filter[amount][gt]", (["kind", "small", "amount"], "btree")),
        (f"where={NONE}", "filter[parts.sku][eq]", None),
        (f"filter[kind]=new&where={NEITHER}", "filter[small][eq]", None),
        ("filter[parts.weight]=1&filter[parts.sku][gt]=a", "filter[parts.sku][gt]", (["sku"], "btree")),
        ("filter[id]=01a20596-0b53-73b5-9429-72e1b74a22f4&sort=title", "sort", (["title"], "btree")),
        ("sort=parent.title", "sort", None),
        ("q=a", "q", (["title", "note"], "trigram")),
        ("", "count", None),
        ("count=none", "", None),
    ],
)
def test_each_reason_is_named(query: str, field: str, said: tuple[list[str], str] | None) -> None:
    found = {fault.field: fault for fault in reasons(CATALOG, WARES, read_listing(CATALOG, WARES, query.encode()))}
    params = found[field].params
    assert said is None or (params["columns"], params["kind"]) == said
    assert all(fault.code in ("not_indexed", "costly") for fault in found.values())


def test_an_index_counts_when_it_begins_with_the_column() -> None:
    assert indexed(WARES, "id") and indexed(WARES, "code") and not indexed(WARES, "amount")
    assert not indexed(PARTS, "sku")
