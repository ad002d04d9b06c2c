"""The method QUERY and its way by POST: the query as a JSON body, read into the same listing by the same readers."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from engine.clock import CLOCK
from engine.errors import ApiError
from engine.query import read_listing
from engine.query_body import WORDS, read_query
from engine.testing.harness import Live
from engine.types import Principal, TenantRef
from tests.calls import Caller
from tests.engine.wares import CATALOG, WARES

CUSTOMERS = "tenants/crm/customers"
LEAF = {"field": "title", "value": "a"}
# a body, and the query string that says the same
SAME: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"page": 3, "page_size": 5, "count": "none"}, "page=3&page_size=5&count=none"),
    ({"cursor": "abc"}, "cursor=abc"),
    ({"sort": ["-title", "amount:nullslast"], "deleted": "only"}, "sort=-title,amount:nullslast&deleted=only"),
    ({"sort": "-title", "fields": ["title", "shout"], "q": "red & blue"}, "sort=-title&fields=title,shout&q=red+%26+blue"),
    ({"filter": {"title": "a", "amount": {"gte": 1, "lt": 9}}}, "filter[title]=a&filter[amount][gte]=1&filter[amount][lt]=9"),
    ({"filter": {"kind": {"in": ["new", "used"]}, "ready": True}}, "filter[kind][in]=new,used&filter[ready]=true"),
    ({"filter": {"price": {"between": [1.5, "2.50"]}}}, "filter[price][between]=1.5,2.50"),
    ({"filter": {"parent.title": {"icontains": "x"}}}, "filter[parent.title][icontains]=x"),
    ({"where": {"or": [LEAF, {"not": LEAF}]}}, f"where={quote(json.dumps({'or': [LEAF, {'not': LEAF}]}))}"),
    ({"where": json.dumps(LEAF)}, f"where={quote(json.dumps(LEAF))}"),
    ({"expand": ["parts", "parent.children"]}, "expand=parts,parent.children"),
    (
        {"expand": {"parts": {"fields": ["id"], "limit": 5, "sort": ["-sku"], "filter": {"sku": {"ne": "x"}}}}},
        "expand=parts&fields[parts]=id&expand[parts][limit]=5&expand[parts][sort]=-sku&expand[parts][filter][sku][ne]=x",
    ),
    (
        {"expand": {"parent": {"expand": {"children": {"limit": 2}, "parts": True}}, "parts": {}}},
        "expand=parent.children,parent.parts,parts&expand[parent.children][limit]=2",
    ),
    ({"expand": {"parent": {"expand": ["children"]}}}, "expand=parent.children"),
    (
        {"sort": "-n", "having": {"n": {"gt": 5}, "kind": {"in": ["new", "used"]}}, "aggregate": ["n:count()"], "group": "kind"},
        "sort=-n&having[n][gt]=5&having[kind][in]=new,used&aggregate=n:count()&group=kind",
    ),
    ({"facets": ["kind", "ready"]}, "facets=kind,ready"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "query"), SAME, ids=[query[:40] for _, query in SAME])
def test_a_body_says_what_the_query_string_says(body: dict[str, Any], query: str) -> None:
    assert read_query(CATALOG, WARES, json.dumps(body).encode()) == read_listing(CATALOG, WARES, query.encode())


def test_every_word_is_met() -> None:
    # the shop has no change log: what is read as of a moment is the business of test_past
    assert {name for body, _ in SAME for name in body} | {"as_of"} == set(WORDS)


def test_an_expansion_takes_nested_conditions() -> None:
    body = {"expand": {"parts": {"where": {"or": [{"field": "sku", "value": "a"}, {"field": "sku", "value": "b"}]}}}}
    [parts] = read_query(CATALOG, WARES, json.dumps(body).encode()).expand
    assert [leaf.value for leaf in parts.conditions[0].parts] == ["a", "b"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("body", "status", "field", "code"),
    [
        ('{"pages": 1}', 400, "pages", "unknown_parameter"),
        ('{"expand": {"parts": {"page": 1}}}', 400, "expand.parts.page", "unknown_parameter"),
        ('{"expand": {"parent": {"expand": {"parts": {"lmit": 1}}}}}', 400, "expand.parent.parts.lmit", "unknown_parameter"),
        ('{"expand": {"parent": {"expand": "parts,parts"}}}', 422, "expand.parent.expand", "repeated"),
        ('{"page": 1, "cursor": "x"}', 400, "cursor", "exclusive"),
        ('{"page": 0}', 422, "page", "out_of_range"),
        ('{"page": null}', 422, "page", "invalid_format"),
        ('{"sort": []}', 422, "sort", "invalid_format"),
        ('{"fields": [["title"]]}', 422, "fields", "invalid_format"),
        ('{"fields": ["secret"]}', 422, "fields", "unknown_field"),
        ('{"filter": ["title"]}', 422, "filter", "invalid_format"),
        ('{"filter": {"title": {}}}', 422, "filter.title", "invalid_format"),
        ('{"filter": {"title": null}}', 422, "filter.title.eq", "invalid_format"),
        ('{"filter": {"title": ["a"]}}', 422, "filter.title.eq", "invalid_format"),
        ('{"filter": {"title": {"like": "a"}}}', 422, "filter.title.like", "invalid_choice"),
        ('{"filter": {"secret": "a"}}', 422, "filter.secret.eq", "unknown_field"),
        ('{"having": {"n": 1}, "aggregate": "count()"}', 422, "having.n.eq", "unknown_field"),
        ('{"aggregate": "count()", "fields": "title"}', 400, "fields", "exclusive"),
        ('{"group": "kind"}', 422, "group", "required"),
        ('{"where": [1]}', 422, "where", "invalid_format"),
        ('{"expand": {"prts": {}}}', 422, "expand.prts", "unknown_field"),
        ('{"expand": {"parts,parent": {}}}', 422, "expand.parts,parent", "unknown_field"),
        ('{"expand": {"parts": 5}}', 422, "expand.parts", "invalid_format"),
        ('{"expand": {"parts": {"limit": 0}}}', 422, "expand.parts.limit", "out_of_range"),
        ('{"expand": {"parts": {"filter": {"sku": {"like": 1}}}}}', 422, "expand.parts.filter.sku.like", "invalid_choice"),
        ('{"q": "a\\u0000"}', 422, "", "invalid_format"),
        ('[]', 422, "", "invalid_format"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_its_place(body: str, status: int, field: str, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_query(CATALOG, WARES, body.encode())
    assert caught.value.status == status
    assert [(fault.field, fault.code) for fault in caught.value.details] == [(field, code)]


def test_conditions_of_all_parts_count_together() -> None:
    many = {name: dict.fromkeys(("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"), 1) for name in ("amount", "big")}
    body: dict[str, Any] = {"filter": many, "expand": {"parts": {"filter": {"weight": {"gt": 1, "lt": 1, "gte": 1}}}}}
    body["where"] = {"field": "amount", "value": 1}
    assert read_query(CATALOG, WARES, json.dumps(body).encode())
    body["expand"]["parts"]["where"] = {"field": "weight", "value": 1}
    with pytest.raises(ApiError) as caught:
        read_query(CATALOG, WARES, json.dumps(body).encode())
    assert caught.value.details[0].code == "out_of_range"


# -- over HTTP


def test_query_and_post_answer_as_get_does(live: Live) -> None:
    caller = Caller(live.client("tenants"))
    mark = str(CLOCK.new_id())
    for name in ("Ann", "Bob", "Cid"):
        caller.make(CUSTOMERS, name=name, industry=mark)
    body = {"filter": {"industry": mark}, "sort": ["-name"], "page_size": 2, "fields": ["name"]}
    got = caller.send(200, "GET", f"{CUSTOMERS}?filter[industry]={mark}&sort=-name&page_size=2&fields=name")
    assert [row["name"] for row in got["items"]] == ["Cid", "Bob"]
    assert caller.send(200, "POST", f"{CUSTOMERS}/query", body) == got
    assert caller.send(200, "QUERY", CUSTOMERS, body) == got
    rest = caller.send(200, "QUERY", CUSTOMERS, {**body, "cursor": got["next_cursor"]})
    assert [row["name"] for row in rest["items"]] == ["Ann"] and rest["next_cursor"] is None
    caller.expect_refusal("400:unknown_parameter", "QUERY", f"{CUSTOMERS}?page=1", body)
    caller.expect_refusal("400:unknown_parameter", "POST", f"{CUSTOMERS}/query", {"filters": {}})
    answer = live.client("tenants").request(
        "QUERY", f"/{CUSTOMERS}", content=b"a=1", headers={"content-type": "text/csv"}
    )
    assert answer.status_code == 415
    assert live.client("tenants").get(f"/{CUSTOMERS}/query").headers["allow"] == "POST"


def test_it_needs_what_a_list_needs(live: Live) -> None:
    place = TenantRef(live.tenant(live.client("tenants")), "first")
    reader = Caller(live.lend(Principal(CLOCK.new_id(), tenant=place, permissions=frozenset({"crm.customers.read"}))))
    assert reader.send(200, "QUERY", CUSTOMERS, {"page_size": 1})["page_size"] == 1
    reader.expect_refusal("403:permission_denied", "QUERY", CUSTOMERS, {"expand": {"contacts": True}})
    nobody = Caller(live.powerless("tenants"))
    nobody.expect_refusal("403:permission_denied", "QUERY", CUSTOMERS, {})
    nobody.expect_refusal("403:permission_denied", "POST", f"{CUSTOMERS}/query", {})


def test_the_server_takes_the_method_from_the_wire(live: Live) -> None:
    """No client between: the bytes of RFC 10008."""
    client, place = live.client("tenants"), urlsplit(live.url)
    body = b'{"page_size": 1, "fields": ["name"]}'
    head = (
        f"QUERY /{CUSTOMERS} HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: {client.headers['authorization']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=10) as wire:
        wire.sendall(head.encode() + body)
        answer = b"".join(iter(lambda: wire.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ") and b'"page_size":1' in answer
