"""`_meta` over HTTP: what a caller may do, and that every declared behaviour is told."""

from __future__ import annotations

import httpx
import pytest

from engine.clock import CLOCK
from engine.described import TOLD
from engine.testing.harness import Live
from engine.types import Principal


@pytest.fixture
def reader(live: Live) -> httpx.Client:
    return live.lend(Principal(CLOCK.new_id(), permissions=frozenset({"bill.invoices.read", "bill.invoices.status"})))


def test_a_scope_lists_what_the_caller_may_use(live: Live, reader: httpx.Client) -> None:
    everything = live.client("manager").get("/manager/_meta").json()["data"]
    manager = [path for path in live.catalog.resources if path.startswith("manager/")]
    assert [entity["path"] for entity in everything["entities"]] == manager
    assert everything["operators"]["gte"] == "at least"
    mine = reader.get("/manager/_meta").json()["data"]["entities"]
    assert [entity["path"] for entity in mine] == ["manager/bill/invoices"]
    assert mine[0]["operations"] == ["list", "get", "status", "transitions", "history", "query", "export"]


def test_an_entity_tells_fields_states_and_behaviour(live: Live, reader: httpx.Client) -> None:
    told = reader.get("/manager/bill/invoices/_meta").json()["data"]
    assert told["initial"] == "draft" and "draft>open" in told["transitions"]
    assert "open>paid" in told["reserved_transitions"]
    assert told["behaviour"]["number"] == {"prefix": "INV", "at": "open", "gapless": True, "column": "number"}
    assert told["behaviour"]["document_lock"] == {"unless": "draft", "live": ["memo"]}
    fields = {field["name"]: field for field in told["fields"]}
    assert fields["currency"]["once"] and "gte" in fields["total"]["operators"]
    assert fields["kind"]["choices"] == ["invoice", "credit_note"]
    assert fields["tenant_id"]["references"] == "tnnt.tenants"
    assert told["operations"] == ["list", "get", "status", "transitions", "history", "query", "export"]


def test_an_entity_tells_what_it_is_related_to(live: Live, reader: httpx.Client) -> None:
    told = live.client("tenants").get("/tenants/crm/contacts/_meta").json()["data"]["relations"]
    assert told["customer"] == {
        "entity": "tenants/crm/customers", "kind": "one", "via": ["customer_id"], "nullable": False
    }  # fmt: skip
    told = live.client("tenants").get("/tenants/crm/customers/_meta").json()["data"]["relations"]
    assert told["contacts"] == {"entity": "tenants/crm/contacts", "kind": "many", "via": ["customer_id"]}
    assert told["parent"]["nullable"] is True and told["children"]["via"] == ["parent_id"]
    plans = live.client("manager").get("/manager/bill/plans/_meta").json()["data"]["relations"]
    assert plans["subscriptions_by_plan"]["entity"] == "manager/bill/subscriptions"
    assert set(plans) == set(live.resource("manager/bill/plans").relations)
    # what the caller may not read is not there for him
    mine = reader.get("/manager/bill/invoices/_meta").json()["data"]["relations"]
    assert {told["entity"] for told in mine.values()} == {"manager/bill/invoices"}
    assert "lines" in live.resource("manager/bill/invoices").relations and "lines" not in mine


def test_every_relation_that_is_told_can_be_expanded(live: Live) -> None:
    client = live.client("tenants")
    for path in ("crm/customers", "crm/contacts", "crm/opportunities"):
        for name, told in client.get(f"/tenants/{path}/_meta").json()["data"]["relations"].items():
            answer = client.get(f"/tenants/{path}?expand={name}&page_size=5")
            assert answer.status_code == 200, answer.text
            kinds = {type(row[name]) for row in answer.json()["data"]["items"]}
            assert kinds <= ({list} if told["kind"] == "many" else {dict, type(None)})


@pytest.mark.parametrize("path", ["/manager/_meta", "/manager/bill/invoices/_meta"])
def test_meta_takes_no_parameter(reader: httpx.Client, path: str) -> None:
    answer = reader.get(f"{path}?x=1")
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "unknown_parameter"


def test_a_reference_names_what_is_served(live: Live) -> None:
    served = {resource.table.fullname for resource in live.catalog.resources.values()}
    for scope in ("manager", "tenants"):
        client = live.client(scope)
        for resource in [r for r in live.catalog.resources.values() if r.scope.name == scope]:
            fields = client.get(f"/{resource.path}/_meta").json()["data"]["fields"]
            assert {field["references"] for field in fields if "references" in field} <= {None, *served}


def test_an_entity_tells_whether_it_has_a_past(live: Live) -> None:
    client = live.client("manager")
    told = {
        name: client.get(f"/manager/{name}/_meta").json()["data"]["as_of"] for name in ("bill/plans", "audt/audit-logs")
    }
    assert told == {"bill/plans": True, "audt/audit-logs": False}


def test_hidden_columns_are_not_told(live: Live) -> None:
    told = live.client("manager").get("/manager/idam/users/_meta").text
    assert "password_hash" not in told and "mfa_secret" not in told


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/manager/bill/plans/_meta", "403 permission_denied"),
        ("/tenants/_meta", "403 wrong_scope"),
        ("/manager/bill/nothing/_meta", "404 route_not_found"),
        ("/nothing/_meta", "404 route_not_found"),
    ],
)
def test_what_is_not_for_the_caller_is_refused(reader: httpx.Client, path: str, expected: str) -> None:
    answer = reader.get(path)
    assert f"{answer.status_code} {answer.json()['error']['code']}" == expected


def test_nobody_is_told_without_a_token(live: Live) -> None:
    assert httpx.get(f"{live.url}/manager/_meta").status_code == 401


def test_each_declaration_of_behaviour_is_told_by_some_entity(live: Live) -> None:
    told = {name for resource in live.catalog.resources.values() for name, tell in TOLD.items() if tell(resource)}
    assert {"number", "nested", "tree", "document_lock", "periods", "permissions"} <= told
    document = live.client("manager").get("/openapi.json").json()
    invoices = document["paths"]["/manager/bill/invoices"]["x-entity"]
    assert invoices["behaviour"]["number"]["prefix"] == "INV"
