"""Views by the columns that they really show; tables that inherit; names as long as PostgreSQL's may be."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from engine.reflection.origins import Origin, origins_of
from engine.testing.harness import Live
from engine.types import Op
from tests.engine.reflection.conftest import HERE, Database
from tests.engine.reflection.somebody import ask, over
from tests.engine.reflection.test_write import code, data

LONG = [
    "a23456789_123456789_123456789_123456789_123456789_12345678",
    "b23456789_123456789_123456789_123456789_123456789_123456789_123",
    "c23456789_123456789_123456789_123456789_123456789_123456789_123",
]


@pytest.fixture(scope="module")
def url(database: Database) -> str:
    return database("origins", (HERE / "origins.sql").read_text())


@pytest.fixture(scope="module")
def roots(live: Live, url: str) -> Iterator[Live]:
    with over(live, url, write=True, audit_schema="cxg") as running:
        yield running


@pytest.fixture
def client(roots: Live) -> httpx.Client:
    return roots.client("shop")


KEYS = {
    "wrong": [],
    "swapped": ["number"],
    "renamed": ["The Key {1}"],
    "over": ["k"],
    "beside": ["id"],
    "pairs": [],
    "serials": ["id"],
    "defaults": ["id"],
    "own_default": ["id"],
    "whole": ["id"],
    "cities": [],
}


def test_the_key_of_a_view_is_that_of_its_table_whatever_it_is_called(roots: Live) -> None:
    found = {p.split("/")[2]: r for p, r in roots.catalog.resources.items() if p.startswith("shop/shown/")}
    assert {name: list(resource.keys) for name, resource in found.items()} == KEYS
    assert {name for name, resource in found.items() if Op.UPDATE in resource.ops} == {
        n for n, key in KEYS.items() if key
    }


def test_a_write_of_one_row_of_a_view_is_one(client: httpx.Client, url: str) -> None:
    for method in ("PATCH", "DELETE"):
        assert client.request(method, "/shop/shown/wrong/5", json={"x": "z"}).status_code in (404, 405)
    data(client.patch("/shop/shown/swapped/1", json={"x": "one"}))
    assert ask(url, "select x from roots.base where id < 4 order by id") == [("one",), ("b",), ("c",)]
    data(client.patch("/shop/shown/over/2", json={"y": "two"}))
    data(client.patch("/shop/shown/beside/3", json={"x": "three"}))
    assert ask(url, "select x from roots.base where id < 4 order by id") == [("one",), ("two",), ("three",)]


def test_views_are_read_where_their_tables_are_not_served(live: Live, url: str) -> None:
    with over(live, url, write=True, schemas=["shown"]) as running:
        keys = {
            path.split("/")[2]: list(r.keys) for path, r in running.catalog.resources.items() if path[:5] == "shop/"
        }
        assert keys == KEYS
        made = running.client("shop").post("/shop/shown/serials", json={"note": "n"})
        assert data(running.client("shop").get(made.headers["location"])) == data(made, 201)


def test_a_view_has_the_defaults_of_its_table(client: httpx.Client) -> None:
    for path, body, made in (
        ("serials", {"note": "n"}, {"note": "n"}),
        ("defaults", {"note": "n"}, {"note": "n", "flag": "m"}),
        ("own_default", {"note": "n"}, {"note": "n", "flag": "view"}),
        ("whole", {"owner": 9}, {"owner": 9, "x": "x", "size": 1, "twice": 2}),
    ):
        row = data(client.post(f"/shop/shown/{path}", json=body), 201)
        assert {**row, **made} == row and isinstance(row["id"], int)
        assert data(client.get(f"/shop/shown/{path}/{row['id']}")) == row
    rows = data(client.post("/shop/shown/defaults", json=[{"note": "a"}, {"id": 1000, "note": "b", "flag": "f"}]), 201)
    assert [row["flag"] for row in rows] == ["m", "f"] and rows[1]["id"] == 1000
    for field in ("id", "twice"):
        assert code(client.post("/shop/shown/whole", json={"owner": 9, field: 1})) == (422, "validation_error", [field])
    assert code(client.post("/shop/shown/defaults", json={})) == (422, "validation_error", ["note"])


def test_the_rows_of_a_parent_are_its_own(client: httpx.Client, url: str) -> None:
    rows = data(client.get("/shop/roots/cities", params={"sort": "id"}))["items"]
    assert rows == [{"id": 1, "name": "Lyon"}, {"id": 2, "name": "Nice"}]
    assert data(client.get("/shop/roots/streets", params={"expand": "city"}))["items"][0]["city"]["name"] == "Lyon"
    assert [row["name"] for row in data(client.get("/shop/roots/capitals", params={"sort": "id"}))["items"]] == [
        "Paris",
        "Rome",
    ]
    data(client.patch("/shop/roots/cities/1", json={"name": "Lyons"}))
    many = {"Prefer": "max-affected=9"}
    everything = {"filter[id][gte]": 2}
    changed = client.request("PATCH", "/shop/roots/cities", params=everything, json={"name": "N"}, headers=many)
    assert data(changed) == {"count": 1}
    assert code(client.delete("/shop/roots/cities/3"))[0] == 404
    assert data(client.post("/shop/roots/cities/upsert?on=id", json={"id": 3, "name": "Third"}), 201)["name"] == "Third"
    assert data(client.request("DELETE", "/shop/roots/cities", params=everything, headers=many)) == {"count": 2}
    assert ask(url, "select name from roots.capitals order by id") == [("Paris",), ("Rome",)]
    lines = client.get("/shop/roots/cities/export", params={"format": "ndjson"}).text.splitlines()
    assert lines == ['{"id":1,"name":"Lyons"}']


def test_names_of_63_bytes_are_written_and_shown_whole(client: httpx.Client) -> None:
    body = {"id": 1, **dict.fromkeys(LONG, "x")}
    assert data(client.post("/shop/roots/long", json=body), 201) == body
    assert data(client.patch("/shop/roots/long/1", json={LONG[1]: "y"}))[LONG[1]] == "y"
    shown = client.get("/shop/roots/long", params={"fields": ",".join(LONG), "sort": LONG[1]})
    assert data(shown)["items"] == [{name: "y" if name == LONG[1] else "x" for name in LONG}]
    again = client.post(f"/shop/roots/long/upsert?on={LONG[2]}", json=body)
    assert data(again) == body
    counted = client.get("/shop/roots/long", params={"aggregate": "n:count()", "group": LONG[1]})
    assert data(counted)["groups"] == [{LONG[1]: "x", "n": 1}]
    assert data(client.delete("/shop/roots/long/1")) == body


def test_origins_are_those_of_the_query_itself() -> None:
    entry = "{TARGETENTRY :expr {%s} :resno %s :resname %s :ressortgroupref 0 :resorigtbl %s :resorigcol %s}"
    inner = entry % ("VAR", 1, "id", 9, 9)
    own = entry % ("SUBLINK :subselect {QUERY :targetList (" + inner + ")}", 2, "a\\}\\ b", 7, 3)
    told = "({QUERY :rtable <> :targetList (" + own + entry % ("CONST", 3, "c", 0, 0) + ")})"
    assert list(origins_of(1, told)) == [Origin(1, 2, 7, 3)]
