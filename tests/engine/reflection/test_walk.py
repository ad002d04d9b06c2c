"""Every table and view of three schemas: listed, got, filtered by each operator, sorted, expanded, described."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from engine.catalog import Resource
from engine.clock import CLOCK
from engine.filters import OPERATORS
from engine.grants import compile_grants
from engine.routes import key_path
from engine.testing.harness import Live
from engine.types import Op, Principal
from engine.views import seen_by

TABLES = 23
# what an operator takes, where no stored value serves
SPARE = {"item": "1", "items": "1,2", "text": "a", "bool": "true"}


def resources(live: Live) -> list[Resource]:
    return [resource for path, resource in live.catalog.resources.items() if path.startswith("shop/")]


def rows_of(client: httpx.Client, resource: Resource) -> list[dict[str, Any]]:
    answer = client.get(f"/{resource.path}", params={"page_size": 100})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"]["items"])


def address(resource: Resource, row: dict[str, Any]) -> str:
    return f"/{resource.path}/{key_path([text_of(row[name]) for name in resource.keys])}"


def text_of(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (bool, dict, list)) else str(value)


def test_every_relation_is_served(reading: Live) -> None:
    client, found = reading.client("shop"), resources(reading)
    assert len(found) == TABLES
    assert sum(len(rows_of(client, resource)) for resource in found) >= 30


def test_every_row_with_a_key_can_be_got(reading: Live) -> None:
    client, count = reading.client("shop"), 0
    for resource in (one for one in resources(reading) if Op.GET in one.ops):
        for row in rows_of(client, resource):
            answer = client.get(address(resource, row))
            assert answer.status_code == 200, (resource.path, answer.text)
            assert answer.json()["data"] == row
            same = client.get(address(resource, row), headers={"If-None-Match": answer.headers["etag"]})
            assert same.status_code == 304
            count += 1
    assert count >= 25


def asked(resource: Resource, rows: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """(field, operator, value) of every filter that the table offers."""
    for field in resource.shown:
        values = [row[field.name] for row in rows if row[field.name] is not None]
        plain = [text_of(value) for value in values if not isinstance(value, (dict, list)) and "," not in str(value)]
        for name in field.operators:
            takes = OPERATORS[name].takes
            if takes in ("one", "many", "two") and plain:
                yield field.name, name, plain[0] if takes == "one" else f"{plain[0]},{plain[0]}"
            elif takes in SPARE:
                yield field.name, name, SPARE[takes]


def test_every_filter_of_every_column_works(reading: Live) -> None:
    client, count = reading.client("shop"), 0
    for resource in resources(reading):
        rows = rows_of(client, resource)
        for field, operator, value in asked(resource, rows):
            answer = client.get(f"/{resource.path}", params={f"filter[{field}][{operator}]": value})
            spare = OPERATORS[operator].takes in ("item", "items")
            assert answer.status_code in ((200, 422) if spare else (200,)), (
                resource.path,
                field,
                operator,
                answer.text,
            )
            if operator in ("eq", "in", "gte", "lte"):
                assert answer.json()["data"]["items"], (resource.path, field, operator, value)
            count += 1
    assert count > 700


def test_every_sortable_column_sorts_and_pages_by_cursor(reading: Live) -> None:
    client, count = reading.client("shop"), 0
    for resource in (one for one in resources(reading) if one.keys):
        rows = rows_of(client, resource)
        for field in (field for field in resource.shown if field.sortable):
            seen, cursor = [], {"sort": f"-{field.name}", "page_size": 1}
            while cursor:
                answer = client.get(f"/{resource.path}", params=cursor)
                assert answer.status_code == 200, (resource.path, field.name, answer.text)
                page = answer.json()["data"]
                seen += page["items"]
                following = page["next_cursor"]
                cursor = {"sort": f"-{field.name}", "page_size": 1, "cursor": following} if following else {}
            assert len(seen) == len(rows) and all(row in rows for row in seen), (resource.path, field.name)
            count += 1
    assert count > 90


def test_every_foreign_key_is_expanded_both_ways(reading: Live) -> None:
    client, count = reading.client("shop"), 0
    for resource in resources(reading):
        for relation in resource.relations.values():
            answer = client.get(f"/{resource.path}", params={"expand": relation.name})
            assert answer.status_code == 200, (resource.path, relation.name, answer.text)
            target = {json.dumps(row): row for row in rows_of(client, reading.resource(relation.target))}
            for row in answer.json()["data"]["items"]:
                behind = [
                    other
                    for other in target.values()
                    if all(row[one] is not None and row[one] == other[there] for one, there in relation.pairs)
                ]
                shown = row[relation.name]
                assert (shown or []) == behind if relation.many else shown == (behind or [None])[0]
            count += 1
    assert count >= 16


def test_a_relation_of_two_columns_is_filtered_through(reading: Live) -> None:
    client = reading.client("shop")
    found = client.get("/shop/trade/shipments", params={"filter[lines.sku]": "B"}).json()["data"]["items"]
    assert [row["line_no"] for row in found] == [2]
    found = client.get("/shop/trade/lines", params={"filter[shipments.weight][gt]": "1"}).json()["data"]["items"]
    assert [row["sku"] for row in found] == ["B"]


def test_exports_have_every_row(reading: Live) -> None:
    client = reading.client("shop")
    for resource in resources(reading):
        lines = client.get(f"/{resource.path}/export", params={"format": "ndjson"})
        assert lines.status_code == 200, lines.text
        assert [json.loads(line) for line in lines.text.splitlines()] == rows_of(client, resource)
        table = client.get(f"/{resource.path}/export", params={"format": "csv"})
        assert table.status_code == 200 and table.text.count("\n") > len(rows_of(client, resource)), table.text


def test_the_document_is_valid_and_names_the_comments(reading: Live) -> None:
    document = reading.client("shop").get("/openapi.json").json()
    # the rest of it has a test of its own
    document["paths"] = {path: item for path, item in document["paths"].items() if path.startswith("/shop/")}
    OpenAPIV31SpecValidator(document).validate()
    text = json.dumps(document, ensure_ascii=False)
    assert "A column of each type" in text and "/shop/Odd%20Names/Order%20Items" in text


@pytest.mark.parametrize(
    "path", ["Odd%20Names/gr%c3%bc%c3%9fe", "Odd%20Names/a%2fb%25c%2Ed", "Odd%20Names/a%2Fb%25c.d"]
)
def test_a_name_can_be_encoded_in_several_ways(reading: Live, path: str) -> None:
    answer = reading.client("shop").get(f"/shop/{path}")
    assert answer.status_code == 200, answer.text


def test_meta_describes_the_scope_and_each_table(reading: Live) -> None:
    client = reading.client("shop")
    assert len(client.get("/shop/_meta").json()["data"]["entities"]) == TABLES
    for resource in resources(reading):
        answer = client.get(f"/{resource.path}/_meta")
        assert answer.status_code == 200 and answer.json()["data"]["path"] == resource.path, answer.text


def test_permissions_are_the_tables(reading: Live) -> None:
    assert "trade.customers.read" in reading.catalog.permissions[False]
    client = reading.lend(Principal(CLOCK.new_id(), permissions=frozenset({"trade.customers.read"})))
    assert client.get("/shop/trade/customers").status_code == 200
    for path in ("trade/orders", "trade/customers?expand=orders", "Odd%20Names/select"):
        answer = client.get(f"/shop/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")


HOSTILE = (
    "",
    "x",
    "NULL",
    "infinity",
    "-1",
    "1e400",
    "9" * 400,
    "ä'\"\\%_",
    "{",
    "[1,2",
    "2026-13-01",
    "true",
    "P",
    "\x00",
    "1,2",
)


def test_no_filter_value_breaks_anything(reading: Live) -> None:
    client, seen, values = reading.client("shop"), set(), cycle(HOSTILE)
    for path in ("shop/kinds/everything", "shop/kinds/lists"):
        resource = reading.resource(path)
        for field in resource.shown:
            for name in field.operators:
                for value in islice(values, 2):
                    answer = client.get(f"/{path}", params={f"filter[{field.name}][{name}]": value, "page_size": 1})
                    assert answer.status_code in (200, 422), (field.name, name, value, answer.text)
                    seen.add(answer.status_code)
    assert seen == {200, 422}


def test_workbooks_hold_every_type(reading: Live) -> None:
    client = reading.client("shop")
    for resource in resources(reading):
        answer = client.get(f"/{resource.path}/export", params={"format": "xlsx"})
        assert answer.status_code == 200 and answer.content[:2] == b"PK", (resource.path, answer.text)


def test_a_policy_governs_these_tables_too(reading: Live) -> None:
    gold = {"operations": ["read"], "hidden": ["tier"], "rows": {"field": "tier", "value": "gold"}}
    tables: dict[str, Any] = {"trade.customers": gold, "trade.lines": {"operations": ["read"]}}
    tables["trade.shipments"] = {"operations": ["read"], "hidden": ["line_no"]}
    grants = compile_grants({"roles": {"seller": tables}}, reading.catalog)
    seen = seen_by(reading.catalog, [grants.roles["seller"]])
    customers, shipments = seen.resources["shop/trade/customers"], seen.resources["shop/trade/shipments"]
    assert "tier" not in {field.name for field in customers.shown}
    assert customers.limits(Principal(CLOCK.new_id()), "read")
    # a key of two columns is no way to look at a hidden one
    assert "lines" in reading.resource("shop/trade/shipments").relations and not shipments.relations
