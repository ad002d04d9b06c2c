"""What PostgreSQL can compare can be asked for, sorted, grouped and be a key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from engine.testing.harness import Live
from tests.engine.reflection.conftest import HERE, Database
from tests.engine.reflection.somebody import over
from tests.engine.reflection.test_write import code, data

PATH = "/shop/cmp/things"
EQUAL = {"eq", "ne", "in", "nin"}
ORDER = {"gt", "gte", "lt", "lte", "between"}
# field -> least and greatest, None = PostgreSQL has none of the type
ORDERED: dict[str, tuple[Any, Any] | None] = {
    "mood": ("sad", "happy"),
    "feeling": ("happy", "happy"),
    "fixed": ("ab", "b"),
    "stamp": ("2026-01-31T10:30:00", "2026-02-28T10:45:00"),
    "instant": ("2026-01-31T10:30:00+00:00", "2026-02-28T10:45:00+00:00"),
    "lapse": ("PT1H30M", "P2D"),
    "clock": ("09:00:00+02", "10:00:00+02"),
    "net": ("9.0.0.0/8", "10.0.0.0/8"),
    "host": ("10.0.0.1", "10.0.0.2"),
    "ident": ("a", "b"),
    "price": ("-1.50", "5.00"),
    **dict.fromkeys(("bits", "mac", "span", "lsn", "num", "letter", "pair", "blob", "vec")),
}
NOTHING = ("loose", "spot", "doc", "table_")


@pytest.fixture(scope="module")
def compared(live: Live, database: Database) -> Iterator[Live]:
    with over(live, database("compared", (HERE / "compared.sql").read_text()), write=True) as running:
        yield running


@pytest.fixture
def client(compared: Live) -> httpx.Client:
    return compared.client("shop")


def rows(client: httpx.Client, **asked: Any) -> list[dict[str, Any]]:
    return list(data(client.get(PATH, params=asked))["items"])


def test_operators_are_those_that_the_type_has(compared: Live) -> None:
    fields = compared.resource(PATH[1:]).fields
    for name in ORDERED:
        assert set(fields[name].operators) >= {*EQUAL, *ORDER, "isnull"}, name
    assert set(fields["tid"].operators) == {*EQUAL, "isnull"}
    assert {fields[name].operators for name in NOTHING} == {("isnull",)}
    assert set(fields["chunks"].operators) == {"isnull", "has", "hasany", "hasall"}


@pytest.mark.parametrize("name", [*ORDERED, "tid"])
def test_a_value_that_is_shown_is_found_by(client: httpx.Client, name: str) -> None:
    shown = {row["id"]: row[name] for row in rows(client)}
    for number, value in ((number, value) for number, value in shown.items() if value is not None):
        same = {n for n, other in shown.items() if other == value}
        assert {row["id"] for row in rows(client, **{f"filter[{name}]": value})} == same and number in same
        assert {row["id"] for row in rows(client, **{f"filter[{name}][ne]": value})} == shown.keys() - same
        where = f'{{"field": "{name}", "op": "in", "value": {json.dumps([value])}}}'
        assert {row["id"] for row in rows(client, where=where)} == same
        if name != "tid":
            assert {row["id"] for row in rows(client, **{f"filter[{name}][gte]": value})} >= same
    if name != "tid":
        up = [row["id"] for row in rows(client, sort=f"{name}:nullslast,id")]
        down = [row["id"] for row in rows(client, sort=f"-{name}:nullsfirst,-id")]
        assert up == down[::-1]
        seen, cursor = [], {"sort": name, "page_size": "1", "fields": "id"}
        while cursor:
            page = data(client.get(PATH, params=cursor))
            seen += [row["id"] for row in page["items"]]
            cursor = {**cursor, "cursor": page["next_cursor"]} if page["next_cursor"] else {}
        assert sorted(seen) == [1, 2, 3]


@pytest.mark.parametrize("name", [*ORDERED, "tid"])
def test_groups_and_facets_are_of_what_compares(client: httpx.Client, name: str) -> None:
    shown = [row[name] for row in rows(client)]
    asked = {"aggregate": f"n:count({name}),d:count_distinct({name})"}
    [whole] = data(client.get(PATH, params=asked))["groups"]
    known = [value for value in shown if value is not None]
    assert (whole["n"], whole["d"]) == (len(known), len(set(known)))
    groups = data(client.get(PATH, params={"aggregate": "n:count()", "group": name}))["groups"]
    assert {group[name]: group["n"] for group in groups} == {value: shown.count(value) for value in shown}
    facets = data(client.get(PATH, params={"facets": name}))["facets"][name]
    assert {line["value"]: line["count"] for line in facets} == {value: shown.count(value) for value in shown}
    ends = ORDERED.get(name)
    asked = client.get(PATH, params={"aggregate": f"a:min({name}),b:max({name})"})
    if ends is None:
        assert asked.status_code == 422 and "takes count, count_distinct; not min" in asked.text
    else:
        assert data(asked)["groups"] == [{"a": ends[0], "b": ends[1]}]
        having = {"aggregate": f"a:min({name})", "group": "id", "having[a]": ends[0]}
        assert data(client.get(PATH, params=having))["groups"]


def test_everything_is_counted_and_times_have_parts(client: httpx.Client) -> None:
    for name in (*NOTHING, "chunks"):
        assert data(client.get(PATH, params={"aggregate": f"n:count({name})"}))["groups"] == [{"n": 2}]
        refused = client.get(PATH, params={"aggregate": "count()", "group": name})
        assert refused.status_code == 422 and "rows are not grouped by that" in refused.text
    months = data(client.get(PATH, params={"aggregate": "n:count()", "group": "m:month(stamp)", "sort": "m"}))["groups"]
    assert months == [{"m": "2026-01-01", "n": 1}, {"m": "2026-02-01", "n": 1}, {"m": None, "n": 1}]
    hours = data(client.get(PATH, params={"aggregate": "n:count()", "group": "h:hour(stamp)", "sort": "h"}))["groups"]
    assert hours[0] == {"h": "2026-01-31T10:00:00", "n": 1}


def test_items_of_bytes_are_looked_for(client: httpx.Client) -> None:
    assert [row["id"] for row in rows(client, **{"filter[chunks][has]": "\\x01"})] == [1]


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ("k_bytea", ["AP/+", "", "AQ=="]),
        ("k_oid", ["1", "4294967295", "20"]),
        ("k_pair", ["(1,x)", '(2,"a, ""b""")', "(1,)"]),
        ("k_letter", ["a", "%", "Z"]),
        ("k_feeling", ["sad", "happy"]),
        ("k_lsn", ["0/10", "16/B374D848"]),
    ],
)
def test_such_a_key_opens_rows(client: httpx.Client, table: str, keys: list[str]) -> None:
    path = f"/shop/cmp/{table}"
    made = [client.post(path, json={"k": key, "v": "x"}) for key in keys]
    assert [data(answer, 201)["k"] for answer in made] == keys
    for answer, key in zip(made, keys, strict=True):
        place, row = answer.headers["location"], {"k": key, "v": "x"}
        if key == "":  # an empty key has no address
            continue
        assert data(client.get(place)) == row
        assert data(client.patch(place, json={"v": "y"}, headers={"If-Match": answer.headers["etag"]})) == {
            **row,
            "v": "y",
        }
        assert data(client.post(f"{path}/upsert?on=k", json=row)) == row
        assert data(client.get(path, params={"filter[k]": key}))["items"] == [row]
    seen, cursor = [], {"page_size": "1", "sort": "-k"}
    while cursor:
        page = data(client.get(path, params=cursor))
        seen += [row["k"] for row in page["items"]]
        cursor = {**cursor, "cursor": page["next_cursor"]} if page["next_cursor"] else {}
    assert sorted(seen) == sorted(keys)
    wanted = {"where": f'{{"field": "k", "op": "in", "value": {json.dumps(keys)}}}'}
    many = {"Prefer": "max-affected=9"}
    assert data(client.request("PATCH", path, params=wanted, json={"v": "z"}, headers=many)) == {"count": len(keys)}
    assert data(client.delete(made[0].headers["location"]))["k"] == keys[0]
    assert data(client.request("DELETE", path, params=wanted, headers=many)) == {"count": len(keys) - 1}


def test_what_is_no_value_of_a_key_is_not_found(client: httpx.Client) -> None:
    for place in ("k_bytea/?", "k_letter/ab", "k_feeling/glad"):
        assert client.get(f"/shop/cmp/{quote(place)}").status_code == 404
    assert code(client.post("/shop/cmp/k_letter", json={"k": "ab"})) == (422, "validation_error", ["k"])


def test_keys_of_documents_and_lists_are_only_listed(compared: Live) -> None:
    for table in ("k_docb", "k_ints"):
        assert not compared.resource(f"shop/cmp/{table}").keys or len(compared.resource(f"shop/cmp/{table}").ops) <= 4
