"""Relations over HTTP: filters, nested where, sort and expand, the permissions they need, and one statement for all of it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from engine.clock import CLOCK
from engine.testing.harness import Live
from engine.types import Principal, TenantRef
from tests.calls import Body, Caller

CUSTOMERS, CONTACTS, LEADS = "tenants/crm/customers", "tenants/crm/contacts", "tenants/crm/opportunities"


@pytest.fixture(scope="module")
def caller(live: Live) -> Caller:
    return Caller(live.client("tenants"))


@pytest.fixture(scope="module")
def rows(caller: Caller) -> dict[str, Body]:
    """Two customers below a third, with contacts and opportunities."""
    mark = str(CLOCK.new_id())
    top = caller.make(CUSTOMERS, name="Holding", industry=mark)
    one = caller.make(CUSTOMERS, name="Pumps", industry=mark, parent_id=top["id"])
    two = caller.make(CUSTOMERS, name="Valves", industry=mark, parent_id=top["id"])
    for customer, name, position in ((one, "Ann", "Buyer"), (one, "Bob", "Boss"), (two, "Cid", "Boss")):
        caller.make(CONTACTS, customer_id=customer["id"], full_name=name, position=position)
    gone = caller.make(CONTACTS, customer_id=two["id"], full_name="Dee", position="Gone")
    caller.drop(CONTACTS, gone["id"])
    for customer, amount in ((one, "100"), (one, "200"), (two, "300")):
        caller.make(LEADS, title=f"Deal {amount}", customer_id=customer["id"], amount=amount)
    return {"top": top, "one": one, "two": two, "mark": {"value": mark}}


def names(caller: Caller, rows: dict[str, Body], query: str) -> list[str]:
    found = caller.list(CUSTOMERS, f"filter[industry]={rows['mark']['value']}&sort=name&{query}")
    return [row["name"] for row in found]


def where(condition: Any) -> str:
    return f"where={quote(json.dumps(condition))}"


def deep(match: str, levels: int, path: str = "name") -> str:
    """A condition on the children of children ..."""
    condition: Any = {"field": path, "value": "x"}
    for _ in range(levels):
        condition = {match: "children", "where": condition}
    return where(condition)


LEAF = {"field": "position", "value": "Boss"}
PUMPS = {"field": "name", "value": "Pumps"}
RICH = {"field": "opportunities.amount", "op": "gte", "value": 200}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("filter[parent.name]=Holding", ["Pumps", "Valves"]),
        # who has no parent has an empty `parent.name`
        ("filter[parent.name][ne]=Holding", ["Holding"]),
        ("filter[parent.name][nin]=Holding,Other", ["Holding"]),
        ("filter[parent.name][isnull]=true", ["Holding"]),
        ("filter[parent.name][isnull]=false", ["Pumps", "Valves"]),
        ("filter[parent.parent.name][isnull]=true", ["Holding", "Pumps", "Valves"]),
        ("filter[parent.parent.name][isnull]=false", []),
        # of contacts some one fits, so that who has none is not found
        ("filter[contacts.position][isnull]=true", []),
        ("filter[contacts.position][ne]=Boss", ["Pumps"]),
        ("filter[contacts.customer.name][ne]=Valves", ["Pumps"]),
        ("filter[contacts.full_name]=Ann", ["Pumps"]),
        ("filter[contacts.position]=Gone", []),
        ("filter[children.contacts.full_name]=Cid", ["Holding"]),
        (where({"some": "contacts", "where": LEAF}), ["Pumps", "Valves"]),
        (where({"every": "contacts", "where": LEAF}), ["Holding", "Valves"]),
        (where({"none": "contacts", "where": LEAF}), ["Holding"]),
        (where({"not": {"some": "contacts", "where": LEAF}}), ["Holding"]),
        (where({"or": [PUMPS, {"field": "parent.name", "op": "isnull", "value": True}]}), ["Holding", "Pumps"]),
        (where({"some": "parent", "where": {"field": "name", "op": "ne", "value": "Holding"}}), []),
        (where({"some": "children", "where": {"field": "parent.parent.name", "op": "isnull", "value": True}}), ["Holding"]),
        (where({"and": [RICH, {"not": {"field": "name", "value": "Valves"}}]}), ["Pumps"]),
        (where({"field": "name", "op": "in", "value": ["Pumps", "Valves, Inc", "Valves"]}), ["Pumps", "Valves"]),
    ],
)  # fmt: skip
def test_conditions_look_through_relations(caller: Caller, rows: dict[str, Body], query: str, found: list[str]) -> None:
    assert names(caller, rows, query) == found


def test_empty_is_the_same_in_every_clause(caller: Caller, rows: dict[str, Body]) -> None:
    mark = f"filter[industry]={rows['mark']['value']}"
    groups = caller.send(200, "GET", f"{CUSTOMERS}?{mark}&aggregate=n:count()&group=parent.name&sort=n")["groups"]
    assert groups == [{"parent.name": None, "n": 1}, {"parent.name": "Holding", "n": 2}]
    body = {"filter": {"industry": rows["mark"]["value"], "parent.name": {"isnull": True}}, "facets": "parent.name"}
    found = caller.send(200, "QUERY", CUSTOMERS, body)
    assert [row["name"] for row in found["items"]] == ["Holding"]
    # a facet leaves the conditions on its own field out, whatever they mean
    counts = [{"value": "Holding", "count": 2}, {"value": None, "count": 1}]
    assert found["facets"] == {"parent.name": counts}
    body = {
        "filter": {"id": rows["top"]["id"]},
        "expand": {"children": {"filter": {"parent.parent.name": {"ne": "x"}}}},
    }
    [top] = caller.send(200, "QUERY", CUSTOMERS, body)["items"]
    assert len(top["children"]) == 2
    answer = caller.client.patch(
        f"/{CUSTOMERS}?{mark}&filter[parent.name][ne]=Holding",
        json={"website": "https://holding.example"},
        headers={"Prefer": "max-affected=5, return=representation, dry-run"},
    )
    assert [row["name"] for row in answer.json()["data"]["items"]] == ["Holding"], answer.text


def test_conditions_go_as_deep_as_their_limit(caller: Caller, rows: dict[str, Body]) -> None:
    for query in (deep("some", 3), deep("every", 2, "parent.name"), deep("none", 1, "parent.parent.name")):
        assert names(caller, rows, query) is not None
    refused = caller.expect_refusal("422:too_complex", "GET", f"{CUSTOMERS}?{deep('some', 4)}")
    assert refused["details"][0]["params"] == {"relations": 3}


def test_sort_follows_a_to_one_path(caller: Caller, rows: dict[str, Body]) -> None:
    mark = rows["mark"]["value"]
    found = caller.list(LEADS, f"filter[customer.industry]={mark}&sort=-customer.name,amount")
    assert [row["title"] for row in found] == ["Deal 300", "Deal 100", "Deal 200"]


def test_expand_shows_the_tree_in_one_statement(
    live: Live, caller: Caller, rows: dict[str, Body], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = live.system.pools["tenants"]
    asked: list[str] = []
    run = type(pool).run

    async def counted(self: Any, tenant: Any, text: str, arguments: Any) -> Any:
        asked.append(text)
        return await run(self, tenant, text, arguments)

    monkeypatch.setattr(type(pool), "run", counted)
    query = (
        "expand=parent,contacts,children.contacts,children.opportunities&fields[contacts]=full_name"
        "&expand[children][sort]=-name&expand[children.opportunities][limit]=1"
        "&expand[children.opportunities][sort]=-amount&expand[children.contacts][filter][position]=Boss"
    )
    top = caller.send(200, "GET", f"{CUSTOMERS}/{rows['top']['id']}?{query}")
    assert len([text for text in asked if "crm.customers" in text]) == 1
    assert top["parent"] is None and top["contacts"] == []
    assert [child["name"] for child in top["children"]] == ["Valves", "Pumps"]
    valves, pumps = top["children"]
    assert [contact["full_name"] for contact in valves["contacts"]] == ["Cid"]
    assert [contact["full_name"] for contact in pumps["contacts"]] == ["Bob"]
    assert [deal["title"] for deal in pumps["opportunities"]] == ["Deal 200"]
    one = caller.send(200, "GET", f"{CUSTOMERS}/{rows['one']['id']}?expand=parent,contacts&fields[contacts]=full_name")
    assert one["parent"]["name"] == "Holding"
    assert one["contacts"] == [{"full_name": "Ann"}, {"full_name": "Bob"}]


@pytest.mark.parametrize("query", ["expand=contacts", "filter[contacts.full_name]=x", "sort=parent.name,owner.email"])
def test_looking_into_an_entity_needs_its_read_permission(live: Live, query: str) -> None:
    place = TenantRef(live.tenant(live.client("tenants")), "first")
    permissions = frozenset({"crm.customers.read"})
    reader = Caller(live.lend(Principal(CLOCK.new_id(), tenant=place, permissions=permissions)))
    assert reader.send(200, "GET", f"{CUSTOMERS}?expand=parent")["items"] is not None
    reader.expect_refusal("403:permission_denied", "GET", f"{CUSTOMERS}?{query}")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("expand=contcts", "422:unknown_field"),
        ("filter[contacts.fullname]=x", "422:unknown_field"),
        ("filter[a.b.c.d.e]=x", "422:too_complex"),
        (deep("some", 4), "422:too_complex"),
        (deep("every", 2, "parent.parent.name"), "422:too_complex"),
        (deep("none", 3, "parent.name"), "422:too_complex"),
        ("expand=children.children.children.children", "422:too_complex"),
        ("expand[contacts][limit]=1", "422:unknown_field"),
        ("expand=contacts&expand[contacts][limit]=0", "422:out_of_range"),
        ("expand=contacts&expand[contacts][page]=2", "422:invalid_choice"),
        ("sort=contacts.full_name", "422:invalid_choice"),
        ("where=x", "422:invalid_format"),
        (where({"field": "name"}), "422:invalid_format"),
        (where({"and": []}), "422:invalid_format"),
        (where({"some": "contacts"}), "422:invalid_format"),
        (where({"field": "name", "op": "near", "value": "x"}), "422:invalid_choice"),
        (where({"field": "name", "value": {"a": 1}}), "422:invalid_format"),
        ("filter[name][eq][x]=1", "400:unknown_parameter"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(caller: Caller, query: str, code: str) -> None:
    caller.expect_refusal(code, "GET", f"{CUSTOMERS}?{query}")
